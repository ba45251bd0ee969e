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
from kvorum.store.protocol.messages import Change, Origin

_ORIGINS = 64
_FAILED = 1024
BATCH_CHANGES = 64
BATCH_BYTES = 192 * 1024
FLYING_MAX = 2
"""Messages with requests of ours that may be on their way at once; what comes meanwhile shares the next."""

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
    version: int | None = None
    """The version that must be on disk everywhere before it is answered, once it is judged."""
    refusal: str = ""
    """Why it was refused: what it met counts only when that is on disk everywhere too."""


class Requests:
    """The requests of this daemon's life that are not answered yet."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._seq = 0
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._flying: deque[int] = deque()
        """The last number of each message on its way."""

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, request: Request) -> None:
        """Queue a request."""
        self._seq += 1
        self._pending[self._seq] = _Pending(request, self._seq)
        self._unsent.append(self._seq)

    def take(self, view: int) -> Iterator[tuple[Change, ...]]:
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
                self._flying.append(changes[-1].seq)
                yield tuple(changes)

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

    def _landed(self, seq: int) -> None:
        while self._flying and self._flying[0] <= seq:
            self._flying.popleft()

    def applied(self, seq: int, version: int) -> None:
        """The request was carried out as ``version``."""
        self._landed(seq)
        if seq in self._pending:
            self._pending[seq].version = version

    def refused(self, seq: int, text: str, version: int) -> None:
        """The request met a conflict with what is there at ``version``: nothing happened."""
        self._landed(seq)
        if seq in self._pending:
            self._pending[seq].version, self._pending[seq].refusal = version, text

    def on_disk(self, version: int) -> Iterator[Answer]:
        """Everything up to ``version`` is on disk at every member."""
        for pending in list(self._pending.values()):
            if pending.version is not None and pending.version <= version:
                del self._pending[pending.seq]
                if pending.refusal:
                    yield Answer(pending.request.id, Outcome.CONFLICT, text=pending.refusal)
                else:
                    yield Answer(pending.request.id, Outcome.DONE, version=pending.version)

    def judged_at(self, request_id: int) -> int | None:
        """The version that a request's answer waits for, once it came back and until it is answered."""
        for pending in self._pending.values():
            if pending.request.id == request_id:
                return pending.version
        return None

    def cancel(self, request_id: int) -> Iterator[Answer]:
        """The caller's deadline passed."""
        for pending in list(self._pending.values()):
            if pending.request.id == request_id:
                yield self._give_up(pending, "no quorum within the deadline; nothing was changed")

    def give_up(self, reason: str) -> Iterator[Answer]:
        """There is no quorum, and waiting is over."""
        for pending in list(self._pending.values()):
            yield self._give_up(pending, reason)

    def resume(self, origin: Origin | None, version: int) -> None:
        """A new view began at ``version`` with what the leading history holds of ours.

        What it does not hold is sent again; the rest is answered when ``version`` is on disk everywhere.
        """
        self._unsent.clear()
        self._flying.clear()
        for pending in self._pending.values():
            if origin is None or pending.seq > origin.seq:
                pending.version, pending.refusal = None, ""
                self._unsent.append(pending.seq)
            elif pending.seq in origin.failed:
                pending.version, pending.refusal = version, pending.refusal or REFUSED_TEXT
            else:
                pending.version, pending.refusal = version, ""

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
