"""What a replica does when it stood still, or when its disk is late, full or locked."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvorum.core.errors import KvorumError, NoQuorum
from kvorum.core.paths import Paths
from kvorum.store import StoreClient, Write
from kvorum.store.daemon import running_store
from kvorum.store.database import Database
from kvorum.store.flush import Done, KernelFlusher, ThreadFlusher
from kvorum.store.host import Host
from kvorum.store.protocol import (
    Ballot,
    Clock,
    Deliver,
    DiskRefused,
    DiskSynced,
    Effect,
    Event,
    MembersChanged,
    Multicast,
    Persist,
    Rejoin,
    Replica,
    Request,
    StartTimer,
    Stored,
    TimerExpired,
    Withdraw,
    vigil,
)
from kvorum.store.protocol.vigil import Vigil

pytestmark = pytest.mark.slow


def test_a_late_record_is_told_from_a_large_one() -> None:
    watch = Vigil()
    assert watch.pause(100.0) == 0.0
    watch.handed(1)
    watch.handed(2, vigil.TRANSFER_SECONDS)
    assert watch.pause(105.0) == 5.0 and watch.late() == 0.0
    watch.pause(105.5)
    assert watch.late() == 5.5
    watch.synced(1)
    assert watch.late() == 0.0 and not watch.synced_all
    watch.pause(131.0)
    assert watch.late() == 31.0
    watch.synced(2)
    assert watch.synced_all


def test_a_place_is_on_disk_with_the_last_of_its_records() -> None:
    watch = Vigil()
    assert watch.completes(1), "nothing was written for it"
    for serial in (1, 2):
        watch.handed(serial)
    assert not watch.completes(2)
    watch.handed(3)
    assert not watch.completes(3)
    assert not watch.completes(4), "nothing was written for it, but what was before it is on its way"
    assert watch.synced(1) is None
    assert watch.synced(2) == 2 and watch.synced(2) is None
    assert watch.synced(3) == 4


class Alone:
    """A replica in a group of one, whose disk the test plays."""

    def __init__(self) -> None:
        self.replica = Replica(1, "n1", "n1/1", Stored(), Ballot())
        self.serial = 0
        self.feed(Clock(0.0))
        self.join()
        self.sync()
        assert self.replica.status.writable

    def join(self) -> list[Effect]:
        return self.feed(MembersChanged((1, 1), frozenset({(1, 7)}), 0.0))

    def feed(self, event: Event) -> list[Effect]:
        """The effects, with the group's part played at once."""
        todo, seen = [event], []
        while todo:
            for effect in self.replica.step(todo.pop(0)):
                seen.append(effect)
                match effect:
                    case Multicast(frames):
                        todo += [Deliver(1, frame) for frame in frames]
                    case Persist(record):
                        self.serial = record.serial
        return seen

    def sync(self) -> list[Effect]:
        seen: list[Effect] = []
        while True:
            serial = self.serial
            seen += self.feed(DiskSynced(serial))
            if self.serial == serial:
                return seen

    def write(self) -> None:
        self.feed(Request(1, (Write("x", b"1"),), (), "", 0.0))


def test_a_pause_is_a_moment_without_quorum_and_short_ones_are_none() -> None:
    node = Alone()
    assert not node.feed(Clock(2.0))
    effects = node.feed(Clock(4.5))
    assert [type(effect) for effect in effects if isinstance(effect, Withdraw | Rejoin)] == [Withdraw, Rejoin]
    assert node.replica.status.changing and "stood still for 2.5 s" in node.replica.status.reason
    node.join()
    node.sync()
    assert node.replica.status.writable


def test_a_late_disk_leaves_the_group_and_comes_back_with_its_last_sync() -> None:
    node = Alone()
    node.write()
    for tick in range(1, 11):
        assert not node.feed(Clock(tick / 2))
    effects = node.feed(Clock(5.5))
    assert any(isinstance(effect, Withdraw) for effect in effects)
    assert not node.replica.status.writable and "has not taken a write for 6 s" in node.replica.status.reason
    assert not node.join(), "what the group still says is not heard"
    assert not node.feed(Clock(6.0)) and not node.feed(Clock(7.0))
    assert [type(e) for e in node.feed(DiskSynced(node.serial)) if isinstance(e, Rejoin)] == [Rejoin]
    node.join()
    node.sync()
    assert node.replica.status.writable and node.replica.tree.read("x") is not None


