"""A slow node is waited for; a dead one is not."""

import asyncio
import time

import pytest

from kvorum.core.errors import Unreachable
from kvorum.server import knock
from kvorum.server.knock import KNOCK_S, PATIENCE_S, Knocker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "PATIENCE_S", 0.02)
    monkeypatch.setattr(knock, "KNOCK_S", 0.05)


class Door:
    """What a node does about knocks: ``answers`` at first, then ``then``."""

    def __init__(self, answers: int = 0, then: Exception | None = None) -> None:
        self.answers, self.then, self.knocks, self.at_once = answers, then, 0, 0

    async def __call__(self, node: str) -> None:
        self.knocks += 1
        self.at_once += 1
        try:
            if self.knocks <= self.answers:
                return
            if self.then is not None:
                raise self.then
            await asyncio.get_running_loop().create_future()
        finally:
            self.at_once -= 1


def test_a_node_that_dies_just_after_a_knock_is_named_within_three_seconds() -> None:
    assert PATIENCE_S + KNOCK_S < 3 - 0.5  # half a second for everything else


async def test_a_quick_answer_costs_no_knock() -> None:
    door = Door()
    async with Knocker(door).awaiting("n2", "10.0.0.2"):
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert door.knocks == 0


async def test_a_slow_node_is_waited_for() -> None:
    door = Door(answers=1000)
    async with Knocker(door).awaiting("n2", "10.0.0.2"):
        await asyncio.sleep(0.2)
    assert door.knocks > 2


@pytest.mark.parametrize("answers", [0, 3], ids=["from the beginning", "later"])
@pytest.mark.parametrize("then", [None, OSError(113, "No route to host")], ids=["silent", "no route"])
async def test_a_dead_node_is_named_soon(answers: int, then: Exception | None) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"node 'n2' \(10\.0\.0\.2\) does not answer any more"):
        async with Knocker(Door(answers, then)).awaiting("n2", "10.0.0.2"):
            await asyncio.get_running_loop().create_future()
    assert time.monotonic() - began < 1


async def test_a_node_whose_pveproxy_restarts_is_alive() -> None:
    door = Door(then=ConnectionRefusedError())
    async with Knocker(door).awaiting("n2", "10.0.0.2"):
        await asyncio.sleep(0.1)
    assert door.knocks > 1


async def test_all_who_wait_share_the_knocks_and_the_word() -> None:
    door, ends = Door(answers=2), []
    knocker = Knocker(door)

    async def wait() -> None:
        try:
            async with knocker.awaiting("n2", "10.0.0.2"):
                await asyncio.get_running_loop().create_future()
        except Unreachable:
            ends.append(door.at_once)

    await asyncio.wait_for(asyncio.gather(*(wait() for _ in range(50))), 5)
    assert (len(ends), door.knocks) == (50, 3)
    async with knocker.awaiting("n2", "10.0.0.2"):  # and nothing is left behind
        await asyncio.sleep(0)
    assert not knocker._doors


async def test_a_cancelled_wait_is_no_word_about_the_node() -> None:
    async def wait() -> None:
        async with Knocker(Door()).awaiting("n2", "10.0.0.2"):
            await asyncio.get_running_loop().create_future()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_deadline_of_the_work_itself_stays_one() -> None:
    with pytest.raises(TimeoutError):
        async with Knocker(Door(answers=1000)).awaiting("n2", "10.0.0.2"), asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()
