"""What the database holds after its records, and what a membership source makes of corosync.conf."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from kvorum.store import Change, File, Member, heap, taker
from kvorum.store.database import load
from kvorum.store.disk import Disk
from kvorum.store.handles import Handle
from kvorum.store.inodes import ROOT, Inodes
from kvorum.store.membership import MembershipSource, read_nodes
from kvorum.store.protocol import Origin, Record, Status, View

CONFIG = """totem {
  cluster_name: home   # a comment
  config_version: 4
  interface {
    linknumber: 0
  }
}
nodelist {
  node {
    name: a
    nodeid: 1
    quorum_votes: 2
    ring0_addr: 10.0.0.1
  }
  node {
    ring0_addr: 10.0.0.2
    nodeid: 2
  }
}
"""


async def written(path: Path, *records: Record) -> None:
    done = asyncio.Event()
    disk = Disk(path, lambda serial: done.set() if serial == records[-1].serial else None, failed, failed)
    for record in records:
        disk.write(record)
        disk.flush()
    await asyncio.wait_for(done.wait(), 10)
    await disk.close()


def failed(text: str) -> None:
    raise AssertionError(text)


async def test_what_was_synced_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    assert load(path).version == 0
    old, new = File("a", b"old", 1, 1.5), File("a", b"new", 2, 2.5)
    await written(
        path,
        Record(
            1, 1, 1, View(1, {1: "n1"}, 3.0), (Change(1, "d", None, True), Change(1, "a", old)), (None, None)
        ),
        Record(
            2, 2, 1, changes=(Change(2, "a", new),), before=(old,), origin=("o", Origin(3, 2)), who="root@pam"
        ),
        Record(3, 3, 1, changes=(Change(3, "d", None),), before=(None,)),
    )
    stored = load(path)
    assert list(stored.tree.files()) == [new] and not list(stored.tree.directories())
    assert (stored.version, stored.last_view, stored.view.members) == (3, 1, {1: "n1"})
    assert stored.origins == {"o": Origin(3, 2)}
    history = sqlite3.connect(path)
    rows = history.execute("SELECT version, path, who, before FROM history ORDER BY id").fetchall()
    history.close()
    assert rows == [(1, "a", "", None), (2, "a", "root@pam", b"old")]


def record(serial: int, path: str, data: bytes) -> Record:
    file = File(path, data, serial, 1.0)
    return Record(serial, serial, 1, changes=(Change(serial, path, file),), before=(None,), time=time.time())


async def test_memory_is_given_back_once_after_each_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loop = tmp_path / "config.db", asyncio.get_running_loop()
    load(path)
    given: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(taker, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(taker, "REST_SECONDS", 0.01)
    monkeypatch.setattr(heap, "give_back", lambda: loop.call_soon_threadsafe(given.put_nowait, None) and None)
    disk = Disk(path, lambda serial: None, failed, failed)
    for serial in (1, 2):
        disk.write(record(serial, "f", b"x"))
        disk.flush()
        await asyncio.wait_for(given.get(), 10)
        await disk.settle()
        assert given.empty()
    await disk.close()


async def test_memory_is_given_back_also_when_a_full_batch_ended_the_burst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause of its first record still runs then, and nothing comes after it."""
    path, given, loop = tmp_path / "config.db", asyncio.Event(), asyncio.get_running_loop()
    load(path)
    monkeypatch.setattr(taker, "PAUSE_SECONDS", 30)
    monkeypatch.setattr(taker, "REST_SECONDS", 0.01)
    monkeypatch.setattr(taker, "BATCH", 2)
    monkeypatch.setattr(heap, "give_back", lambda: loop.call_soon_threadsafe(given.set) and None)
    queue = taker.Taker(path, lambda *_: None, failed, failed)
    for serial in (1, 2):
        queue.put(serial, record(serial, "f", b"x"), at_once=False)
    await asyncio.wait_for(given.wait(), 10)
    queue.close()
    await asyncio.to_thread(queue.join, 10)