def test_a_full_disk_leaves_at_once_and_says_so() -> None:
    node = Alone()
    node.write()
    assert any(isinstance(effect, Withdraw) for effect in node.feed(DiskRefused("no room")))
    assert node.replica.status.reason.startswith("no room; this node is read-only until")
    assert any(isinstance(effect, Rejoin) for effect in node.feed(DiskSynced(node.serial)))


def test_a_round_that_takes_too_long_names_who_is_missing() -> None:
    node = Alone()
    effects = node.feed(MembersChanged((1, 2), frozenset({(1, 7), (4, 9)}), 0.0))
    timer = next(effect for effect in effects if isinstance(effect, StartTimer))
    node.feed(TimerExpired(timer.number))
    assert "node id 4" in node.replica.status.reason and not node.replica.status.changing


# The same with the real disk's thread


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[tuple[Host, StoreClient]]:
    paths = Paths.under(tmp_path)
    async with (
        running_store(paths, node="n1", fuse=False, corosync=False) as host,
        StoreClient(paths.store_socket) as client,
    ):
        await client.write("first", b"1")
        yield host, client


async def until(client: StoreClient, quorate: bool) -> str:
    async with asyncio.timeout(20):
        async for membership in client.watch_membership():
            if membership.quorate is quorate:
                return membership.reason
    raise AssertionError


class Faulty:
    """Lets commits fail, or wait, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: sqlite3.OperationalError | None) -> None:
        self.mended = threading.Event()
        commit = Database.commit

        def faulty(database: Database, *args: object) -> None:
            if not self.mended.is_set():
                if error is not None:
                    raise error
                self.mended.wait(20)
            commit(database, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Database, "commit", faulty)


def full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


async def test_a_full_disk_turns_the_node_read_only_until_there_is_room(
    store: tuple[Host, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, client = store
    monkeypatch.setattr("kvorum.store.taker.RETRY_SECONDS", 0.05)
    faulty = Faulty(monkeypatch, full())
    await client.write("second", b"2")  # the journal has room
    assert "its disk is full" in await until(client, False)
    with pytest.raises(NoQuorum):
        await client.transact([Write("third", b"3")], timeout=0.2)
    faulty.mended.set()
    await until(client, True)
    await client.write("fourth", b"4")
    assert host.tree.read("second") is not None and host.tree.read("third") is None


async def test_what_the_journal_has_no_room_for_waits_for_the_database(
    store: tuple[Host, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, client = store
    monkeypatch.setattr("kvorum.store.taker.RETRY_SECONDS", 0.05)
    faulty = Faulty(monkeypatch, full())
    writing = [asyncio.ensure_future(client.write(f"big-{n}", bytes(1_000_000))) for n in range(8)]
    assert "its disk is full" in await until(client, False)
    faulty.mended.set()
    await until(client, True)
    for done in await asyncio.wait_for(asyncio.gather(*writing, return_exceptions=True), 20):
        assert isinstance(done, int | KvorumError)
    await client.write("after", b"1")
    assert host.tree.read("after") is not None


async def test_a_slow_disk_turns_the_node_read_only_until_it_catches_up(
    store: tuple[Host, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = store
    monkeypatch.setattr(vigil, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr("kvorum.store.host.CLOCK_SECONDS", 0.05)
    held: list[tuple[int, Done]] = []
    for kind in (KernelFlusher, ThreadFlusher):
        monkeypatch.setattr(kind, "start", lambda _self, descriptor, done: held.append((descriptor, done)))
    database = Faulty(monkeypatch, None)  # it would have the record, and so the disk, after 0.2 s
    writing = asyncio.ensure_future(client.write("second", b"2"))
    assert "has not taken a write" in await until(client, False)
    database.mended.set()
    monkeypatch.undo()
    held.pop()[1](None)
    await until(client, True)
    await asyncio.wait_for(writing, 10)


async def test_a_broken_database_is_not_tried_again(
    store: tuple[Host, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = store
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    Faulty(monkeypatch, error)
    await client.write("second", b"2")
    assert "can't be written: disk I/O error" in await until(client, False)
    with pytest.raises(KvorumError):
        await client.transact([Write("third", b"3")], timeout=2)


async def test_a_sync_that_failed_is_the_end(
    store: tuple[Host, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = store
    for kind in (KernelFlusher, ThreadFlusher):
        monkeypatch.setattr(kind, "start", lambda _self, _fd, done: done(OSError(5, "Input/output error")))
    with pytest.raises(KvorumError):
        await client.transact([Write("second", b"2")], timeout=2)
    assert "can't be synced" in await until(client, False)
