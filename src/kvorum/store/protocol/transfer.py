"""What a member that lags fetches from the leader: the difference by checksums, in pieces.

The leader sends the next piece when it sees its last one delivered, so a transfer never floods the group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvorum.store.face import Change, File
from kvorum.store.protocol.messages import Piece, Tag
from kvorum.store.tree import Tree

PIECE_BYTES = 512 * 1024
PIECE_ENTRIES = 2000


def pieces(
    tree: Tree, ours: Mapping[str, bytes], theirs: Mapping[str, bytes], tag: Tag, to: int
) -> Iterator[Piece]:
    """The difference between our tree and what ``theirs`` says, in pieces; the last one is marked."""
    deleted = [path for path in theirs if path not in ours]
    wanted = [path for path, value in ours.items() if theirs.get(path) != value]
    for start in range(0, len(deleted), PIECE_ENTRIES):
        yield Piece(tag, to, last=False, deleted=tuple(deleted[start : start + PIECE_ENTRIES]))
    files: list[File] = []
    directories: list[str] = []
    size = 0
    for path in wanted:
        file = tree.read(path)
        if file is None:
            directories.append(path)
        else:
            files.append(file)
            size += len(file.data)
        if size >= PIECE_BYTES or len(files) + len(directories) >= PIECE_ENTRIES:
            yield Piece(tag, to, last=False, files=tuple(files), directories=tuple(directories))
            files, directories, size = [], [], 0
    yield Piece(tag, to, last=True, files=tuple(files), directories=tuple(directories))


class Fetched:
    """The pieces that have arrived; nothing of them counts until the last is here."""

    def __init__(self) -> None:
        self._files: list[File] = []
        self._directories: list[str] = []
        self._deleted: list[str] = []

    def add(self, piece: Piece) -> bool:
        """Take a piece; returns whether it was the last."""
        self._files += piece.files
        self._directories += piece.directories
        self._deleted += piece.deleted
        return piece.last

    def patch(self, tree: Tree, version: int) -> tuple[tuple[Change, ...], tuple[File | None, ...]]:
        """Put the difference into ``tree``; returns what changed and what was there before."""
        replaced = [path for path in (file.path for file in self._files) if tree.is_directory(path)] + [
            path for path in self._directories if tree.read(path) is not None
        ]
        paths = list(
            dict.fromkeys([*self._deleted, *replaced, *self._directories, *(f.path for f in self._files)])
        )
        before = tuple(tree.read(path) for path in paths)
        tree.patch([*self._deleted, *replaced], self._directories, self._files)
        return tuple(tree.change(version, path) for path in paths), before
