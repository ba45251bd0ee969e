"""The part of the file system that only looks, and tells the kernel when what it cached has changed."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pyfuse3
import pyfuse3.asyncio
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FUSEError,
    InodeT,
    ReaddirToken,
    RequestContext,
    StatvfsData,
)

from kvorum.core.errors import ParameterError
from kvorum.store.attributes import BLOCK, Attributes
from kvorum.store.corosync_conf import Judge
from kvorum.store.face import Change, File
from kvorum.store.handles import Handle
from kvorum.store.host import Heard, Host
from kvorum.store.inodes import ROOT, Inodes
from kvorum.store.invalidation import Invalidation
from kvorum.store.locks import Locks
from kvorum.store.membership import MembershipSource
from kvorum.store.names import check_path
from kvorum.store.protocol import Changed, StatusChanged
from kvorum.store.tree import MAX_ENTRIES, MAX_TOTAL_BYTES
from kvorum.store.virtual_files import LINKS, VirtualFiles, link_target

log = logging.getLogger(__name__)


class View(pyfuse3.Operations):
    """What only looks: names, attributes, links, directories; and what takes back what the kernel caches."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self,
        host: Host,
        membership: MembershipSource,
        stalled: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:
        """``stalled`` is called when the kernel takes no notifications: the daemon must end."""
        super().__init__()
        self._host = host
        self._tree = host.tree
        self._membership = membership
        self._virtual = VirtualFiles(host, membership)
        self._inodes = Inodes()
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, list[str]] = {}
        self._next_handle = 1
        self._changing: dict[int, Handle] = {}
        """Inode to the handle that last wrote to it and has not committed."""
        self._removed: dict[int, File] = {}
        """What an inode without a name held, until the kernel forgets it: whoever has it open reads it to its
        end, and so does who comes by a name that the kernel has not taken back yet."""
        self._shown: dict[int, File] = {}
        """What the kernel may have cached of an inode, by its last lookup or change."""
        self._here: Counter[str] = Counter()
        """Paths that are being changed through this file system."""
        self._held: Counter[str] = Counter()
        """Directories that the kernel holds for requests under way that wait for other nodes."""
        self._taken: dict[str, bool] = {}
        """Names that the kernel takes away itself by a request under way; whether it was not told of a change
        because of that."""
        self._invalidation = Invalidation(stalled)
        self._attributes = Attributes(
            host, self._virtual, self._inodes, self._changing, membership.current.quorate
        )
        self._reserved = (*LINKS, *self._virtual.names)
        self._locks = Locks(host)
        self._corosync_conf = Judge(host, membership)
        self._forget = host.listen(self._heard)
        host.show_before_synced(self._invalidation.when_told)

    def close(self) -> None:
        """Take no further notice of changes."""
        self._forget()
        self._host.show_before_synced(None)
        self._locks.close()
        self._invalidation.close()

    # Looking

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        path = self._child(parent_inode, name)
        attributes = self._attributes.of(path)
        self._looked_up(attributes.st_ino, path)
        return attributes

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, count in inode_list:
            if self._inodes.forget(inode, count):
                self._removed.pop(inode, None)
                self._shown.pop(inode, None)

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        removed = self._removed.get(inode)
        if removed is not None:
            return self._attributes.of_removed(inode, removed)
        return self._attributes.of(self._path(inode))

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
        self._listings[number] = names
        self._handles[number] = Handle(inode)
        return FileHandleT(number)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        directory = self._inodes.path(self._handles[fh].inode)
        prefix = f"{directory}/" if directory else ""
        reply, shown, numbers = pyfuse3.readdir_reply, self._shown, []
        index = start_id
        for name, file, entry in self._attributes.listed(prefix, self._listings[fh][start_id:]):
            index += 1
            if entry is None:
                continue  # gone since opendir
            if not reply(token, name, entry, index):
                break
            number = entry.st_ino
            numbers.append(number)
            if file is not None:
                shown[number] = file
        self._inodes.looked_up(*numbers)

    async def releasedir(self, fh: FileHandleT) -> None:
        del self._listings[fh], self._handles[fh]

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        data = StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK
        data.f_blocks = MAX_TOTAL_BYTES // BLOCK
        data.f_bfree = data.f_bavail = (MAX_TOTAL_BYTES - self._tree.total_bytes) // BLOCK
        data.f_files = MAX_ENTRIES
        data.f_ffree = data.f_favail = MAX_ENTRIES - self._tree.entries
        data.f_namemax = 255
        return data

    # Helpers

    def _path(self, inode: int) -> str:
        path = self._inodes.path(inode)
        if path is None:
            raise FUSEError(errno.ESTALE)
        return path

    def _looked_up(self, inode: int, path: str) -> None:
        """The kernel was told of the inode once more, and may keep what is there now."""
        self._inodes.looked_up(inode)
        file = self._tree.read(path)
        if file is not None:
            self._shown[inode] = file

    def _child(self, parent: int, name: bytes) -> str:
        directory = self._path(parent)
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise FUSEError(errno.EINVAL) from None
        path = f"{directory}/{text}" if directory else text
        try:
            check_path(path)
        except ParameterError:  # the kernel hands on single names, never "." or "..": only the length is left
            raise FUSEError(errno.ENAMETOOLONG) from None
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
        file = self._tree.read(path) if path is not None else self._removed.get(inode)
        return file.data if file is not None else b""

    # Taking back what the kernel caches

    def _heard(self, heard: Heard) -> None:
        match heard:
            case Changed(_, changes, _):
                for change in changes:
                    self._changed(change)
            case StatusChanged():
                quorate = self._membership.current.quorate
                if quorate != self._attributes.quorate:
                    self._attributes.quorate = quorate
                    for inode in self._inodes.numbers():
                        self._notify_inode(inode, attributes_only=True)

    def _changed(self, change: Change) -> None:
        inode = self._inodes.known(change.path)
        if inode is None:
            return
        if not self._replaced(inode, change) and (change.file is not None or change.directory):
            handle = self._changing.get(inode)
            if handle is None or change.file is None or not handle.known_to_kernel(change.file.data):
                self._notify_inode(inode, attributes_only=False)
        elif change.path in self._taken and self._here[change.path] == 1:
            self._taken[change.path] = True
        else:
            self._notify_entry(change.path)

    @contextlib.contextmanager
    def _taking(self, path: str) -> Iterator[None]:
        """The kernel takes the name away itself when this ends well; else it is told of what it was not.

        A notification would wait in the kernel for the directory, which the request holds.
        """
        self._taken.setdefault(path, False)
        try:
            yield
        except BaseException:
            if self._taken.get(path):
                self._notify_entry(path)
            raise
        finally:
            self._taken.pop(path, None)

    def _replaced(self, inode: int, change: Change) -> bool:
        """Whether a change came from elsewhere to a file that nobody here writes: it is then another inode.

        Taken back in place, a reader would get the rest of another content than it began with, and so would
        one that opens it before the kernel has heard of it.
        """
        old = self._shown.get(inode)
        here = self._here[change.path] > 0
        if (
            old is None
            or here
            or (change.file is not None and change.file.data == old.data)
            or any(handle.who for handle in self._handles.values() if handle.inode == inode)
        ):
            if change.file is not None:
                self._shown[inode] = change.file
            return False
        self._removed[inode] = old
        self._inodes.removed(change.path)
        return True

    def _notify_entry(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        above = self._inodes.known(parent)
        if above is not None:
            entry = functools.partial(pyfuse3.invalidate_entry, InodeT(above), FileNameT(name.encode()))
            self._invalidation.put(entry, awaited=parent not in self._held)  # else all wait for each other

    def _notify_inode(self, inode: int, *, attributes_only: bool) -> None:
        self._invalidation.put(functools.partial(pyfuse3.invalidate_inode, InodeT(inode), attributes_only))


assert pyfuse3.ROOT_INODE == ROOT
