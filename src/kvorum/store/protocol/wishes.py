"""What a replica wants done, collected while it takes one event: messages, records, timers, its status."""

from __future__ import annotations

from collections.abc import Mapping

from kvorum.store.protocol import frames, messages, vigil
from kvorum.store.protocol.entries import Applied, Entries
from kvorum.store.protocol.events import (
    Effect,
    Multicast,
    Persist,
    Record,
    StartTimer,
    Status,
    StatusChanged,
    Whisper,
)
from kvorum.store.protocol.messages import Origin, View

WHISPER_BYTES = 32 * 1024
"""The largest frame that is whispered: a datagram has at most 64 KiB."""


class Wishes:
    """The effects of the present event, in order, and the numbers that name them."""

    def __init__(self, watched: vigil.Vigil) -> None:
        """``watched`` is told of every record handed to the disk."""
        self.effects: list[Effect] = []
        self.status = Status(False, True, "the store is starting", frozenset())
        self.serial = 0
        """The number of the last record."""
        self.timer = 0
        """The number of the only timer that counts."""
        self._vigil = watched

    def send(self, message: messages.Message) -> None:
        """Multicast a message."""
        self.effects.append(Multicast(frames.split(messages.encode(message))))

    def whisper(self, to: tuple[int, ...], message: messages.Message) -> bool:
        """Tell these members alone, which may be lost; what is too large for that is multicast.

        Returns whether it was whispered.
        """
        parts = frames.split(messages.encode(message))
        whispered = len(parts) == 1 and len(parts[0]) <= WHISPER_BYTES
        self.effects.append(Whisper(to, parts[0]) if whispered else Multicast(parts))
        return whispered

    def persist(
        self,
        entries: Entries,
        done: Applied,
        *,
        time: float,
        view: View | None = None,
        origins: Mapping[str, Origin] | None = None,
        origin: tuple[str, Origin] | None = None,
        who: str = "",
        node: str = "",
    ) -> None:
        """Write one step of the history, as ``Record`` has it, to disk."""
        self.serial += 1
        limit = vigil.SLOW_SECONDS if origins is None else vigil.TRANSFER_SECONDS
        self._vigil.handed(self.serial, limit)
        record = Record(
            serial=self.serial,
            version=entries.version,
            last_view=entries.last_view,
            view=view,
            changes=done.changes,
            before=done.before,
            origins=None if origins is None else dict(origins),
            origin=origin,
            who=who,
            node=node,
            time=time,
        )
        self.effects.append(Persist(record))

    def show(self, writable: bool, changing: bool, reason: str, members: frozenset[int]) -> None:
        """Be of this status, and tell when it is another than before."""
        status = Status(writable, changing, reason, members)
        if status != self.status:
            self.status = status
            self.effects.append(StatusChanged(status))

    def start_timer(self, seconds: float) -> None:
        """Ask for ``TimerExpired`` after so long; timers started before count no more."""
        self.timer += 1
        self.effects.append(StartTimer(self.timer, seconds))

    def stop_timer(self) -> None:
        """No timer counts."""
        self.timer += 1
