"""Leases: one owner at a time, in memory only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvorum.core.errors import Conflict, ParameterError
from kvorum.core.paths import Paths
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store
from kvorum.store.protocol.leases import LEASES_MAX, MARGIN_SECONDS, SECONDS_MAX, Leases, Refusal
from kvorum.store.protocol.messages import Hold


def known(now: float = 100.0) -> Leases:
    """A replica's leases once it has been here for long."""
    leases = Leases()
    leases.clock(now)
    leases.clock(now + SECONDS_MAX + MARGIN_SECONDS)
    return leases


def held(leases: Leases, owner: str, seconds: float = 10.0, name: str = "a") -> bool:
    follows = leases.follows(name, owner)
    assert isinstance(follows, int), follows
    return leases.take(Hold(1, 1, name, owner, seconds, follows))


def test_a_lease_is_taken_once_renewed_and_let_go() -> None:
    leases = known()
    assert held(leases, "x") and held(leases, "x")
    refusal = leases.follows("a", "y")
    assert isinstance(refusal, Refusal) and "held by x for another 11 s" in refusal.text
    assert held(leases, "x", 0.0)
    assert leases.leases == () and held(leases, "y")


def test_of_two_claims_that_follow_the_same_grant_the_first_counts() -> None:
    leases = known()
    assert leases.take(Hold(1, 1, "a", "x", 5.0, 0))
    assert not leases.take(Hold(1, 1, "a", "y", 5.0, 0))
    assert [lease.owner for lease in leases.leases] == ["x"]


def test_a_lease_that_was_not_renewed_is_free_after_its_time_and_the_margin() -> None:
    leases = known(0.1)
    assert held(leases, "x", 10.0)
    now = 0.1 + SECONDS_MAX + MARGIN_SECONDS
    leases.clock(now + 10.0 + MARGIN_SECONDS - 0.1)
    assert isinstance(leases.follows("a", "y"), Refusal)
    leases.clock(now + 10.0 + MARGIN_SECONDS)
    assert held(leases, "y")


def test_a_renewal_does_not_shorten_what_its_owner_may_go_by() -> None:
    leases = known(0.1)
    held(leases, "x", 10.0)
    held(leases, "x", 1.0)
    leases.clock(0.1 + SECONDS_MAX + MARGIN_SECONDS + 5.0)
    assert isinstance(leases.follows("a", "y"), Refusal)
    held(leases, "x", 0.0)
    assert held(leases, "y", 1.0)
    assert leases.leases[0].seconds == 1.0


def test_a_late_renewal_does_not_count_once_another_followed() -> None:
    leases = known()
    held(leases, "x", 1.0)
    late = Hold(1, 2, "a", "x", 1.0, leases.leases[0].number)
    leases.clock(1000.0)
    assert held(leases, "y")
    assert not leases.take(late)


def test_who_has_just_started_grants_nothing_that_may_be_held() -> None:
    leases = Leases()
    leases.clock(50.0)
    refusal = leases.follows("a", "x")
    assert isinstance(refusal, Refusal) and "who held it before is not known" in refusal.text


def test_a_replica_goes_on_with_its_leaders_leases() -> None:
    leader, joining = known(), Leases()
    joining.clock(7.0)
    held(leader, "x")
    joining.adopt(leader.leases, leader.count, leader.forgotten_for)
    assert isinstance(joining.follows("a", "y"), Refusal)
    assert joining.follows("a", "x") == leader.follows("a", "x")
    assert joining.follows("b", "y") == 0


def test_leases_are_bounded() -> None:
    leases = known()
    for number in range(LEASES_MAX):
        assert held(leases, "x", name=str(number))
    assert isinstance(leases.follows("one more", "x"), Refusal)


@pytest.fixture
async def clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[StoreClient, StoreClient]]:
    monkeypatch.setattr(Leases, "forgotten_for", 0.0)
    paths = Paths.under(tmp_path)
    async with (
        running_store(paths, node="n1", fuse=False, corosync=False) as host,
        StoreClient(paths.store_socket) as one,
        StoreClient(paths.store_socket) as two,
    ):
        async with asyncio.timeout(10):
            while not host.status.writable:
                await asyncio.sleep(0.01)
        yield one, two


async def test_a_lease_is_had_by_the_socket_and_others_hear_who_has_it(
    clients: tuple[StoreClient, StoreClient],
) -> None:
    one, two = clients
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    until = await one.hold("crm", "n1/7", 20.0)
    assert before + 20.0 <= until <= time.clock_gettime(time.CLOCK_BOOTTIME) + 20.0
    with pytest.raises(Conflict, match="held by n1/7"):
        await two.hold("crm", "n2/8", 20.0)
    assert one.holder("crm") == two.holder("crm") == "n1/7"
    await one.let_go("crm", "n1/7")
    await two.hold("crm", "n2/8", 20.0)
    assert two.holder("crm") == "n2/8"
    await one.let_go("crm", "n1/7")
    with pytest.raises(Conflict, match="held by n2/8"):
        await one.hold("crm", "n1/7", 20.0)


@pytest.mark.parametrize(
    ("name", "owner", "seconds", "word"),
    [
        ("", "x", 5.0, "name"),
        ("a", "x\n", 5.0, "owner"),
        ("a", "x", 61.0, "seconds"),
        ("a", "x", 0.0, "seconds"),
    ],
)
async def test_what_is_no_lease_is_refused(
    clients: tuple[StoreClient, StoreClient], name: str, owner: str, seconds: float, word: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        await clients[0].hold(name, owner, seconds)
    assert list(caught.value.errors) == [word]
