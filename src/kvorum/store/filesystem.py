"""The store as a file system at /etc/pve: a file is replaced whole, and without quorum nothing changes.

Everything belongs to root:www-data; ``priv`` and ``nodes/*/priv`` are for root alone. The kernel caches
entries, attributes and pages; each applied change takes them back.
"""

from __future__ import annotations

import errno
import functools
import grp
import logging
import os
import signal
import stat
from collections.abc import Sequence

import pyfuse3
import pyfuse3.asyncio
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, ParameterError
from kvorum.store.face import Delete, File, MakeDirectory, Operation, Rename, Touch, Write
from kvorum.store.handles import Handle
from kvorum.store.host import Heard, Host
from kvorum.store.inodes import ROOT, Inodes
from kvorum.store.invalidation import Invalidation
from kvorum.store.membership import MembershipSource
from kvorum.store.names import check_path, is_private
from kvorum.store.protocol import Changed, StatusChanged
from kvorum.store.tree import MAX_ENTRIES, MAX_FILE_BYTES, MAX_TOTAL_BYTES, guest_id
from kvorum.store.virtual_files import LINKS, VirtualFiles, link_target

log = logging.getLogger(__name__)

_CACHE_SECONDS = 3600.0
_WAIT_SECONDS = 20.0
_BLOCK = 4096
_WRITING = os.O_WRONLY | os.O_RDWR


