"""Who may renew a lock directory, and when it may be broken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvorum.core.errors import Conflict
from kvorum.core.paths import Paths
from kvorum.store import Change, Delete, MakeDirectory, Rename, locks
from kvorum.store.daemon import running_store
from kvorum.store.host import Host
from kvorum.store.locks import Locks, is_lock
from kvorum.store.protocol import Changed, Published

LOCK = "priv/lock/file-user_cfg"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_store(Paths.under(tmp_path), node="n1", fuse=False, corosync=False) as it:
        yield it


class Time:
    """The loop's clock, moved by the test."""

    def __init__(self, held: Locks) -> None:
        self.now = held._loop.time()
        held._loop = self  # type: ignore[assignment]

    def time(self) -> float:
        return self.now


def test_which_directories_are_locks() -> None:
    assert is_lock(LOCK)
    assert not is_lock("priv/lock") and not is_lock("priv/lock/a/b") and not is_lock("nodes/lock/a")


async def test_a_lock_lasts_while_its_holder_renews_it(host: Host) -> None:
    held = Locks(host)
    clock = Time(held)
    await host.transact([MakeDirectory(LOCK)], (), "", 5)
    assert not held.expired(LOCK)
    clock.now += locks.LOCK_SECONDS - 1
    held.renew(LOCK)
    await host.transact([], (), "", 5)  # the renewal came before it
    clock.now += locks.LOCK_SECONDS - 1
    assert not held.expired(LOCK)
    clock.now += 1
    assert held.expired(LOCK)
    await host.transact([Delete(LOCK), MakeDirectory(LOCK)], (), "", 5)
    assert not held.expired(LOCK), "a lock taken anew is held anew"


async def test_only_its_holder_renews_a_lock(host: Host) -> None:
    held = Locks(host)
    clock = Time(held)
    await host.transact([MakeDirectory(LOCK)], (), "", 5)
    host._tell(Published("n2", "lock:" + LOCK, b"", locks.LOCK_SECONDS))
    with pytest.raises(Conflict, match="held by n2"):
        held.renew(LOCK)
    clock.now += locks.LOCK_SECONDS
    held.renew(LOCK)


async def test_a_node_that_has_just_started_breaks_no_lock_early(host: Host) -> None:
    await host.transact([MakeDirectory(LOCK)], (), "", 5)
    held = Locks(host)
    assert not held.expired(LOCK)
    assert held.expired("priv/lock/never-seen")


async def test_who_makes_a_lock_holds_it(host: Host) -> None:
    held = Locks(host)
    made = (Change(9, LOCK, None, True),)
    host._tell(Changed(9, made, b"", "n2"))
    with pytest.raises(Conflict, match="held by n2"):
        held.renew(LOCK)
    host._tell(Changed(10, (Change(10, LOCK, None),), b"", "n2"))
    host._tell(Changed(11, made, b"", "n1"))
    held.renew(LOCK)
    host._tell(Changed(12, made, b"", "n2"))
    host._tell(Changed(13, made, b""))
    held.renew(LOCK)  # of a lock that was fetched nobody here knows the holder


async def test_who_renames_a_lock_is_not_taken_for_its_holder(host: Host) -> None:
    await host.transact([MakeDirectory(LOCK)], (), "", 5)
    held = Locks(host)
    await host.transact([Rename(LOCK, LOCK + "2")], (), "", 5)
    assert held.expired(LOCK) and not held.expired(LOCK + "2")
    assert held._held[LOCK + "2"].holder == ""
