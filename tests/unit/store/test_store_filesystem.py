"""Requests that cross on their way: the file system's methods called as the kernel would, without a mount."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from kvorum.core.errors import Conflict, NoQuorum, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.store import Delete, Expect, MakeDirectory, Operation, Write, invalidation
from kvorum.store.daemon import running_store
from kvorum.store.filesystem import Filesystem
from kvorum.store.host import Host
from kvorum.store.membership import MembershipSource

CTX: Any = SimpleNamespace(uid=0, gid=0, pid=os.getpid())
ROOT: Any = pyfuse3.ROOT_INODE


@dataclass
class Gate:
    """Holds changes back until it is opened, as a group that takes its time; or refuses the next one."""

    host: Host
    open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: Exception | None = None

    async def transact(
        self, operations: Sequence[Operation], expect: Sequence[Expect], who: str, timeout: float
    ) -> int:
        self.waiting.set()
        await self.open.wait()
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        return await Host.transact(self.host, operations, expect, who, timeout)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_store(Paths.under(tmp_path), node="n1", fuse=False, corosync=False) as it:
        await it.transact([], (), "", 5)
        yield it


@pytest.fixture
def gate(host: Host, monkeypatch: pytest.MonkeyPatch) -> Gate:
    it = Gate(host)
    monkeypatch.setattr(host, "transact", it.transact)
    return it


@pytest.fixture
async def face(host: Host, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Filesystem]:
    for name in ("invalidate_inode", "invalidate_entry"):
        monkeypatch.setattr(pyfuse3, name, lambda *_: None)
    it = Filesystem(host, MembershipSource(None, "n1"))
    yield it
    it.close()


async def created(face: Filesystem, content: bytes) -> Any:
    """A handle of a new file ``f`` with something written."""
    info, _ = await face.create(ROOT, b"f", 0o640, os.O_RDWR, CTX)  # type: ignore[arg-type]
    await face.write(info.fh, 0, content)
    return info.fh


def text(host: Host) -> bytes | None:
    file = host.tree.read("f")
    return file.data if file else None


async def finished(task: asyncio.Task[Any]) -> Any:
    return await asyncio.wait_for(task, 10)


async def test_whoever_syncs_during_a_commit_waits_for_its_fate(
    face: Filesystem, gate: Gate, host: Host
) -> None:
    fh = await created(face, b"all")
    first = asyncio.create_task(face.flush(fh))
    await gate.waiting.wait()
    others = [asyncio.create_task(call) for call in (face.flush(fh), face.fsync(fh, False))]
    await asyncio.sleep(0)
    assert not any(task.done() for task in (first, *others))
    gate.open.set()
    for task in (first, *others):
        await finished(task)
    assert text(host) == b"all"


async def test_a_commit_that_fails_is_tried_by_the_next_close_and_nothing_is_lost(
    face: Filesystem, gate: Gate, host: Host
) -> None:
    fh = await created(face, b"all")
    gate.refusal = NoQuorum("no quorum")
    gate.open.set()
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await face.flush(fh)
    assert refused.value.errno == errno.EROFS and text(host) is None
    assert await face.read(fh, 0, 10) == b"all"
    await face.flush(fh)
    assert text(host) == b"all"


async def test_what_is_written_during_a_commit_goes_onto_it(face: Filesystem, gate: Gate, host: Host) -> None:
    fh = await created(face, b"first")
    gate.open.set()
    await face.flush(fh)
    gate.open.clear()
    gate.waiting.clear()
    await face.write(fh, 5, b" second")
    committing = asyncio.create_task(face.flush(fh))
    await gate.waiting.wait()
    assert await face.read(fh, 0, 99) == b"first second"
    await face.write(fh, 12, b" third")
    assert (await face.getattr(face._handles[fh].inode, CTX)).st_size == 18
    gate.open.set()
    await finished(committing)
    await face.release(fh)
    assert text(host) == b"first second third"


async def test_a_file_removed_during_its_first_commit_stays_removed(
    face: Filesystem, gate: Gate, host: Host
) -> None:
    fh = await created(face, b"all")
    committing = asyncio.create_task(face.flush(fh))
    await gate.waiting.wait()
    removing = asyncio.create_task(face.unlink(ROOT, b"f", CTX))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    gate.open.set()
    await finished(committing)
    await finished(removing)
    assert text(host) is None
    assert await face.read(fh, 0, 10) == b"all", "whoever has it open has it still"
    await face.release(fh)
    assert text(host) is None


async def test_a_conflict_in_the_group_reaches_the_writer_with_its_errno(
    face: Filesystem, gate: Gate
) -> None:
    fh = await created(face, b"all")
    gate.refusal = Conflict("no room for 'f': the store holds at most 134217728 bytes")
    gate.open.set()
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await face.fsync(fh, False)
    assert refused.value.errno == errno.ENOSPC


async def test_to_take_a_lock_is_one_message_in_the_group(
    face: Filesystem, gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.open.set()
    published: list[str] = []
    monkeypatch.setattr(host, "publish", lambda key, value, ttl: published.append(key))
    parent: Any = face._inodes.number("priv/lock")
    entry = await face.mkdir(parent, b"x", 0o750, CTX)  # type: ignore[arg-type]
    assert published == [] and face._locks._held["priv/lock/x"].holder == "n1"
    fields: Any = SimpleNamespace(
        update_size=False, update_mode=False, update_uid=False, update_gid=False, update_mtime=True
    )
    await face.setattr(entry.st_ino, SimpleNamespace(st_mtime_ns=1), fields, None, CTX)  # type: ignore[arg-type]
    assert published == ["lock:priv/lock/x"]


@dataclass
class Kernel:
    """What the kernel is told."""

    face: Filesystem
    entries: list[bytes] = field(default_factory=list)
    inodes: list[int] = field(default_factory=list)

    async def told(self) -> list[bytes]:
        """The names it is told to forget so far."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.face._invalidation.put(lambda: loop.call_soon_threadsafe(done.set) and None)
        await asyncio.wait_for(done.wait(), 10)
        return self.entries


