"""What stat(2) shows of each path: owner, mode, size, times."""

from __future__ import annotations

import errno
import grp
import stat
from collections.abc import Iterable, Iterator

from pyfuse3 import EntryAttributes, FileNameT, FUSEError, InodeT, ModeT

from kvorum.store.face import File
from kvorum.store.handles import Handle
from kvorum.store.host import Host
from kvorum.store.inodes import Inodes
from kvorum.store.names import is_private
from kvorum.store.virtual_files import LINKS, VirtualFiles, link_target

BLOCK = 4096
_CACHE_SECONDS = 3600.0
_KEPT_MAX = 8192
"""Entries that are kept ready: a listing asks for all of a directory's, each change in one for its own."""


class Attributes:
    """Makes entries for the kernel: root:www-data, ``priv`` for root alone, no write bits without quorum."""

    def __init__(
        self, host: Host, virtual: VirtualFiles, inodes: Inodes, changing: dict[int, Handle], quorate: bool
    ) -> None:
        """``changing``: inode to the handle that has something to commit."""
        self._host = host
        self._tree = host.tree
        self._virtual = virtual
        self._inodes = inodes
        self._changing = changing
        self._quorate = quorate
        self._kept: dict[str, tuple[File | None, int, EntryAttributes, FileNameT]] = {}
        """What was made for a file, or without one for a directory, and the inode it was made for."""
        try:
            self.gid = grp.getgrnam("www-data").gr_gid
        except KeyError:
            self.gid = 0

    @property
    def quorate(self) -> bool:
        """Whether write bits are shown."""
        return self._quorate

    @quorate.setter
    def quorate(self, quorate: bool) -> None:
        self._quorate = quorate
        self._kept.clear()

    def of(self, path: str) -> EntryAttributes:
        """The entry at ``path``; raises ``FUSEError`` (ENOENT) when nothing is there."""
        file, inode = self._tree.read(path), self._inodes.known(path)
        keepable = file is not None or self._tree.is_directory(path)
        if not keepable or inode is None or inode in self._changing:
            return self._made(path)
        kept = self._kept.get(path)
        if kept is not None and kept[0] is file and kept[1] == inode:
            return kept[2]
        entry = self._made(path)
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        name = FileNameT(path.rpartition("/")[2].encode())
        self._kept[path] = (file, inode, entry, name)
        return entry

    def listed(
        self, prefix: str, names: Iterable[str]
    ) -> Iterator[tuple[FileNameT, File | None, EntryAttributes | None]]:
        """What is at each of a directory's names: name, file, entry; no entry where nothing is now.

        It is ``of`` for thousands at once: calls for each of them were a third of what a listing took.
        """
        files, numbers = self._tree.files_by_path, self._inodes.by_path
        all_kept, changing = self._kept, self._changing
        for name in names:
            path = prefix + name
            file, number = files.get(path), numbers.get(path)
            kept = all_kept.get(path)
            if file is None or kept is None:
                pass  # a directory may be gone since
            elif kept[0] is file and kept[1] == number and number not in changing:
                yield kept[3], file, kept[2]
                continue
            try:
                yield FileNameT(name.encode()), file, self.of(path)
            except FUSEError:
                yield FileNameT(name.encode()), None, None

    def _made(self, path: str) -> EntryAttributes:
        write = 0o222 if self._quorate else 0
        private = is_private(path)
        entry = EntryAttributes()
        entry.st_uid, entry.st_gid, entry.st_blksize, entry.st_nlink = 0, self.gid, BLOCK, 1
        entry.entry_timeout = entry.attr_timeout = _CACHE_SECONDS
        when = self._host.started
        file: File | None = None
        inode = self._inodes.known(path)
        handle = self._changing.get(inode) if inode is not None else None
        if handle is not None:
            handle.shown = True
        if self._tree.is_directory(path):
            entry.st_mode = ModeT(stat.S_IFDIR | ((0o700 if private else 0o755) & (0o555 | write)))
            entry.st_nlink = 2
        elif (file := self._tree.read(path)) is not None or (handle is not None and handle.seen is not None):
            entry.st_mode = ModeT(stat.S_IFREG | ((0o600 if private else 0o640) & (0o440 | write)))
            entry.st_size = len(file.data) if file else 0
            when = file.mtime if file else when
            if handle is not None and handle.seen is not None:
                entry.st_size = len(handle.seen)
        elif path in LINKS:
            entry.st_mode = ModeT(stat.S_IFLNK | (0o777 & (0o555 | write)))
            entry.st_size = len(link_target(path, self._host.node))
        elif path in self._virtual.names:
            entry.st_mode = ModeT(stat.S_IFREG | (0o640 if self._virtual.writable(path) else 0o440))
            entry.st_size = len(self._virtual.content(path))
            entry.attr_timeout = 0
        else:
            raise FUSEError(errno.ENOENT)
        return self._finished(entry, self._inodes.number(path), when)

    def of_removed(self, inode: int, file: File) -> EntryAttributes:
        """A file without a name that somebody still has open; it held what ``file`` does."""
        entry = EntryAttributes()
        entry.st_uid, entry.st_gid, entry.st_blksize, entry.st_nlink = 0, self.gid, BLOCK, 0
        entry.entry_timeout = entry.attr_timeout = 0
        entry.st_mode = ModeT(stat.S_IFREG | (0o600 if is_private(file.path) else 0o640))
        handle = self._changing.get(inode)
        own = handle.seen if handle is not None else None
        entry.st_size = len(file.data if own is None else own)
        return self._finished(entry, inode, file.mtime)

    @staticmethod
    def _finished(entry: EntryAttributes, inode: int, when: float) -> EntryAttributes:
        entry.st_ino = InodeT(inode)
        entry.st_blocks = (entry.st_size + 511) // 512
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = int(when * 1e9)
        return entry