class Filesystem(pyfuse3.Operations):
    """Answers the kernel from one replica's tree."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, host: Host, membership: MembershipSource) -> None:
        super().__init__()
        self._host = host
        self._tree = host.tree
        self._membership = membership
        self._virtual = VirtualFiles(host, membership)
        self._inodes = Inodes()
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, list[tuple[str, int]]] = {}
        self._next_handle = 1
        self._changing: dict[int, Handle] = {}
        """Inode to the handle that last wrote to it and has not committed."""
        self._invalidation = Invalidation(lambda: os.kill(os.getpid(), signal.SIGTERM))
        self._quorate = membership.current.quorate
        try:
            self._gid = grp.getgrnam("www-data").gr_gid
        except KeyError:
            self._gid = 0
        self._forget = host.listen(self._heard)

    def close(self) -> None:
        """Take no further notice of changes."""
        self._forget()
        self._invalidation.close()

    # Looking

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        path = self._child(parent_inode, name)
        attributes = self._attributes(path)
        self._inodes.looked_up(attributes.st_ino)
        return attributes

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, count in inode_list:
            self._inodes.forget(inode, count)

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return self._attributes(self._path(inode))

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        path = self._path(inode)
        if path not in LINKS:
            raise FUSEError(errno.EINVAL)
        return FileNameT(link_target(path, self._host.node).encode())

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        path = self._path(inode)
        if not self._tree.is_directory(path):
            raise FUSEError(errno.ENOTDIR)
        names = list(self._tree.names(path))
        if not path:
            names += [name for name in (*LINKS, *self._virtual.names) if name not in names]
        number = self._new_handle()
        self._listings[number] = [(name, index + 1) for index, name in enumerate(names)]
        self._handles[number] = Handle(inode)
        return FileHandleT(number)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        inode = self._handles[fh].inode
        directory = self._inodes.path(inode)
        for name, following in self._listings[fh][start_id:]:
            path = f"{directory}/{name}" if directory else name
            try:
                attributes = self._attributes(path)
            except FUSEError:
                continue  # gone since opendir
            if not pyfuse3.readdir_reply(token, FileNameT(name.encode()), attributes, following):
                return
            self._inodes.looked_up(attributes.st_ino)

    async def releasedir(self, fh: FileHandleT) -> None:
        del self._listings[fh], self._handles[fh]

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        data = StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK
        data.f_blocks = MAX_TOTAL_BYTES // _BLOCK
        data.f_bfree = data.f_bavail = (MAX_TOTAL_BYTES - self._tree.total_bytes) // _BLOCK
        data.f_files = MAX_ENTRIES
        data.f_ffree = data.f_favail = MAX_ENTRIES - self._tree.entries
        data.f_namemax = 255
        return data

    # Files

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        path = self._path(inode)
        if path in self._virtual.names:
            if flags & _WRITING:
                raise FUSEError(errno.EACCES)
            number = self._new_handle()
            self._handles[number] = Handle(inode, self._virtual.content(path), fixed=True)
            return FileInfo(fh=FileHandleT(number), direct_io=True)
        handle = Handle(inode, writing=bool(flags & _WRITING))
        if handle.writing:
            self._need_quorum()
            if flags & os.O_TRUNC:
                handle.buffer, handle.pending = bytearray(), True
                self._changing[inode] = handle
        return self._opened(handle)

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        path = self._child(parent_inode, name)
        self._need_quorum()
        self._check_new(path)
        self._inodes.removed(path)
        inode = self._inodes.number(path)
        handle = Handle(inode, writing=True, buffer=bytearray(), pending=True)
        self._changing[inode] = handle
        info = self._opened(handle)
        self._inodes.looked_up(inode)
        return info, self._attributes(path)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        handle = self._handles[fh]
        content: bytes | bytearray
        if handle.fixed:
            content = handle.content
        elif handle.dirty and handle.buffer is not None:
            content = handle.buffer
        else:
            content = self._content(handle.inode)
        return bytes(content[off : off + size])

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        handle = self._handles[fh]
        if off + len(buf) > MAX_FILE_BYTES:
            raise FUSEError(errno.EFBIG)
        if self._tree.total_bytes + len(buf) > MAX_TOTAL_BYTES:
            raise FUSEError(errno.ENOSPC)
        handle.write(off, buf, self._content(handle.inode))
        self._changing[handle.inode] = handle
        return len(buf)

    async def flush(self, fh: FileHandleT) -> None:
        handle = self._handles[fh]
        if handle.written:
            await self._commit(handle)

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        handle = self._handles[fh]
        if handle.dirty:
            await self._commit(handle)

    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Nothing to do: what was answered is on disk."""

    async def release(self, fh: FileHandleT) -> None:
        handle = self._handles[fh]
        try:
            if handle.dirty:
                await self._commit(handle)
        except FUSEError as error:
            path = self._inodes.path(handle.inode)
            log.warning("'%s' was closed and could not be written: %s", path, os.strerror(error.errno))
        finally:
            del self._handles[fh]
            if self._changing.get(handle.inode) is handle:
                del self._changing[handle.inode]

    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        path = self._path(inode)
        self._need_quorum()
        now = self._attributes(path)
        if fields.update_mode and stat.S_IMODE(attr.st_mode) != stat.S_IMODE(now.st_mode):
            raise FUSEError(errno.EPERM)
        wrong_owner = fields.update_uid and attr.st_uid != 0
        if wrong_owner or (fields.update_gid and attr.st_gid != self._gid):
            raise FUSEError(errno.EPERM)
        handle = self._handles.get(fh) if fh is not None else None
        if fields.update_size:
            await self._truncate(path, inode, attr.st_size, handle)
        if fields.update_mtime:
            await self._touch(path, inode, attr.st_mtime_ns / 1e9)
        return self._attributes(path)

    # Names

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        path = self._child(parent_inode, name)
        self._need_quorum()
        self._check_new(path)
        await self._transact(ctx, MakeDirectory(path))
        self._inodes.removed(path)
        attributes = self._attributes(path)
        self._inodes.looked_up(attributes.st_ino)
        return attributes

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        path = self._child(parent_inode, name)
        self._need_quorum()
        if not self._tree.is_directory(path):
            raise FUSEError(errno.ENOTDIR if self._tree.read(path) else errno.ENOENT)
        if self._tree.names(path):
            raise FUSEError(errno.ENOTEMPTY)
        await self._transact(ctx, Delete(path))
        self._inodes.removed(path)

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        path = self._child(parent_inode, name)
        self._need_quorum()
        if path in LINKS or path in self._virtual.names:
            raise FUSEError(errno.EACCES)
        inode = self._inodes.known(path)
        handle = self._changing.pop(inode, None) if inode is not None else None
        if handle is not None:
            handle.committed()
        if self._tree.read(path) is not None:
            await self._transact(ctx, Delete(path))
        elif handle is None:
            raise FUSEError(errno.EISDIR if self._tree.is_directory(path) else errno.ENOENT)
        self._inodes.removed(path)

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
        for path in (source, target):
            if path in LINKS or path in self._virtual.names:
                raise FUSEError(errno.EACCES)
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(errno.EINVAL)
        inode = self._inodes.known(source)
        handle = self._changing.get(inode) if inode is not None else None
        if handle is not None and handle.dirty:
            await self._commit(handle)
        self._check_rename(source, target, bool(flags & pyfuse3.RENAME_NOREPLACE))
        await self._transact(ctx, Rename(source, target))
        self._inodes.renamed(source, target)

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

    def _path(self, inode: int) -> str:
        path = self._inodes.path(inode)
        if path is None:
            raise FUSEError(errno.ESTALE)
        return path

    def _child(self, parent: int, name: bytes) -> str:
        directory = self._path(parent)
        try:
            text = name.decode()
            path = f"{directory}/{text}" if directory else text
            check_path(path)
        except (UnicodeDecodeError, ParameterError):
            raise FUSEError(errno.EINVAL) from None
        return path

    def _new_handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    def _opened(self, handle: Handle) -> FileInfo:
        number = self._new_handle()
        self._handles[number] = handle
        return FileInfo(fh=FileHandleT(number), keep_cache=True)

    def _content(self, inode: int) -> bytes:
        path = self._inodes.path(inode)
        file = self._tree.read(path) if path is not None else None
        return file.data if file is not None else b""

    def _attributes(self, path: str) -> EntryAttributes:
        write = 0o222 if self._quorate else 0
        private = is_private(path)
        entry = EntryAttributes()
        entry.st_uid, entry.st_gid, entry.st_blksize, entry.st_nlink = 0, self._gid, _BLOCK, 1
        entry.entry_timeout = entry.attr_timeout = _CACHE_SECONDS
        when = self._host.started
        file: File | None = None
        inode = self._inodes.known(path)
        handle = self._changing.get(inode) if inode is not None else None
        if self._tree.is_directory(path):
            entry.st_mode = ModeT(stat.S_IFDIR | ((0o700 if private else 0o755) & (0o555 | write)))
            entry.st_nlink = 2
        elif (file := self._tree.read(path)) is not None or (handle is not None and handle.dirty):
            entry.st_mode = ModeT(stat.S_IFREG | ((0o600 if private else 0o640) & (0o440 | write)))
            entry.st_size = len(file.data) if file else 0
            when = file.mtime if file else when
            if handle is not None and handle.dirty and handle.buffer is not None:
                entry.st_size = len(handle.buffer)
        elif path in LINKS:
            entry.st_mode = ModeT(stat.S_IFLNK | (0o777 & (0o555 | write)))
            entry.st_size = len(link_target(path, self._host.node))
        elif path in self._virtual.names:
            entry.st_mode = ModeT(stat.S_IFREG | 0o440)
            entry.st_size = len(self._virtual.content(path))
            entry.attr_timeout = 0
        else:
            raise FUSEError(errno.ENOENT)
        entry.st_ino = InodeT(self._inodes.number(path))
        entry.st_blocks = (entry.st_size + 511) // 512
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = int(when * 1e9)
        return entry

    def _need_quorum(self) -> None:
        if not self._membership.current.quorate:
            raise FUSEError(errno.EROFS)

    def _check_new(self, path: str) -> None:
        if path in LINKS or path in self._virtual.names or self._tree.read(path) is not None:
            raise FUSEError(errno.EEXIST)
        if self._tree.is_directory(path):
            raise FUSEError(errno.EEXIST)
        if not self._tree.is_directory(path.rpartition("/")[0]):
            raise FUSEError(errno.ENOENT)
        if self._tree.entries >= MAX_ENTRIES:
            raise FUSEError(errno.ENOSPC)
        self._check_guest(path, "")

    def _check_guest(self, path: str, source: str) -> None:
        vmid = guest_id(path)
        if vmid is not None and self._tree.guest_path(vmid) not in (None, path, source):
            raise FUSEError(errno.EEXIST)

    def _check_rename(self, source: str, target: str, keep: bool) -> None:
        tree = self._tree
        if not tree.is_directory(target.rpartition("/")[0]):
            raise FUSEError(errno.ENOENT)
        if keep and (tree.read(target) is not None or tree.is_directory(target)):
            raise FUSEError(errno.EEXIST)
        if tree.is_directory(source):
            if tree.names(source):
                raise FUSEError(errno.ENOTEMPTY)
            if tree.is_directory(target) or tree.read(target) is not None:
                raise FUSEError(errno.EEXIST)
        elif tree.read(source) is None:
            raise FUSEError(errno.ENOENT)
        elif tree.is_directory(target):
            raise FUSEError(errno.EISDIR)
        self._check_guest(target, source)

    async def _truncate(self, path: str, inode: int, size: int, handle: Handle | None) -> None:
        if size > MAX_FILE_BYTES:
            raise FUSEError(errno.EFBIG)
        if handle is None:
            handle = self._changing.get(inode)
        if handle is not None:
            handle.truncate(size, self._content(inode))
            self._changing[inode] = handle
        else:
            data = self._content(inode)[:size]
            await self._transact(None, Write(path, data + bytes(size - len(data))))

    async def _touch(self, path: str, inode: int, mtime: float) -> None:
        handle = self._changing.get(inode)
        if handle is not None and handle.dirty:
            handle.mtime = mtime
        elif self._tree.read(path) is not None:
            await self._transact(None, Touch(path, mtime))

    async def _commit(self, handle: Handle) -> None:
        """Make the handle's buffer the file's content; a file that was removed meanwhile stays removed."""
        path = self._inodes.path(handle.inode)
        if path is None or handle.buffer is None:
            handle.committed()
            return
        self._check_guest(path, "")
        operations: list[Operation] = [Write(path, bytes(handle.buffer))]
        if handle.mtime is not None:
            operations.append(Touch(path, handle.mtime))
        written, pending, mtime = handle.written, handle.pending, handle.mtime
        handle.written = False
        try:
            await self._transact(None, *operations)
        except BaseException:
            handle.written, handle.pending, handle.mtime = written, pending, mtime
            raise
        if not handle.written:
            handle.committed()
            if self._changing.get(handle.inode) is handle:
                del self._changing[handle.inode]

    async def _transact(self, ctx: RequestContext | None, *operations: Operation) -> None:
        who = f"uid {ctx.uid} pid {ctx.pid}" if ctx is not None else "file system"
        try:
            await self._host.transact(operations, (), who, _WAIT_SECONDS)
        except NoQuorum as error:
            raise FUSEError(errno.EROFS) from error
        except Conflict as error:
            log.info("refused: %s", error)
            raise FUSEError(errno.ENOSPC if "no room" in str(error) else errno.EEXIST) from error
        except KvorumError as error:
            log.warning("%s", error)
            raise FUSEError(errno.EIO) from error

    # Taking back what the kernel caches

    def _heard(self, heard: Heard) -> None:
        match heard:
            case Changed(_, changes, _):
                for change in changes:
                    self._changed(change.path, change.file is not None or change.directory)
            case StatusChanged():
                quorate = self._membership.current.quorate
                if quorate != self._quorate:
                    self._quorate = quorate
                    for inode in self._inodes.numbers():
                        self._notify_inode(inode, attributes_only=True)

    def _changed(self, path: str, exists: bool) -> None:
        parent, _, name = path.rpartition("/")
        inode = self._inodes.known(path)
        if inode is not None and exists:
            self._notify_inode(inode, attributes_only=False)
        elif inode is not None:
            above = self._inodes.known(parent)
            if above is not None:
                entry = functools.partial(pyfuse3.invalidate_entry, InodeT(above), FileNameT(name.encode()))
                self._invalidation.put(entry)

    def _notify_inode(self, inode: int, *, attributes_only: bool) -> None:
        self._invalidation.put(functools.partial(pyfuse3.invalidate_inode, InodeT(inode), attributes_only))


assert pyfuse3.ROOT_INODE == ROOT
