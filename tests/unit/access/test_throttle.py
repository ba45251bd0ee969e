import asyncio

import pytest

from kvorum.access import Throttle
from kvorum.access.throttle import LONGEST_DELAY_S, MAX_WAITING, delay_s
from kvorum.core.errors import AuthenticationError


def test_the_delay_doubles_and_is_bounded() -> None:
    assert [delay_s(n) for n in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert delay_s(10_000) == LONGEST_DELAY_S


async def fail(throttle: Throttle, address: str = "a", user: str = "root@pam") -> None:
    with pytest.raises(AuthenticationError):
        async with throttle.attempt(address, user):
            raise AuthenticationError("wrong")


async def test_failures_slow_down_their_own_address_and_user_only(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("kvorum.access.throttle.asyncio.sleep", sleep)
    now = 1000.0
    throttle = Throttle(lambda: now)
    for _ in range(3):
        await fail(throttle)
    await fail(throttle, address="b")
    await fail(throttle, user="joe@pve")
    assert slept == [0.0, 0.5, 1.0, 0.0, 0.0]
    async with throttle.attempt("a", "root@pam"):
        pass
    await fail(throttle)
    assert slept[5:] == [2.0, 0.0]  # a success clears the account
    now += 10_000
    await fail(throttle)
    assert slept[7:] == [0.0]  # so does time


async def test_too_many_at_once_are_refused_without_waiting() -> None:
    throttle = Throttle()
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with throttle.attempt("a", "u"):
            inside.set()
            await leave.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(MAX_WAITING):
            group.create_task(hold())
        await inside.wait()
        with pytest.raises(AuthenticationError, match="too many"):
            async with throttle.attempt("a", "u"):
                pass
        leave.set()
