"""Local requests on their way: queued, sent, carried out, on disk everywhere; each is answered once.

Requests keep their order. Each carries a number of its origin (one life of this daemon), and the replicated
``Origin`` tells which numbers a history holds; so a request that a membership change overtook is sent again
exactly when the history that leads does not hold it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvorum.store.protocol.events import Answer, Outcome, Request
from kvorum.store.protocol.messages import Change, Changes, Origin

_ORIGINS = 64
_FAILED = 1024
BATCH_CHANGES = 64
BATCH_BYTES = 192 * 1024
FLYING_MAX = 2
"""Messages of ours that may lack on some member's disk at once; what comes meanwhile shares the next."""

LOST_TEXT = (
    "the change was sent off and the cluster changed meanwhile; "
    "it may have taken effect: look before trying again"
)

REFUSED_TEXT = "the change met another one; look and try again"


@dataclass(slots=True)
class _Pending:
    request: Request
    seq: int
    sent: bool = False
    place: int | None = None
    """The number in the view's order that must be on disk everywhere before it is answered, once judged."""
    version: int = 0
    """The version that it was carried out as."""
    refusal: str = ""
    """Why it was refused: what it met counts only when that is on disk everywhere too."""


@dataclass(slots=True)
class Flight:
    """A message with requests that is not on every member's disk yet."""

    message: Changes
    aloud: bool = False
    """Said in the group, so that it can't be lost within the view."""
    place: int | None = None
    """Its number in the view's order, once it came back."""


class Requests:
    """The requests of this daemon's life that are not answered yet."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._seq = 0
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._flying: deque[Flight] = deque()
        self._after = 0
        """The last number of the last message of this view."""

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, request: Request) -> None:
        """Queue a request."""
        self._seq += 1
        self._pending[self._seq] = _Pending(request, self._seq)
        self._unsent.append(self._seq)

    def take(self, view: int) -> Iterator[Flight]:
        """Messages to send now, each with as many requests as it holds; they count as sent from now on."""
        while self._unsent and len(self._flying) < FLYING_MAX:
            changes: list[Change] = []
            size = 0
            while self._unsent and len(changes) < BATCH_CHANGES and size < BATCH_BYTES:
                pending = self._pending.get(self._unsent.popleft())
                if pending is not None:
                    changes.append(self._message(pending, view))
                    size += pending.request.size
            if changes:
                flight = Flight(Changes(tuple(changes), self._after))
                self._after = changes[-1].seq
                self._flying.append(flight)
                yield flight

    def _message(self, pending: _Pending, view: int) -> Change:
        pending.sent = True
        request = pending.request
        return Change(
            view=view,
            origin=self.origin,
            seq=pending.seq,
            floor=next(iter(self._pending)),
            operations=request.operations,
            expect=request.expect,
            who=request.who,
            time=request.now,
        )

    def applied(self, seq: int, version: int, place: int) -> None:
        """The request was carried out as ``version``, at ``place`` of the view's order."""
        if seq in self._pending:
            self._pending[seq].version, self._pending[seq].place = version, place

    def refused(self, seq: int, text: str, place: int) -> None:
        """The request met a conflict with what is there at ``place``: nothing happened."""
        if seq in self._pending:
            self._pending[seq].place, self._pending[seq].refusal = place, text

    def landed(self, seq: int, place: int) -> None:
        """The message that ends with ``seq`` is judged, all of it."""
        for flight in self._flying:
            if flight.message.changes[-1].seq == seq:
                flight.place = place

    def on_disk(self, place: int) -> list[Answer]:
        """Everything up to ``place`` is on disk at every member."""
        while self._flying and self._flying[0].place is not None and self._flying[0].place <= place:
            self._flying.popleft()
        answers: list[Answer] = []
        while self._pending:
            pending = next(iter(self._pending.values()))
            if pending.place is None or pending.place > place:
                break
            del self._pending[pending.seq]
            number = pending.request.id
            if pending.refusal:
                answers.append(Answer(number, Outcome.CONFLICT, text=pending.refusal))
            else:
                answers.append(Answer(number, Outcome.DONE, version=pending.version))
        return answers

    @property
    def judged_at(self) -> int | None:
        """The last place that something of ours waits for, once it came back and until all have it."""
        places = [flight.place for flight in self._flying if flight.place is not None]
        places += [pending.place for pending in self._pending.values() if pending.place is not None]
        return max(places, default=None)

    @property
    def unjudged(self) -> list[Flight]:
        """What did not come back yet."""
        return [flight for flight in self._flying if flight.place is None]

    def cancel(self, request_id: int) -> list[Answer]:
        """The caller's deadline passed."""
        return [
            self._give_up(pending, "no quorum within the deadline; nothing was changed")
            for pending in list(self._pending.values())
            if pending.request.id == request_id
        ]

    def give_up(self, reason: str) -> list[Answer]:
        """There is no quorum, and waiting is over."""
        return [self._give_up(pending, reason) for pending in list(self._pending.values())]

    def resume(self, origin: Origin | None, version: int) -> None:
        """A new view began at ``version`` with what the leading history holds of ours.

        What it does not hold is sent again; the rest is answered when the beginning is on disk everywhere.
        """
        self._unsent.clear()
        self._flying.clear()
        self._after = 0
        for pending in self._pending.values():
            if origin is None or pending.seq > origin.seq:
                pending.place, pending.refusal = None, ""
                self._unsent.append(pending.seq)
            elif pending.seq in origin.failed:
                pending.place, pending.refusal = 0, pending.refusal or REFUSED_TEXT
            else:
                pending.place, pending.version, pending.refusal = 0, version, ""

    def _give_up(self, pending: _Pending, reason: str) -> Answer:
        del self._pending[pending.seq]
        if pending.sent:
            return Answer(pending.request.id, Outcome.UNKNOWN, text=LOST_TEXT)
        return Answer(pending.request.id, Outcome.NO_QUORUM, text=reason)


def note_applied(origins: Mapping[str, Origin], change: Change, version: int) -> dict[str, Origin]:
    """The origins after ``change`` was carried out as ``version``; the oldest are forgotten."""
    old = origins.get(change.origin)
    failed = tuple(seq for seq in old.failed if seq >= change.floor) if old else ()
    result = {**origins, change.origin: Origin(change.seq, version, failed)}
    if len(result) > _ORIGINS:
        del result[min(result, key=lambda name: (result[name].version, name))]
    return result


def note_refused(origins: Mapping[str, Origin], change: Change) -> dict[str, Origin]:
    """The origins after ``change`` met a conflict."""
    old = origins.get(change.origin, Origin(0, 0))
    failed = (*(seq for seq in old.failed if seq >= change.floor), change.seq)[-_FAILED:]
    return {**origins, change.origin: Origin(change.seq, old.version, failed)}