async def test_what_only_the_journal_had_is_there_after_a_crash_and_so_is_what_follows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.db"
    load(path)
    synced: asyncio.Queue[int] = asyncio.Queue()

    async def until(serial: int) -> None:
        while await asyncio.wait_for(synced.get(), 10) < serial:
            pass

    for life in range(3):
        disk = Disk(path, synced.put_nowait, failed, failed)
        first = 3 * life + 1
        disk.write(record(first, f"a{life}", b"at once"))
        disk.flush()
        await until(first)
        disk._taker.put = lambda *_args, **_kwargs: None  # type: ignore[method-assign]  # it dies too early
        for number in (1, 2):
            disk.write(record(first + number, f"a{life}", b"%d" % number))
            disk.flush()
            await until(first + number)
        crashed = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
        await disk.close()
        for file in tmp_path.iterdir():
            file.unlink()
        for name, content in crashed.items():
            (tmp_path / name).write_bytes(content)
        stored = load(path)
        assert stored.version == first + 2
        assert {f.path: f.data for f in stored.tree.files()} == {f"a{n}": b"2" for n in range(life + 1)}
    history = sqlite3.connect(path)
    rows = history.execute("SELECT version, before FROM history WHERE path = 'a0' ORDER BY id").fetchall()
    history.close()
    assert rows == [(1, None), (2, b"at once"), (3, b"1")], "also where the journal alone had it"


async def test_a_spoilt_journal_sets_the_database_aside(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    load(path)
    disk = Disk(path, lambda _: None, failed, failed)
    await disk.settle()
    disk._taker.put = lambda *_args, **_kwargs: None  # type: ignore[method-assign]
    for serial in (1, 2, 3):
        disk.write(record(serial, "a", b"x"))
        disk.flush()
        while disk._flushed[1] < serial:
            await asyncio.sleep(0.01)
    await disk.close()
    log = tmp_path / "config.db-log"
    content = bytearray(log.read_bytes())
    content[50] ^= 255
    log.write_bytes(content)
    assert load(path).version == 0
    assert len(list(tmp_path.glob("config.db.damaged-*-log"))) == 1


async def test_records_too_large_for_the_journal_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    load(path)
    await written(path, *(record(n, "a", bytes([n]) * (3_000_000 if n % 2 else 10)) for n in range(1, 9)))
    stored = load(path)
    (file,) = stored.tree.files()
    assert stored.version == 8 and file.data == b"\x08" * 10


def test_nodes_are_read_from_corosync_conf() -> None:
    assert read_nodes(CONFIG) == (
        "home",
        4,
        (Member("a", 1, "10.0.0.1", False, 2), Member("10.0.0.2", 2, "10.0.0.2", False, 1)),
    )


def test_quorum_stays_as_it_was_while_members_compare_their_states(tmp_path: Path) -> None:
    config = tmp_path / "corosync.conf"
    config.write_text(CONFIG)
    source = MembershipSource(config, "a")
    assert source.update(Status(True, False, "", frozenset({1, 2})))
    assert source.current.quorate and all(member.online for member in source.current.members)
    assert source.update(Status(False, True, "comparing", frozenset({1})))
    assert source.current.quorate
    assert source.update(Status(False, False, "no quorum: 1 of 3", frozenset({1})))
    assert (source.current.quorate, source.current.reason) == (False, "no quorum: 1 of 3")
    assert not source.update(Status(False, False, "no quorum: 1 of 3", frozenset({1})))


def test_a_handle_knows_what_to_commit() -> None:
    handle = Handle(2)
    assert not handle.dirty
    handle.write(2, b"xy", b"abc")
    assert handle.buffer == b"abxy" and handle.written
    handle.committed()
    handle.write(0, b"n", b"other")
    assert handle.buffer == b"nther", "a second write begins from what the file holds then"
    handle.truncate(1, b"")
    assert handle.buffer == b"n"
    truncated = Handle(2, buffer=bytearray(), pending=True)
    assert truncated.dirty and not truncated.written
    truncated.write(1, b"z", b"old content")
    assert truncated.buffer == b"\0z"


def test_a_renamed_file_keeps_its_number_and_a_removed_ones_is_never_used_again() -> None:
    inodes = Inodes()
    number = inodes.number("a")
    inodes.looked_up(number)
    replaced = inodes.number("b")
    inodes.renamed("a", "b")
    assert inodes.path(number) == "b" and inodes.path(replaced) is None
    inodes.removed("b")
    assert inodes.number("b") not in (number, replaced)
    inodes.forget(number, 1)
    assert inodes.path(ROOT) == ""
