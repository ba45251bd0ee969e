"""Local claims to leases on their way: each is answered when every member has heard that it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kvorum.store.protocol.events import Answer, Claim, Outcome
from kvorum.store.protocol.leases import Leases, Refusal
from kvorum.store.protocol.messages import Hold

LOST_TEXT = "the cluster changed meanwhile: whether the lease is held is not known, so act as if it is not"
MET_TEXT = "another claim to '{name}' came first"
BUSY_TEXT = (
    "this node asks for '{name}' already: one request at a time, or its answers would overtake each other"
)


@dataclass(slots=True)
class _Pending:
    claim: Claim
    heard: set[int] = field(default_factory=set)


class Claims:
    """The claims of this replica that are not answered yet."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._count = 0
        self._pending: dict[int, _Pending] = {}

    def make(self, claim: Claim, view: int) -> Hold | Answer:
        """The message that makes the claim in a writable view, or the answer why it can't be."""
        if any(one.claim.name == claim.name for one in self._pending.values()):
            return Answer(claim.id, Outcome.CONFLICT, text=BUSY_TEXT.format(name=claim.name))
        follows = self._leases.follows(claim.name, claim.owner)
        if isinstance(follows, Refusal):
            return Answer(claim.id, Outcome.CONFLICT, text=follows.text)
        self._count += 1
        self._pending[self._count] = _Pending(claim)
        return Hold(view, self._count, claim.name, claim.owner, claim.seconds, follows)

    def refused(self, number: int) -> Iterator[Answer]:
        """A claim of ours did not count."""
        pending = self._pending.pop(number, None)
        if pending is not None:
            text = MET_TEXT.format(name=pending.claim.name)
            yield Answer(pending.claim.id, Outcome.CONFLICT, text=text)

    def heard(self, number: int, member: int, members: frozenset[int]) -> Iterator[Answer]:
        """``member`` has heard that a claim of ours counts."""
        pending = self._pending.get(number)
        if pending is not None:
            pending.heard.add(member)
            if pending.heard >= members:
                del self._pending[number]
                yield Answer(pending.claim.id, Outcome.DONE)

    def give_up(self) -> Iterator[Answer]:
        """The view has ended."""
        pending, self._pending = self._pending, {}
        for one in pending.values():
            yield Answer(one.claim.id, Outcome.UNKNOWN, text=LOST_TEXT)
