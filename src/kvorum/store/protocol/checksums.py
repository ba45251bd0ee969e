"""A checksum of every entry and of the whole tree, kept up to date with each change.

The root is the sum of all entries' checksums, so its cost does not grow with the tree. It guards against
mistakes and lost writes, not against a forger: who can speak in the group can write in any case. SHA-256, cut
short, since processors have instructions for it. Members compare checksums: another one needs a new
``frames.WIRE_VERSION``.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from kvorum.store.face import Change, File
from kvorum.store.tree import Tree

_SIZE = 16
_MASK = (1 << 8 * _SIZE) - 1


def checksum(path: str, file: File | None) -> bytes:
    """The checksum of a file, or of a directory when ``file`` is ``None``."""
    head = f"{path}\0d" if file is None else f"{path}\0f{file.version}:{file.mtime!r}\0"
    entry = head.encode("utf-8", "surrogatepass")
    return sha256(entry if file is None else entry + file.data).digest()[:_SIZE]


class Checksums:
    """Path to checksum for one tree, and their sum."""

    def __init__(self, tree: Tree) -> None:
        self.entries: dict[str, bytes] = {}
        self._sum = 0
        for path in tree.directories():
            self._set(path, checksum(path, None))
        for file in tree.files():
            self._set(file.path, checksum(file.path, file))

    @property
    def root(self) -> bytes:
        """The whole tree's checksum, 16 bytes."""
        return self._sum.to_bytes(_SIZE, "big")

    def update(self, changes: Iterable[Change]) -> None:
        """Follow what was changed."""
        for change in changes:
            present = change.file is not None or change.directory
            self._set(change.path, checksum(change.path, change.file) if present else None)

    def _set(self, path: str, value: bytes | None) -> None:
        old = self.entries.pop(path, None)
        if old is not None:
            self._sum -= int.from_bytes(old, "big")
        if value is not None:
            self.entries[path] = value
            self._sum += int.from_bytes(value, "big")
        self._sum &= _MASK
