"""A file system that remembers what was synced and nothing else, for ``kvorum lab up --lossy``. Pure.

What survives a power cut is modelled on ext4 with its defaults (data=ordered, delayed allocation; ext4(5)):

- A file's content and length are durable up to the last ``sync`` of that file. What was written or cut
  off later is forgotten, though the file may be there: it then has its older content, or none.
- Names (creating, renaming, linking and removing files and directories, modes, owners) go through one
  journal, in order. A ``sync`` of any file or directory makes all name changes before it durable, none
  after it.
- Nothing becomes durable by itself: no write-back timer runs, so a forgotten sync always shows.

It has room for ``CAPACITY_BYTES`` of file content; what goes beyond is ``ENOSPC``.

Not modelled: torn writes within one sync, reordering between unsynced writes (none of them survives), ext4's
flush at a rename over an existing file (auto_da_alloc), which a portable program must not rely on.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

ROOT = 1
CAPACITY_BYTES = 256 << 20
"""Room for a full store, its write-ahead log and its history; little enough to be filled by a test."""


@dataclass(frozen=True, slots=True)
class Inode:
    """What the journal holds of a file, directory or symbolic link; times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    entries: Mapping[str, int] = field(default_factory=dict)
    target: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it holds names."""
        return stat.S_ISDIR(self.mode)


@dataclass(slots=True)
class Content:
    """A file's bytes, and which of them differ from the disk's."""

    data: bytearray = field(default_factory=bytearray)
    dirty: list[tuple[int, int]] = field(default_factory=list)
    kept: int = 0
    """How much of the disk's content is still valid: the shortest length since the last sync."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a sync brings to the disk: a file's ranges, and all names if they changed."""

    ino: int
    kept: int
    length: int
    ranges: tuple[tuple[int, bytes], ...]
    names: Mapping[int, Inode] | None
    is_file: bool


class LossyDisk:
    """The tree as programs see it; ``sync`` tells what must be made durable. Errors are ``OSError``."""

    def __init__(
        self, names: Mapping[int, Inode], contents: Mapping[int, bytes], capacity: int = CAPACITY_BYTES
    ) -> None:
        self._inodes = dict(names) or {ROOT: Inode(stat.S_IFDIR | 0o755, 0, 0, 0)}
        self._contents = {ino: Content(bytearray(data), kept=len(data)) for ino, data in contents.items()}
        self._names_dirty = False
        self._next = max(self._inodes) + 1
        self._capacity = capacity
        self._used = sum(len(content.data) for content in self._contents.values())

    @property
    def capacity(self) -> int:
        """Bytes of content that it has room for."""
        return self._capacity

    @property
    def free(self) -> int:
        """Bytes of content for which there is room left."""
        return max(0, self._capacity - self._used)

    def inode(self, ino: int) -> Inode:
        """The inode; ``ENOENT`` if it is gone."""
        if ino not in self._inodes:
            raise OSError(errno.ENOENT, "no such inode")
        return self._inodes[ino]

    def size(self, ino: int) -> int:
        """Length in bytes of a file or symbolic link; 0 for a directory."""
        inode = self.inode(ino)
        return len(inode.target.encode()) or len(self._contents.get(ino, Content()).data)

    def links(self, ino: int) -> int:
        """How many names lead to it (for a directory: 2, as far as programs care)."""
        if self.inode(ino).is_directory:
            return 2
        return sum(list(i.entries.values()).count(ino) for i in self._inodes.values())

    def find(self, parent: int, name: str) -> int:
        """The inode's number under a name; ``ENOENT`` or ``ENOTDIR``."""
        folder = self.inode(parent)
        if not folder.is_directory:
            raise OSError(errno.ENOTDIR, "not a directory")
        if name not in folder.entries:
            raise OSError(errno.ENOENT, f"no '{name}'")
        return folder.entries[name]

    def add(self, parent: int, name: str, inode: Inode) -> int:
        """Make a new inode under a name; ``EEXIST``."""
        self._must_be_free(parent, name)
        ino = self._next
        self._next += 1
        self._inodes[ino] = inode
        if stat.S_ISREG(inode.mode):
            self._contents[ino] = Content()
        self._set_entry(parent, name, ino)
        return ino

    def link(self, ino: int, parent: int, name: str) -> None:
        """Give a file a second name; ``EEXIST``, ``EPERM`` for a directory."""
        if self.inode(ino).is_directory:
            raise OSError(errno.EPERM, "a directory has one name")
        self._must_be_free(parent, name)
        self._set_entry(parent, name, ino)

    def remove(self, parent: int, name: str, *, directory: bool) -> int:
        """Remove a name and return the inode, which stays until ``forget``; ``ENOTEMPTY`` and so on."""
        ino = self.find(parent, name)
        inode = self.inode(ino)
        if inode.is_directory != directory:
            raise OSError(errno.ENOTDIR if directory else errno.EISDIR, name)
        if inode.entries:
            raise OSError(errno.ENOTEMPTY, name)
        self._set_entry(parent, name, None)
        return ino

    def rename(self, parent: int, name: str, new_parent: int, new_name: str) -> int | None:
        """Rename, replacing what has the new name; returns the replaced inode."""
        ino = self.find(parent, name)
        replaced = self.inode(new_parent).entries.get(new_name)
        if replaced == ino:
            return None
        if replaced is not None:
            self.remove(new_parent, new_name, directory=self.inode(ino).is_directory)
        self._set_entry(parent, name, None)
        self._set_entry(new_parent, new_name, ino)
        return replaced

    def change(
        self,
        ino: int,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """Change an inode's attributes (``mode``: the permission bits)."""
        old = self.inode(ino)
        self._inodes[ino] = replace(
            old,
            mode=old.mode if mode is None else stat.S_IFMT(old.mode) | stat.S_IMODE(mode),
            uid=old.uid if uid is None else uid,
            gid=old.gid if gid is None else gid,
            mtime_ns=old.mtime_ns if mtime_ns is None else mtime_ns,
        )
        self._names_dirty = True

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        return bytes(self._content(ino).data[offset : offset + length])

    def write(self, ino: int, offset: int, data: bytes) -> int:
        """Write, with zeros in a gap; returns the count of bytes. ``ENOSPC`` when there is no room."""
        content = self._content(ino)
        old = len(content.data)
        self._take(offset + len(data) - old)
        if offset > old:
            content.data.extend(bytes(offset - old))
        content.data[offset : offset + len(data)] = data
        content.dirty.append((min(offset, old), offset + len(data)))
        return len(data)

    def truncate(self, ino: int, length: int) -> None:
        """Set a file's length, with zeros where it grows; ``ENOSPC`` when there is no room."""
        content = self._content(ino)
        old = len(content.data)
        self._take(length - old)
        if length < old:
            del content.data[length:]
            self._used -= old - length
            content.kept = min(content.kept, length)
            content.dirty = [(a, min(b, length)) for a, b in content.dirty if a < length]
        elif length > old:
            content.data.extend(bytes(length - old))
            content.dirty.append((old, length))

    def sync(self, ino: int) -> Change:
        """Take what a sync of ``ino`` must make durable; the caller must carry it out before it says done."""
        self.inode(ino)
        names = dict(self._inodes) if self._names_dirty else None
        self._names_dirty = False
        content = self._contents.get(ino)
        if content is None:
            return Change(ino, 0, 0, (), names, is_file=False)
        ranges = tuple((a, bytes(content.data[a:b])) for a, b in _merged(content.dirty))
        change = Change(ino, content.kept, len(content.data), ranges, names, is_file=True)
        content.dirty, content.kept = [], len(content.data)
        return change

    def forget(self, ino: int) -> bool:
        """Drop an inode that has no name left and is open nowhere; returns whether it was dropped."""
        if ino == ROOT or ino not in self._inodes or self._has_name(ino):
            return False
        del self._inodes[ino]
        content = self._contents.pop(ino, None)
        self._used -= len(content.data) if content is not None else 0
        self._names_dirty = True
        return True

    def _has_name(self, ino: int) -> bool:
        return any(ino in inode.entries.values() for inode in self._inodes.values())

    def _content(self, ino: int) -> Content:
        if self.inode(ino).is_directory or ino not in self._contents:
            raise OSError(errno.EISDIR, "not a file")
        return self._contents[ino]

    def _take(self, more: int) -> None:
        if more > self.free:
            raise OSError(errno.ENOSPC, "the disk is full")
        self._used += max(0, more)

    def _must_be_free(self, parent: int, name: str) -> None:
        if name in self.inode(parent).entries:
            raise OSError(errno.EEXIST, name)
        if not self.inode(parent).is_directory:
            raise OSError(errno.ENOTDIR, "not a directory")
        if len(os.fsencode(name)) > 255:
            raise OSError(errno.ENAMETOOLONG, name)

    def _set_entry(self, parent: int, name: str, ino: int | None) -> None:
        entries = dict(self.inode(parent).entries)
        if ino is None:
            del entries[name]
        else:
            entries[name] = ino
        self._inodes[parent] = replace(self.inode(parent), entries=entries)
        self._names_dirty = True


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
