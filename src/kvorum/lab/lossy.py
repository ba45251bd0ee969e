"""A node's /var/lib/pve-cluster in ``kvorum lab up --lossy``: it forgets what was not synced. A FUSE server.

It runs outside the node. Unsynced writes live in this process's memory alone, so killing it is the power cut.
The kernel's page cache stays on (no direct I/O), because SQLite's WAL maps its -shm file shared (mmap(2)).

``python -m kvorum.lab.lossy BACKING MOUNTPOINT REPORT_FD`` writes "1" to the descriptor once mounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pyfuse3
import trio

from kvorum.lab import lossy_backing
from kvorum.lab.lossy_disk import Inode, LossyDisk

Ino: TypeAlias = pyfuse3.InodeT
Name: TypeAlias = pyfuse3.FileNameT
Handle: TypeAlias = pyfuse3.FileHandleT
Attr: TypeAlias = pyfuse3.EntryAttributes
Ctx: TypeAlias = pyfuse3.RequestContext

_BLOCK_BYTES = 4096
_FREE_FILES = 1 << 20


@contextmanager
def _as_fuse() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise pyfuse3.FUSEError(error.errno or errno.EIO) from error


class LossyOperations(pyfuse3.Operations):
    """Hands the kernel's requests to a ``LossyDisk``, and what it syncs to the backing directory."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, backing: Path) -> None:
        super().__init__()
        self._backing = backing
        self._disk = LossyDisk(*lossy_backing.load(backing))
        self._open: Counter[int] = Counter()
        self._known: Counter[int] = Counter()

    def _attributes(self, ino: int) -> pyfuse3.EntryAttributes:
        inode = self._disk.inode(ino)
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(ino)
        entry.st_mode = pyfuse3.ModeT(inode.mode)
        entry.st_nlink = self._disk.links(ino)
        entry.st_uid, entry.st_gid = inode.uid, inode.gid
        entry.st_size = self._disk.size(ino)
        entry.st_blksize = _BLOCK_BYTES
        entry.st_blocks = (entry.st_size + 511) // 512
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = inode.mtime_ns
        return entry

    def _told(self, ino: int) -> pyfuse3.EntryAttributes:
        self._known[ino] += 1
        return self._attributes(ino)

    def _maybe_forget(self, ino: int) -> None:
        if not self._open[ino] and not self._known[ino]:
            self._disk.forget(ino)

    async def lookup(self, parent_inode: Ino, name: Name, ctx: Ctx) -> Attr:
        with _as_fuse():
            return self._told(self._disk.find(parent_inode, os.fsdecode(name)))

    async def forget(self, inode_list: Sequence[tuple[Ino, int]]) -> None:
        for ino, count in inode_list:
            self._known[ino] -= count
            self._maybe_forget(ino)

    async def getattr(self, inode: Ino, ctx: Ctx) -> Attr:
        with _as_fuse():
            return self._attributes(inode)

    async def setattr(
        self, inode: Ino, attr: Attr, fields: pyfuse3.SetattrFields, fh: Handle | None, ctx: Ctx
    ) -> Attr:
        with _as_fuse():
            if fields.update_size:
                self._disk.truncate(inode, attr.st_size)
            self._disk.change(
                inode,
                mode=attr.st_mode if fields.update_mode else None,
                uid=attr.st_uid if fields.update_uid else None,
                gid=attr.st_gid if fields.update_gid else None,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else time.time_ns(),
            )
            return self._attributes(inode)

    def _add(self, parent: int, name: bytes, mode: int, ctx: Ctx, target: str = "") -> int:
        inode = Inode(mode, ctx.uid, ctx.gid, time.time_ns(), target=target)
        return self._disk.add(parent, os.fsdecode(name), inode)

    async def mkdir(self, parent_inode: Ino, name: Name, mode: pyfuse3.ModeT, ctx: Ctx) -> Attr:
        with _as_fuse():
            permissions = stat.S_IMODE(mode) & ~ctx.umask
            return self._told(self._add(parent_inode, name, stat.S_IFDIR | permissions, ctx))

    async def symlink(self, parent_inode: Ino, name: Name, target: Name, ctx: Ctx) -> Attr:
        with _as_fuse():
            return self._told(self._add(parent_inode, name, stat.S_IFLNK | 0o777, ctx, os.fsdecode(target)))

    async def readlink(self, inode: Ino, ctx: Ctx) -> Name:
        with _as_fuse():
            return pyfuse3.FileNameT(os.fsencode(self._disk.inode(inode).target))

    async def link(self, inode: Ino, new_parent_inode: Ino, new_name: Name, ctx: Ctx) -> Attr:
        with _as_fuse():
            self._disk.link(inode, new_parent_inode, os.fsdecode(new_name))
            return self._told(inode)

    async def create(
        self, parent_inode: Ino, name: Name, mode: pyfuse3.ModeT, flags: pyfuse3.FlagT, ctx: Ctx
    ) -> tuple[pyfuse3.FileInfo, Attr]:
        with _as_fuse():
            permissions = stat.S_IMODE(mode) & ~ctx.umask
            ino = self._add(parent_inode, name, stat.S_IFREG | permissions, ctx)
            self._open[ino] += 1
            return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(ino)), self._told(ino)

    async def open(self, inode: Ino, flags: pyfuse3.FlagT, ctx: Ctx) -> pyfuse3.FileInfo:
        with _as_fuse():
            if flags & os.O_TRUNC:
                self._disk.truncate(inode, 0)
            self._disk.inode(inode)
            self._open[inode] += 1
            return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def release(self, fh: Handle) -> None:
        self._open[fh] -= 1
        self._maybe_forget(fh)

    async def read(self, fh: Handle, off: int, size: int) -> bytes:
        with _as_fuse():
            return self._disk.read(fh, off, size)

    async def write(self, fh: Handle, off: int, buf: bytes) -> int:
        with _as_fuse():
            self._disk.change(fh, mtime_ns=time.time_ns())
            return self._disk.write(fh, off, bytes(buf))

    async def fsync(self, fh: Handle, datasync: bool) -> None:
        self._sync(fh)

    async def fsyncdir(self, fh: Handle, datasync: bool) -> None:
        self._sync(fh)

    def _sync(self, ino: int) -> None:
        with _as_fuse():
            lossy_backing.carry_out(self._backing, self._disk.sync(ino))

    async def unlink(self, parent_inode: Ino, name: Name, ctx: Ctx) -> None:
        with _as_fuse():
            self._maybe_forget(self._disk.remove(parent_inode, os.fsdecode(name), directory=False))

    async def rmdir(self, parent_inode: Ino, name: Name, ctx: Ctx) -> None:
        with _as_fuse():
            self._maybe_forget(self._disk.remove(parent_inode, os.fsdecode(name), directory=True))

    async def rename(
        self,
        parent_inode_old: Ino,
        name_old: Name,
        parent_inode_new: Ino,
        name_new: Name,
        flags: pyfuse3.FlagT,
        ctx: Ctx,
    ) -> None:
        if flags:
            raise pyfuse3.FUSEError(errno.EINVAL)
        with _as_fuse():
            replaced = self._disk.rename(
                parent_inode_old, os.fsdecode(name_old), parent_inode_new, os.fsdecode(name_new)
            )
            if replaced is not None:
                self._maybe_forget(replaced)

    async def opendir(self, inode: Ino, ctx: Ctx) -> Handle:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: Handle, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        with _as_fuse():
            entries = sorted(self._disk.inode(fh).entries.items(), key=lambda item: item[1])
        for name, ino in entries:
            if ino > start_id:
                told = pyfuse3.FileNameT(os.fsencode(name))
                if not pyfuse3.readdir_reply(token, told, self._attributes(ino), ino):
                    return
                self._known[ino] += 1

    async def statfs(self, ctx: Ctx) -> pyfuse3.StatvfsData:
        told = pyfuse3.StatvfsData()
        told.f_bsize = told.f_frsize = _BLOCK_BYTES
        told.f_blocks = self._disk.capacity // _BLOCK_BYTES
        told.f_bfree = told.f_bavail = self._disk.free // _BLOCK_BYTES
        told.f_files = told.f_ffree = told.f_favail = _FREE_FILES
        told.f_namemax = 255
        return told


async def _serve(report: int) -> None:
    os.write(report, b"1")
    os.close(report)
    await pyfuse3.main()


def main() -> None:
    """Mount and serve until unmounted or killed."""
    backing, mountpoint, report = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    options = {*pyfuse3.default_options, "fsname=kvorum-lossy", "allow_other", "default_permissions"}
    pyfuse3.init(LossyOperations(backing), mountpoint, options)
    try:
        trio.run(_serve, report)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
