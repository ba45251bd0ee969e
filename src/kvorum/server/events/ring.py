"""The last events, kept once for all listeners. Pure.

A listener is a cursor into the ring, not a queue: what it costs does not grow with how slow it is. One whose
place has been overwritten is cut off. What one viewer may see of a stretch is joined once for all of its
listeners.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_EVENTS = 8192
MOST_BYTES = 4 << 20
CHUNK_BYTES = 256 << 10
_KEPT_CHUNKS = 64


class Lagged(Exception):
    """The listener's place in the ring is gone; ``str()`` is the sentence it is told."""


@dataclass(frozen=True, slots=True)
class Right:
    """Who may see an event: those with the privilege on the path, and its own user."""

    path: str
    privilege: str
    user: str = ""


Allowed = Callable[[Right], bool]


@dataclass(frozen=True, slots=True)
class _Entry:
    frame: bytes
    right: Right


class Ring:
    """Events by number; ``epoch`` tells this ring from that of an earlier process."""

    def __init__(self, epoch: str, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._epoch = epoch
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._first = 0
        self._chunks: OrderedDict[tuple[str, int, int], tuple[bytes, int]] = OrderedDict()

    @property
    def end(self) -> int:
        """The number of the next event: the cursor of a listener that has everything."""
        return self._first + len(self._entries)

    def add(self, name: str, data: bytes, right: Right) -> None:
        """Append an event; ``data`` is JSON without line breaks. The oldest ones make room."""
        frame = b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id_at(self.end + 1), name.encode(), data)
        self._entries.append(_Entry(frame, right))
        self._bytes += len(frame)
        while len(self._entries) > self._most_events or self._bytes > self._most_bytes:
            self._bytes -= len(self._entries.popleft().frame)
            self._first += 1

    def id_at(self, cursor: int) -> bytes:
        """The id that a listener at ``cursor`` saw last."""
        return f"{self._epoch}-{cursor}".encode()

    def cursor(self, last_id: str) -> int:
        """Where a listener that saw ``last_id`` goes on; raises ``Lagged`` when that place is gone."""
        epoch, _, number = last_id.rpartition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 20):
            raise Lagged("this node has no memory of what was seen last: ask for everything anew")
        if not self._first <= int(number) <= self.end:
            raise Lagged("more has happened since than is kept: ask for everything anew")
        return int(number)

    def take(self, cursor: int, viewer: str, allowed: Allowed) -> tuple[bytes, int]:
        """What ``viewer`` may see from ``cursor`` on, at most about ``CHUNK_BYTES``, and the new cursor.

        Raises ``Lagged`` when events of the stretch have been overwritten already.
        """
        if cursor < self._first:
            raise Lagged("this listener is too slow and is cut off: ask for everything anew")
        key = (viewer, cursor, self.end)
        found = self._chunks.get(key)
        if found is None:
            found = self._chunks[key] = self._join(cursor, allowed)
            if len(self._chunks) > _KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        return found

    def _join(self, cursor: int, allowed: Allowed) -> tuple[bytes, int]:
        known: dict[Right, bool] = {}
        frames: list[bytes] = []
        size = 0
        while cursor < self.end and size < CHUNK_BYTES:
            entry = self._entries[cursor - self._first]
            cursor += 1
            may = known.get(entry.right)
            if may is None:
                may = known[entry.right] = allowed(entry.right)
            if may:
                frames.append(entry.frame)
                size += len(entry.frame)
        return b"".join(frames), cursor
