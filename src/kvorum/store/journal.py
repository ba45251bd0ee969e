"""The store's journal: records that are on disk before SQLite has them, in one file used in two halves.

Promise: what was appended and then synced is read back, whole and in order, until ``applied`` said that the
database has it. Each record begins at a block of its own, so that appending never rewrites what was promised.
The file has its full size from the start: a sync writes data alone, and a full disk can't stop it.

A record's head: magic, life, sequence, the sequence that was synced when it was written, length, CRC-32 of
all of it. Each start is another life, which the database knows: what an earlier one left behind is not read
again. Sequences have no gaps. One that is missing, though a later record says it was synced, is damage; a
torn end that nobody was promised is dropped. The format grows by another magic only.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"KvJ1"
_HEAD = struct.Struct("<4sIQQI")
_CRC = struct.Struct("<I")
_OVERHEAD = _HEAD.size + _CRC.size
BLOCK_BYTES = 4096
HALF_BYTES = 2 << 20


class DamagedJournal(Exception):
    """The journal lacks what it had promised; ``str()`` is the sentence."""


class Journal:
    """The appending side. Not thread-safe; ``append`` writes to the page cache only, so it does not block."""

    def __init__(self, path: Path, life: int) -> None:
        """Open what ``allocate`` has made, empty for this ``life``.

        Raises ``FileNotFoundError`` when it is not there at its full size, and ``OSError``.
        """
        self.life = life
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if os.fstat(self.descriptor).st_size != 2 * HALF_BYTES:
            self.close()
            raise FileNotFoundError(errno.ENOENT, "not allocated yet", str(path))
        self._ends = [0, 0]
        """Where each half is filled to, in bytes."""
        self._last = [0, 0]
        """The last sequence in each half."""
        self._active = 0

    def append(self, sequence: int, synced: int, data: bytes) -> bool:
        """Write a record where the next sync takes it; ``False`` when there is no room for it now.

        ``synced`` is the sequence up to which all was synced before. Raises ``OSError``.
        """
        head = _HEAD.pack(_MAGIC, self.life, sequence, synced, len(data))
        record = b"".join((head, _CRC.pack(zlib.crc32(data, zlib.crc32(head))), data))
        taken = -(-len(record) // BLOCK_BYTES) * BLOCK_BYTES
        if self._ends[self._active] + taken > HALF_BYTES:
            if self._ends[1 - self._active] or taken > HALF_BYTES:
                return False
            self._active = 1 - self._active
        half = self._active
        place = half * HALF_BYTES + self._ends[half]
        if os.pwrite(self.descriptor, record, place) != len(record):
            raise OSError(errno.EIO, "a write to the journal was cut short")
        self._ends[half] += taken
        self._last[half] = sequence
        return True

    @property
    def crowded(self) -> bool:
        """Whether both halves hold records that the database has not said to have."""
        return all(self._ends)

    def applied(self, sequence: int) -> None:
        """The database has everything up to ``sequence`` on disk: that room is free again."""
        for half in (0, 1):
            if self._last[half] <= sequence:
                self._ends[half] = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def allocate(path: Path) -> None:
    """Give the file its full size, with zeros: a write into a hole would need room and metadata.

    Blocks for the disk. Raises ``OSError`` when there is no room, and then takes none.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        while size < 2 * HALF_BYTES:
            size += os.pwrite(descriptor, bytes(2 * HALF_BYTES - size), size)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, 0)
        raise
    finally:
        os.close(descriptor)


def read(path: Path, life: int, applied: int) -> list[tuple[int, bytes]]:
    """The records of ``life`` after ``applied``, in order; empty when there is no journal.

    Raises ``DamagedJournal`` when one is missing that was synced, and ``OSError``.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    found = {sequence: (synced, data) for sequence, synced, data in _records(content, life)}
    promised = max((synced for synced, _ in found.values()), default=0)
    records: list[tuple[int, bytes]] = []
    sequence = applied + 1
    while sequence in found:
        records.append((sequence, found[sequence][1]))
        sequence += 1
    if sequence <= promised:
        raise DamagedJournal(f"record {sequence} of '{path}' is missing or damaged")
    return records


def _records(content: bytes, life: int) -> Iterator[tuple[int, int, bytes]]:
    """Every whole record of a life, wherever it lies; old ones are told by their sequence."""
    for start in range(0, len(content), HALF_BYTES):
        place, end = start, min(start + HALF_BYTES, len(content))
        while place + _OVERHEAD <= end:
            head = content[place : place + _HEAD.size]
            magic, lived, sequence, synced, length = _HEAD.unpack(head)
            (crc,) = _CRC.unpack_from(content, place + _HEAD.size)
            data = content[place + _OVERHEAD : place + _OVERHEAD + length]
            whole = magic == _MAGIC and place + _OVERHEAD + length <= end
            if whole and zlib.crc32(data, zlib.crc32(head)) == crc:
                if lived == life:
                    yield sequence, synced, data
                place += -(-(_OVERHEAD + length) // BLOCK_BYTES) * BLOCK_BYTES
            else:
                place += BLOCK_BYTES
