"""The configuration as one tree in memory: files, directories, and the rules every change must keep.

Pure: ``apply`` either carries out all operations and returns what changed, or raises and changes nothing.
Each replica applies the same operations in the same order and so has the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kvorum.core.errors import Conflict
from kvorum.store.face import Change, Delete, Expect, File, MakeDirectory, Operation, Rename, Touch, Write

MAX_FILE_BYTES = 1 << 20
MAX_TOTAL_BYTES = 128 << 20
MAX_ENTRIES = 256 * 1024

_GUEST = re.compile(r"nodes/([^/]+)/(qemu-server|lxc)/(\d+)\.conf")


def guest_id(path: str) -> str | None:
    """The VM id whose configuration lies at ``path``, or ``None``."""
    match = _GUEST.fullmatch(path)
    return match[3] if match else None


class Tree:
    """All files and directories, with an index of which node holds which VM id."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._directories: dict[str, set[str]] = {"": set()}
        self._guests: dict[str, str] = {}
        self._bytes = 0

    def read(self, path: str) -> File | None:
        """The file at ``path``, or ``None``."""
        return self._files.get(path)

    @property
    def files_by_path(self) -> Mapping[str, File]:
        """All files by their paths, as they are now and will be; to be read only."""
        return self._files

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory; the root ``""`` always is."""
        return path in self._directories

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; empty when there is no such directory."""
        return tuple(sorted(self._directories.get(path, ())))

    def files(self) -> Iterator[File]:
        """All files, in no particular order."""
        return iter(self._files.values())

    def directories(self) -> Iterator[str]:
        """All directories but the root, in no particular order."""
        return (path for path in self._directories if path)

    @property
    def total_bytes(self) -> int:
        """The sizes of all files together."""
        return self._bytes

    @property
    def entries(self) -> int:
        """How many files and directories there are, the root included."""
        return len(self._files) + len(self._directories)

    def guest_path(self, vmid: str) -> str | None:
        """Where the configuration of a guest lies, or ``None`` when the id is free."""
        return self._guests.get(vmid)

    def guests(self) -> dict[str, str]:
        """Every VM id and the path of its configuration."""
        return dict(self._guests)

    def apply(
        self, operations: Sequence[Operation], expect: Sequence[Expect], version: int, mtime: float
    ) -> tuple[tuple[Change, ...], tuple[File | None, ...]]:
        """Carry out all operations as one step; returns what changed, and what file was at each path before.

        Raises ``Conflict`` and changes nothing if one can't be.
        """
        for precondition in expect:
            self._check(precondition)
        undo: list[tuple[str, File | None, bool]] = []
        try:
            for operation in operations:
                self._one(operation, version, mtime, undo)
        except Conflict:
            for path, file, was_directory in reversed(undo):
                self._restore(path, file, was_directory)
            raise
        before: dict[str, File | None] = {}
        for path, file, _ in undo:
            before.setdefault(path, file)
        return tuple([self.change(version, path) for path in before]), tuple(before.values())

    def change(self, version: int, path: str) -> Change:
        """What is at ``path`` now, as a change made at ``version``."""
        return Change(version, path, self._files.get(path), path in self._directories)

    def patch(self, deleted: Iterable[str], directories: Iterable[str], files: Iterable[File]) -> None:
        """Take over entries as another replica (or the disk) has them, without judging them.

        ``deleted`` is what is gone, in any order; parents of what is added are made.
        """
        for path in sorted(deleted, key=len, reverse=True):
            if path in self._directories:
                self._remove_directory(path)
            elif path in self._files:
                self._set_file(path, None)
        for path in sorted(directories, key=len):
            if path not in self._directories:
                self._make_parents(path, [])
                self._add_directory(path)
        for file in files:
            self._make_parents(file.path, [])
            self._set_file(file.path, file)

    def _check(self, precondition: Expect) -> None:
        file = self._files.get(precondition.path)
        if precondition.version is None:
            if file is not None or precondition.path in self._directories:
                raise Conflict(f"'{precondition.path}' exists already")
        elif (
            file is None
            or file.version != precondition.version
            or (precondition.digest and precondition.digest != file.digest)
        ):
            raise Conflict(f"'{precondition.path}' was changed by another user meanwhile; try again")

    def _one(
        self, operation: Operation, version: int, mtime: float, undo: list[tuple[str, File | None, bool]]
    ) -> None:
        match operation:
            case Write(path, data):
                self._make_parents(path, undo)
                self._put(File(path, data, version, mtime), undo)
            case Delete(path):
                self._delete(path, undo)
            case MakeDirectory(path):
                if path in self._directories or path in self._files:
                    raise Conflict(f"'{path}' exists already")
                self._make_parents(path, undo)
                self._make_directory(path, undo)
            case Rename(source, target):
                self._rename(source, target, version, undo)
            case Touch(path, mtime):
                self._touch(path, mtime, version, undo)

    def _put(self, file: File, undo: list[tuple[str, File | None, bool]]) -> None:
        path, old = file.path, self._files.get(file.path)
        if not path or path in self._directories:
            raise Conflict(f"'{path}' is a directory")
        if len(file.data) > MAX_FILE_BYTES:
            raise Conflict(f"'{path}' has {len(file.data)} bytes; at most {MAX_FILE_BYTES} are allowed")
        if self._bytes - (len(old.data) if old else 0) + len(file.data) > MAX_TOTAL_BYTES:
            raise Conflict(f"no room for '{path}': the store holds at most {MAX_TOTAL_BYTES} bytes")
        if old is None:
            self._require_room(path)
            self._require_free_id(path)
        undo.append((path, old, False))
        self._set_file(path, file)

    def _delete(self, path: str, undo: list[tuple[str, File | None, bool]]) -> None:
        if path in self._directories:
            if self._directories[path] or not path:
                raise Conflict(f"directory '{path}' is not empty")
            undo.append((path, None, True))
            self._remove_directory(path)
            return
        file = self._files.get(path)
        if file is None:
            raise Conflict(f"'{path}' does not exist")
        undo.append((path, file, False))
        self._set_file(path, None)

    def _touch(
        self, path: str, mtime: float, version: int, undo: list[tuple[str, File | None, bool]]
    ) -> None:
        file = self._files.get(path)
        if file is not None:
            self._put(File(path, file.data, version, mtime), undo)
        elif path not in self._directories:
            raise Conflict(f"'{path}' does not exist")

    def _rename(
        self, source: str, target: str, version: int, undo: list[tuple[str, File | None, bool]]
    ) -> None:
        if source == target:
            return
        file = self._files.get(source)
        if file is not None:
            self._require_parent(target)
            self._delete(source, undo)
            self._put(File(target, file.data, version, file.mtime), undo)
        elif source in self._directories:
            if self._directories[source]:
                raise Conflict(f"directory '{source}' is not empty and can't be renamed")
            if target in self._directories or target in self._files or target.startswith(source + "/"):
                raise Conflict(f"'{target}' exists already")
            self._require_parent(target)
            self._delete(source, undo)
            self._make_directory(target, undo)
        else:
            raise Conflict(f"'{source}' does not exist")

    def _require_parent(self, path: str) -> None:
        if _parent(path) not in self._directories:
            raise Conflict(f"directory '{_parent(path)}' does not exist")

    def _make_parents(self, path: str, undo: list[tuple[str, File | None, bool]]) -> None:
        parent = _parent(path)
        if parent in self._directories:
            return
        if parent in self._files:
            raise Conflict(f"'{parent}' is a file, not a directory")
        self._make_parents(parent, undo)
        self._make_directory(parent, undo)

    def _require_room(self, path: str) -> None:
        if self.entries >= MAX_ENTRIES:
            raise Conflict(f"no room for '{path}': the store holds at most {MAX_ENTRIES} entries")

    def _require_free_id(self, path: str) -> None:
        vmid = guest_id(path)
        if vmid is not None and vmid in self._guests:
            raise Conflict(f"VM {vmid} already exists: '{self._guests[vmid]}'")

    def _make_directory(self, path: str, undo: list[tuple[str, File | None, bool]]) -> None:
        self._require_room(path)
        undo.append((path, None, False))
        self._add_directory(path)

    def _restore(self, path: str, file: File | None, was_directory: bool) -> None:
        if was_directory:
            self._add_directory(path)
        elif path in self._directories:
            self._remove_directory(path)
        else:
            self._set_file(path, file)

    def _add_directory(self, path: str) -> None:
        self._directories[path] = set()
        self._directories[_parent(path)].add(_name(path))

    def _remove_directory(self, path: str) -> None:
        del self._directories[path]
        self._directories[_parent(path)].discard(_name(path))

    def _set_file(self, path: str, file: File | None) -> None:
        old = self._files.pop(path, None)
        if old is not None and file is not None:  # the indexes know it
            self._files[path] = file
            self._bytes += len(file.data) - len(old.data)
            return
        vmid = guest_id(path)
        siblings = self._directories[_parent(path)]
        self._bytes -= len(old.data) if old else 0
        if file is None:
            siblings.discard(_name(path))
            if vmid is not None:
                self._guests.pop(vmid, None)
            return
        self._files[path] = file
        self._bytes += len(file.data)
        siblings.add(_name(path))
        if vmid is not None:
            self._guests[vmid] = path


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
