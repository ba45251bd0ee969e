"""The store as a file system at /etc/pve: a file is replaced whole, and without quorum nothing changes.

Everything belongs to root:www-data; ``priv`` and ``nodes/*/priv`` are for root alone. The kernel caches
entries, attributes and pages; each applied change takes them back, but for a name that the kernel takes away
itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence

import pyfuse3
import pyfuse3.asyncio
from msgspec.structs import replace
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    RequestContext,
    SetattrFields,
)

from kvorum.core.errors import Conflict, KvorumError, NoQuorum
from kvorum.store.corosync_conf import Refused
from kvorum.store.face import Delete, File, MakeDirectory, Operation, Rename, Touch, Write
from kvorum.store.handles import Handle
from kvorum.store.locks import LOCK_SECONDS, is_lock
from kvorum.store.refusals import check_guest, check_new, check_rename, check_size, errno_of
from kvorum.store.view import View

log = logging.getLogger(__name__)

_WAIT_SECONDS = 20.0
_COMM_BYTES = 64
_WRITING = os.O_WRONLY | os.O_RDWR


class Filesystem(View):
    """What changes something, on top of the view."""

    # Files

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        if inode in self._removed and not flags & _WRITING:
            return self._opened(Handle(inode))
        path = self._path(inode)
        if path in self._virtual.names:
            if flags & _WRITING and not self._virtual.writable(path):
                raise FUSEError(errno.EACCES)
            number = self._new_handle()
            self._handles[number] = Handle(inode, self._virtual.content(path), fixed=True)
            return FileInfo(fh=FileHandleT(number), direct_io=True)
        if (changing := self._changing.get(inode)) is not None:
            changing.alone = False
        if not flags & _WRITING:
            return self._opened(Handle(inode))
        self._need_quorum()
        handle = Handle(inode, who=_who(ctx))
        if flags & os.O_TRUNC:
            handle.buffer, handle.pending = bytearray(), True
            handle.alone = _only_writes(flags) and not self._is_open(inode)
            self._changing[inode] = handle
        return self._opened(handle)

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        path = self._child(parent_inode, name)
        self._need_quorum()
        check_new(self._tree, self._reserved, path)
        self._inodes.removed(path)
        inode = self._inodes.number(path)
        handle = Handle(inode, who=_who(ctx), buffer=bytearray(), pending=True, alone=_only_writes(flags))
        self._changing[inode] = handle
        info = self._opened(handle)
        self._inodes.looked_up(inode)
        return info, self._attributes.of(path)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        handle = self._handles[fh]
        content: bytes | bytearray
        if handle.fixed:
            content = handle.content
        else:
            own = handle.seen
            content = self._content(handle.inode) if own is None else own
        return bytes(content[off : off + size])

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        handle = self._handles[fh]
        if handle.fixed:
            if not self._virtual.write(self._path(handle.inode), buf):
                raise FUSEError(errno.EINVAL)
            return len(buf)
        self._need_quorum()
        check_guest(self._tree, self._inodes.path(handle.inode) or "", "")
        present, own = self._content(handle.inode), handle.seen
        check_size(self._tree, len(present), max(len(present if own is None else own), off + len(buf)))
        handle.write(off, buf, present)
        self._changing[handle.inode] = handle
        return len(buf)

    async def flush(self, fh: FileHandleT) -> None:
        handle = self._handles[fh]
        async with handle.commits:
            if handle.written:
                handle.failed = True
                await self._commit(handle)
                handle.failed = False

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        handle = self._handles[fh]
        async with handle.commits:
            if handle.dirty:
                await self._commit(handle)

    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Nothing to do: what was answered is on disk."""

    async def release(self, fh: FileHandleT) -> None:
        handle = self._handles[fh]
        try:
            async with handle.commits:
                if handle.dirty and not handle.failed:
                    await self._commit(handle)
        except FUSEError as error:
            path = self._inodes.path(handle.inode)
            log.warning("'%s' was closed and could not be written: %s", path, os.strerror(error.errno))
        finally:
            del self._handles[fh]
            if self._changing.get(handle.inode) is handle:
                del self._changing[handle.inode]
            self._never_came(handle.inode)

    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        path = self._path(inode)
        if path in self._virtual.names and fields.update_size:
            if not self._virtual.writable(path):
                raise FUSEError(errno.EACCES)
            return self._attributes.of(path)  # a shell truncates what it writes to
        self._need_quorum()
        now = self._attributes.of(path)
        if fields.update_mode and stat.S_IMODE(attr.st_mode) != stat.S_IMODE(now.st_mode):
            raise FUSEError(errno.EPERM)
        wrong_owner = fields.update_uid and attr.st_uid != 0
        if wrong_owner or (fields.update_gid and attr.st_gid != self._attributes.gid):
            raise FUSEError(errno.EPERM)
        handle = self._handles.get(fh) if fh is not None else None
        if fields.update_size:
            await self._truncate(ctx, path, inode, attr.st_size, handle)
        if fields.update_mtime and is_lock(path) and self._tree.is_directory(path):
            await self._touch_lock(ctx, path, attr.st_mtime_ns)
            return now
        if fields.update_mtime:
            await self._touch(ctx, path, inode, attr.st_mtime_ns / 1e9)
        return self._attributes.of(path)

    # Names

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        path = self._child(parent_inode, name)
        self._need_quorum()
        check_new(self._tree, self._reserved, path)
        await self._transact(ctx, MakeDirectory(path))
        self._inodes.removed(path)
        attributes = self._attributes.of(path)
        self._inodes.looked_up(attributes.st_ino)
        return attributes

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        path = self._child(parent_inode, name)
        self._need_quorum()
        if not self._tree.is_directory(path):
            raise FUSEError(errno.ENOTDIR if self._tree.read(path) else errno.ENOENT)
        if self._tree.names(path):
            raise FUSEError(errno.ENOTEMPTY)
        with self._taking(path):
            await self._transact(ctx, Delete(path))
        self._inodes.removed(path)

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        path = self._child(parent_inode, name)
        self._need_quorum()
        if path in self._reserved:
            raise FUSEError(errno.EACCES)
        inode = self._inodes.known(path)
        handle = self._changing.get(inode) if inode is not None else None
        async with handle.commits if handle is not None else contextlib.nullcontext():
            file = self._tree.read(path)
            if file is not None:
                with self._taking(path):
                    await self._transact(ctx, Delete(path))
            elif handle is None:
                raise FUSEError(errno.EISDIR if self._tree.is_directory(path) else errno.ENOENT)
            self._lost_its_name(path, file)

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        source = self._child(parent_inode_old, name_old)
        target = self._child(parent_inode_new, name_new)
        self._need_quorum()
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(errno.EINVAL)
        inode = self._inodes.known(source)
        handle = self._changing.get(inode) if inode is not None else None
        if handle is not None:
            async with handle.commits:
                if handle.dirty:
                    await self._commit(handle)
        check_rename(self._tree, self._reserved, source, target, bool(flags & pyfuse3.RENAME_NOREPLACE))
        if source == target:
            return
        replaced, overtaken = self._tree.read(target), self._inodes.known(source) is None
        with self._taking(source):
            await self._transact(ctx, Rename(source, target))
        self._lost_its_name(target, replaced)
        self._inodes.renamed(source, target)
        if overtaken:  # the kernel moves what was there before another node's change, of which it hears now
            self._notify_entry(target)

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        self._need_quorum()
        raise FUSEError(errno.EPERM)

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        self._need_quorum()
        raise FUSEError(errno.EPERM)

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        self._need_quorum()
        raise FUSEError(errno.EPERM)

    # Helpers

    def _need_quorum(self) -> None:
        if not self._membership.current.quorate:
            raise FUSEError(errno.EROFS)

    def _is_open(self, inode: int) -> bool:
        return any(handle.inode == inode for handle in self._handles.values())

    def _lost_its_name(self, path: str, file: File | None) -> None:
        """What was at ``path`` is there no more; who has it open reads on what ``file`` was."""
        inode = self._inodes.known(path)
        if inode is not None and self._is_open(inode):
            self._removed[inode] = file or File(path, b"", 0, self._host.started)
        self._inodes.removed(path)

    def _never_came(self, inode: int) -> None:
        """A new file whose only commit was refused is nowhere: the kernel must not keep its name.

        Else who tries again opens what is not there, and gets ENOENT for as long as the kernel remembers.
        """
        path = self._inodes.path(inode)
        if not path or self._is_open(inode) or path in self._reserved:
            return
        if self._tree.read(path) is None and not self._tree.is_directory(path):
            self._inodes.removed(path)
            self._notify_entry(path)

    async def _truncate(
        self, ctx: RequestContext, path: str, inode: int, size: int, handle: Handle | None
    ) -> None:
        check_size(self._tree, len(self._content(inode)), size)
        if handle is None:
            handle = self._changing.get(inode)
        if handle is not None:
            handle.truncate(size, self._content(inode))
            self._changing[inode] = handle
        else:
            data = self._content(inode)[:size]
            await self._transact(ctx, Write(path, data + bytes(size - len(data))))

    async def _touch(self, ctx: RequestContext, path: str, inode: int, mtime: float) -> None:
        handle = self._changing.get(inode)
        committing = handle is not None and handle.committing
        if handle is not None and handle.dirty and not committing:
            handle.mtime = mtime
        elif committing or self._tree.read(path) is not None:
            await self._transact(ctx, Touch(path, mtime))

    async def _touch_lock(self, ctx: RequestContext, path: str, mtime_ns: int) -> None:
        """Time 0 asks to break the lock, which only an expired one allows; any other renews it."""
        if mtime_ns:
            try:
                self._locks.renew(path)
            except Conflict as error:
                raise FUSEError(errno.EACCES) from error
        elif self._locks.expired(path):
            log.info("the lock '%s' was not renewed for %d s and is broken", path, LOCK_SECONDS)
            await self._transact(ctx, Delete(path))
            self._inodes.removed(path)
        else:
            raise FUSEError(errno.EACCES)

    async def _commit(self, handle: Handle) -> None:
        """Make the handle's buffer the file's content; a file that was removed meanwhile stays removed.

        To be called with ``handle.commits`` held.
        """
        path = self._inodes.path(handle.inode)
        if path is None or handle.buffer is None:
            removed = self._removed.get(handle.inode)
            if removed is not None and handle.buffer is not None:
                self._removed[handle.inode] = replace(removed, data=bytes(handle.buffer))
            handle.committed()
            return
        check_guest(self._tree, path, "")
        operations: list[Operation] = [Write(path, bytes(handle.buffer))]
        if handle.mtime is not None:
            operations.append(Touch(path, handle.mtime))
        written, pending, mtime = handle.written, handle.pending, handle.mtime
        handle.written, handle.committing = False, True
        try:
            await self._transact(handle.who, *operations)
        except BaseException:
            handle.written, handle.pending, handle.mtime = written, pending, mtime
            raise
        finally:
            handle.committing = False
        if not handle.written:
            handle.committed()
            if self._changing.get(handle.inode) is handle:
                del self._changing[handle.inode]

    async def _transact(self, by: RequestContext | str, *operations: Operation) -> None:
        who = by if isinstance(by, str) else _who(by)
        paths = [path for operation in operations for path in _paths(operation)]
        directories = [
            path.rpartition("/")[0]
            for operation in operations
            if not isinstance(operation, Write | Touch)
            for path in _paths(operation)
        ]
        if directories:
            self._invalidation.wait_no_more()  # the kernel holds them until all have this on disk
        try:
            with _counted(self._here, paths), _counted(self._held, directories):
                self._corosync_conf.check(operations)
                await self._host.transact(operations, (), who, _WAIT_SECONDS)
        except NoQuorum as error:
            raise FUSEError(errno.EROFS) from error
        except Refused as error:
            raise FUSEError(errno.EINVAL) from error
        except Conflict as error:
            log.info("refused: %s", error)
            raise FUSEError(errno_of(str(error))) from error
        except KvorumError as error:
            log.warning("%s", error)
            raise FUSEError(errno.EIO) from error


def _only_writes(flags: int) -> bool:
    """Whether nothing can be written by a map, at which the kernel does not always drop the attributes."""
    return flags & os.O_ACCMODE == os.O_WRONLY


@contextlib.contextmanager
def _counted(counter: Counter[str], paths: Sequence[str]) -> Iterator[None]:
    """Count the paths in ``counter`` while this is open; one that is counted no more is not in it."""
    for path in paths:
        counter[path] += 1
    try:
        yield
    finally:
        for path in paths:
            counter[path] -= 1
            if not counter[path]:
                del counter[path]


def _paths(operation: Operation) -> tuple[str, ...]:
    return (operation.source, operation.target) if isinstance(operation, Rename) else (operation.path,)


def _who(ctx: RequestContext) -> str:
    """Who asks, for the history: a process's name is known only while it lives, so it is looked up now."""
    name = ""
    with contextlib.suppress(OSError):  # it has ended
        descriptor = os.open(f"/proc/{ctx.pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            name = os.read(descriptor, _COMM_BYTES).decode(errors="replace").strip()
        finally:
            os.close(descriptor)
    return f"uid {ctx.uid} pid {ctx.pid} {name}".rstrip()
