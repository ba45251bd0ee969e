"""Notices that this process stood still, or that its disk is late, from a clock that it is told.

Why a pause matters: who was frozen may still hold itself for a member of a majority that has moved on since,
and a QDevice's vote is counted after a time that others need to notice its loss. So a pause of over
``PAUSE_SECONDS`` is a moment without quorum. A late disk matters since all members wait for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PAUSE_SECONDS = 2.0
"""The longest a replica may stand still and remain a member."""
SLOW_SECONDS = 5.0
"""The longest a write may wait for this node's disk before the node leaves."""
TRANSFER_SECONDS = 30.0
"""The same for what a membership change brings, which may be the whole tree."""


@dataclass(slots=True)
class _Handed:
    serial: int
    since: float | None
    limit: float
    place: int | None = None


class Vigil:
    """What was handed to the disk and when, and when the clock was last told (monotonic seconds).

    Places are numbers of the view's order (``order``).
    """

    def __init__(self) -> None:
        self._now: float | None = None
        self._unsynced: deque[_Handed] = deque()

    @property
    def synced_all(self) -> bool:
        """Whether the disk holds all that it was handed."""
        return not self._unsynced

    def handed(self, serial: int, limit: float = SLOW_SECONDS) -> None:
        """A record of this number went to the disk."""
        self._unsynced.append(_Handed(serial, self._now, limit))

    def completes(self, place: int) -> bool:
        """All records up to ``place`` of the view's order were handed over; whether the disk has them."""
        if self._unsynced:
            self._unsynced[-1].place = place
        return not self._unsynced

    def synced(self, serial: int) -> int | None:
        """The disk has all up to ``serial``; returns the place it has with it, ``None`` if none is new."""
        place = None
        while self._unsynced and self._unsynced[0].serial <= serial:
            handed = self._unsynced.popleft()
            place = place if handed.place is None else handed.place
        return place

    def pause(self, now: float) -> float:
        """Take the time; returns how long it was not told, in seconds."""
        before, self._now = self._now, now
        return 0.0 if before is None else now - before

    def late(self) -> float:
        """How long the disk has kept a record beyond its limit waiting, in seconds; 0 when it keeps up."""
        if self._now is None:
            return 0.0
        for handed in self._unsynced:
            if handed.since is None:
                handed.since = self._now
            if self._now - handed.since > handed.limit:
                return self._now - handed.since
        return 0.0