@pytest.fixture
def kernel(face: Filesystem, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    it = Kernel(face)
    monkeypatch.setattr(pyfuse3, "invalidate_entry", lambda _parent, name: it.entries.append(name))
    monkeypatch.setattr(pyfuse3, "invalidate_inode", lambda inode, _only: it.inodes.append(inode))
    gate.open.set()
    return it


async def known(face: Filesystem, host: Host, *names: bytes) -> list[int]:
    """Files that the kernel has looked up."""
    await host.transact([Write(name.decode(), name) for name in names], (), "", 5)
    return [(await face.lookup(ROOT, name, CTX)).st_ino for name in names]  # type: ignore[arg-type]


async def test_the_kernel_is_not_told_of_names_that_it_takes_away_itself(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    _, _, replaced = await known(face, host, b"f", b"g", b"h")
    await face.mkdir(ROOT, b"d", 0o750, CTX)  # type: ignore[arg-type]
    await face.unlink(ROOT, b"f", CTX)  # type: ignore[arg-type]
    await face.rename(ROOT, b"g", ROOT, b"h", 0, CTX)  # type: ignore[arg-type]
    await face.rmdir(ROOT, b"d", CTX)  # type: ignore[arg-type]
    assert await kernel.told() == []
    assert replaced in kernel.inodes
    assert not face._taken


async def test_the_kernel_is_told_of_names_that_go_by_another_hand(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    await known(face, host, b"f")
    await host.transact([Delete("f")], (), "", 5)
    assert await kernel.told() == [b"f"]


@pytest.mark.parametrize("error", [OutcomeUnknown("perhaps"), Conflict("'f' does not exist")])
async def test_the_kernel_is_told_of_a_name_that_went_while_its_own_removal_failed(
    face: Filesystem, host: Host, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await known(face, host, b"f", b"g")
    for refused in (
        lambda: face.unlink(ROOT, b"f", CTX),  # type: ignore[arg-type]
        lambda: face.rename(ROOT, b"g", ROOT, b"h", 0, CTX),  # type: ignore[arg-type]
    ):

        async def fail(operations: Sequence[Operation], *rest: Any) -> int:
            await Host.transact(host, operations, *rest)
            raise error

        monkeypatch.setattr(host, "transact", fail)
        with pytest.raises(pyfuse3.FUSEError):
            await refused()
    assert await kernel.told() == [b"f", b"g"]
    assert not face._taken


async def test_the_kernel_is_told_nothing_of_a_removal_that_was_refused(
    face: Filesystem, gate: Gate, host: Host, kernel: Kernel
) -> None:
    await known(face, host, b"f")
    gate.refusal = NoQuorum("no quorum")
    with pytest.raises(pyfuse3.FUSEError):
        await face.unlink(ROOT, b"f", CTX)  # type: ignore[arg-type]
    assert await kernel.told() == []


async def test_the_kernel_is_told_of_a_removed_name_that_another_operation_is_about_too(
    face: Filesystem, gate: Gate, host: Host, kernel: Kernel
) -> None:
    (inode,) = await known(face, host, b"f")
    gate.open.clear()
    gate.waiting.clear()
    removing = asyncio.create_task(face.unlink(ROOT, b"f", CTX))  # type: ignore[arg-type]
    touching = asyncio.create_task(face._touch(CTX, "f", inode, 1.0))
    await gate.waiting.wait()
    await asyncio.sleep(0)
    gate.open.set()
    await finished(removing)
    await asyncio.gather(touching, return_exceptions=True)
    assert await kernel.told() == [b"f"]


async def test_a_name_made_anew_elsewhere_during_its_removal_is_another_file(
    face: Filesystem, gate: Gate, host: Host, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = await known(face, host, b"f")

    async def overtaken(operations: Sequence[Operation], *rest: Any) -> int:
        version = await Host.transact(host, operations, *rest)
        await Host.transact(host, [Write("f", b"new")], (), "", 5)
        return version

    monkeypatch.setattr(host, "transact", overtaken)
    await face.unlink(ROOT, b"f", CTX)  # type: ignore[arg-type]
    new = await face.lookup(ROOT, b"f", CTX)  # type: ignore[arg-type]
    assert new.st_ino != old and new.st_size == 3
    assert await kernel.told() == [] and old in kernel.inodes


async def test_a_directory_that_is_gone_since_opendir_is_listed_no_more(
    face: Filesystem, gate: Gate, host: Host
) -> None:
    gate.open.set()
    await host.transact([MakeDirectory("d"), MakeDirectory("stays")], (), "", 5)
    face._attributes.of("d")  # the first look gives it its inode
    assert face._attributes.of("d") is face._attributes.of("d"), (
        "kept: the kernel asks before each change in it"
    )
    await host.transact([Delete("d")], (), "", 5)
    listed = {name: entry is not None for name, _, entry in face._attributes.listed("", ["d", "stays"])}
    assert listed == {b"d": False, b"stays": True}


async def emptied(face: Filesystem, host: Host, kernel: Kernel) -> tuple[int, Any]:
    """A file that was there and is opened to be written anew; the kernel has heard of all before."""
    (inode,) = await known(face, host, b"f")
    info = await face.open(inode, os.O_WRONLY | os.O_TRUNC, CTX)  # type: ignore[arg-type]
    return inode, info.fh


async def heard_at_close(face: Filesystem, kernel: Kernel, fh: Any) -> list[int]:
    """Close a copy of the handle; the inodes that the kernel was told of so far."""
    await face.flush(fh)
    await kernel.told()
    return kernel.inodes


async def test_the_kernel_is_not_told_of_what_it_was_given_to_write(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """It has the content, and at a write drops the attributes by itself."""
    info, _ = await face.create(ROOT, b"new", 0o640, os.O_WRONLY, CTX)  # type: ignore[arg-type]
    await face.write(info.fh, 0, b"new")
    await face.flush(info.fh)
    await face.release(info.fh)
    _, again = await emptied(face, host, kernel)
    await face.write(again, 0, b"of two ")
    await face.write(again, 7, b"parts")
    await face.flush(again)
    await face.release(again)
    await kernel.told()
    assert (text(host), kernel.inodes) == (b"of two parts", [])


async def stat_by_inode(face: Filesystem, host: Host, inode: Any) -> None:
    await face.getattr(inode, CTX)


async def stat_by_name(face: Filesystem, host: Host, inode: Any) -> None:
    await face.lookup(ROOT, b"f", CTX)  # type: ignore[arg-type]


async def open_to_read(face: Filesystem, host: Host, inode: Any) -> None:
    await face.open(inode, os.O_RDONLY, CTX)  # type: ignore[arg-type]


async def open_to_write(face: Filesystem, host: Host, inode: Any) -> None:
    await face.open(inode, os.O_WRONLY, CTX)  # type: ignore[arg-type]


async def set_the_time(face: Filesystem, host: Host, inode: Any) -> None:
    attr, fields = pyfuse3.EntryAttributes(), SimpleNamespace(
        update_mode=False, update_uid=False, update_gid=False, update_size=False, update_mtime=True
    )  # fmt: skip
    attr.st_mtime_ns = 10**18
    await face.setattr(inode, attr, fields, None, CTX)  # type: ignore[arg-type]


@pytest.mark.parametrize("asking", [stat_by_inode, stat_by_name, open_to_read, open_to_write, set_the_time])
async def test_the_kernel_is_told_of_what_it_may_have_cached_before_the_commit(
    face: Filesystem, host: Host, kernel: Kernel, asking: Callable[..., Awaitable[None]]
) -> None:
    inode, fh = await emptied(face, host, kernel)
    await face.write(fh, 0, b"new")
    await asking(face, host, inode)
    assert await heard_at_close(face, kernel, fh) == [inode]


async def test_the_kernel_is_told_of_a_file_that_was_open_when_another_emptied_it(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """Who reads on gets the old content, into pages that nobody wrote."""
    (inode,) = await known(face, host, b"f")
    await face.open(inode, os.O_RDONLY, CTX)  # type: ignore[arg-type]
    info = await face.open(inode, os.O_WRONLY | os.O_TRUNC, CTX)  # type: ignore[arg-type]
    await face.write(info.fh, 0, b"new")
    assert await heard_at_close(face, kernel, info.fh) == [inode]


async def test_the_kernel_is_told_of_a_file_that_was_emptied_and_not_written(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    inode, fh = await emptied(face, host, kernel)
    await face.release(fh)
    await kernel.told()
    assert (text(host), kernel.inodes) == (b"", [inode])


async def test_the_kernel_is_told_of_what_may_be_written_by_a_map(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """Attributes that were asked for meanwhile may then come after it dropped them."""
    fh = await created(face, b"new")
    assert await heard_at_close(face, kernel, fh) == [face._inodes.known("f")]


async def test_the_kernel_is_told_of_what_was_not_emptied(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """Its pages may be of an earlier content, of which it is about to be told."""
    (inode,) = await known(face, host, b"f")
    info = await face.open(inode, os.O_WRONLY, CTX)  # type: ignore[arg-type]
    await face.write(info.fh, 0, b"n")
    assert await heard_at_close(face, kernel, info.fh) == [inode]


async def test_the_kernel_is_told_of_a_change_from_elsewhere_to_what_is_written_here(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    inode, fh = await emptied(face, host, kernel)
    await face.write(fh, 0, b"new")
    await Host.transact(host, [Write("f", b"elsewhere")], (), "", 5)
    await kernel.told()
    assert kernel.inodes == [inode]
    assert await heard_at_close(face, kernel, fh) == [inode]
    assert text(host) == b"new"


async def test_the_kernel_is_told_of_a_second_commit_of_an_open_file(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """After the first one another node's change may lie between what it has and what is written on top."""
    inode, fh = await emptied(face, host, kernel)
    await face.write(fh, 0, b"new")
    await face.fsync(fh, False)
    await face.write(fh, 3, b" and more")
    await face.fsync(fh, False)
    await kernel.told()
    assert (text(host), kernel.inodes) == (b"new and more", [inode])


async def test_a_file_changed_elsewhere_and_renamed_before_the_kernel_hears_is_not_the_old_one(
    face: Filesystem, host: Host, kernel: Kernel
) -> None:
    """The kernel moves the name that it has, which leads to what the file was."""
    await known(face, host, b"f")
    await host.transact([Write("f", b"elsewhere")], (), "", 5)
    await face.rename(ROOT, b"f", ROOT, b"g", 0, CTX)  # type: ignore[arg-type]
    assert await kernel.told() == [b"f", b"g"]


@pytest.fixture
async def slow_kernel(
    face: Filesystem, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[threading.Event]:
    """It takes no notification until this is set, and all would wait for it."""
    let = threading.Event()
    for name in ("invalidate_inode", "invalidate_entry"):
        monkeypatch.setattr(pyfuse3, name, lambda *_: let.wait(10) and None)
    monkeypatch.setattr(invalidation, "WAIT_SECONDS", 30)
    monkeypatch.setattr(face._invalidation, "_stalled", lambda: None)
    yield let
    let.set()


async def test_a_change_is_not_done_before_the_kernel_here_has_heard_of_it(
    face: Filesystem, host: Host, kernel: Kernel, slow_kernel: threading.Event
) -> None:
    """Else who reads it right after another node was told that it is done gets the old one."""
    await known(face, host, b"f")
    change = asyncio.create_task(host.transact([Write("f", b"new")], (), "", 5))
    while (file := host.tree.read("f")) is None or file.data != b"new":
        await asyncio.sleep(0)
    await host.settle()
    assert not change.done()
    slow_kernel.set()
    await finished(change)


async def test_a_change_does_not_wait_for_the_kernel_while_it_may_wait_for_us(
    face: Filesystem, gate: Gate, host: Host, kernel: Kernel, slow_kernel: threading.Event
) -> None:
    """It holds a directory while a name in it is made or removed, which waits for all nodes."""
    await known(face, host, b"f", b"g")
    gate.open.clear()
    removing = asyncio.create_task(face.unlink(ROOT, b"g", CTX))  # type: ignore[arg-type]
    await gate.waiting.wait()
    await finished(asyncio.create_task(Host.transact(host, [Delete("f")], (), "", 5)))
    gate.open.set()
    await finished(removing)
    assert not face._here and not face._held


async def test_a_change_waits_for_the_kernel_also_while_a_file_beside_it_is_written(
    face: Filesystem, gate: Gate, host: Host, kernel: Kernel, slow_kernel: threading.Event
) -> None:
    """Which holds no directory."""
    _, beside = await known(face, host, b"f", b"g")
    info = await face.open(beside, os.O_WRONLY | os.O_TRUNC, CTX)  # type: ignore[arg-type]
    await face.write(info.fh, 0, b"n")
    gate.open.clear()
    writing = asyncio.create_task(face.flush(info.fh))
    await gate.waiting.wait()
    change = asyncio.create_task(Host.transact(host, [Delete("f")], (), "", 5))
    while host.tree.read("f") is not None:
        await asyncio.sleep(0)
    await host.settle()
    assert not change.done()
    slow_kernel.set()
    gate.open.set()
    await finished(change)
    await finished(writing)


async def test_a_change_waits_no_longer_once_a_request_holds_the_directory(
    face: Filesystem, host: Host, kernel: Kernel, slow_kernel: threading.Event
) -> None:
    """It waits for this disk too, which would wait for the kernel, and that for the request."""
    await known(face, host, b"f", b"g")
    change = asyncio.create_task(Host.transact(host, [Delete("f")], (), "", 5))
    while host.tree.read("f") is not None:
        await asyncio.sleep(0)
    await finished(asyncio.create_task(face.unlink(ROOT, b"g", CTX)))  # type: ignore[arg-type]
    await finished(change)
    assert not slow_kernel.is_set()
