"""One round of comparing states: who has spoken, who leads, whether a view may begin, who is ready.

Pure bookkeeping for ``Replica``, which decides what follows. A round is named by its tag; messages of another
tag are none of its business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kvorum.store.protocol import messages, transfer, views
from kvorum.store.protocol.entries import Entries
from kvorum.store.protocol.messages import Ballot, Tag, View


@dataclass(slots=True)
class Round:
    """A round of the members ``ids``; begun anew, it is another object."""

    tag: Tag
    ids: frozenset[int]
    states: dict[int, messages.State] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    leader: int = 0
    verdict: views.Verdict | None = None
    """Known once all states are in."""
    forming: View | None = None
    """The view that begins when all are ready, if this partition may write."""
    fetched: transfer.Fetched | None = None
    """What has arrived of the leader's difference, while we lag."""
    ready_at: int | None = None
    """The record that must be on disk before we are ready."""
    _sending: dict[int, Iterator[messages.Piece]] = field(default_factory=dict)

    @property
    def lead(self) -> messages.State:
        """The leader's state."""
        return self.states[self.leader]

    @property
    def complete(self) -> bool:
        """Whether all members have told their states."""
        return self.states.keys() == self.ids

    @property
    def all_ready(self) -> bool:
        """Whether all members have history and view on disk."""
        return self.ready == self.ids

    @property
    def reach(self) -> dict[int, bytes]:
        """How the members are reached past the group, as far as they are."""
        return {node: state.reach for node, state in self.states.items() if state.reach}

    def again(self) -> Round:
        """The round's next attempt, from the start."""
        return Round(Tag(self.tag.ring, self.tag.members, self.tag.attempt + 1), self.ids)

    def judge(self, ballots: Mapping[int, Ballot]) -> tuple[views.Verdict, str]:
        """Once complete: the verdict, the history's name; sets leader and the view to be."""
        verdict = views.judge(self.states, ballots)
        self.verdict = verdict
        self.leader = views.leader(self.states)
        history = views.history(self.states, verdict.newest)
        if verdict.writable:
            members = {node: state.name for node, state in self.states.items()}
            when = max(state.time for state in self.states.values())
            begun = f"{self.lead.name}-{when:.0f}-{self.tag.ring[0]}.{self.tag.ring[1]}"
            self.forming = View(verdict.newest.number + 1, members, when, history or begun)
        return verdict, history

    def begin_fetching(self) -> None:
        """Our tree differs from the leader's."""
        self.fetched = transfer.Fetched()

    def first_piece(self, entries: Entries, sender: int, index: messages.Index) -> messages.Piece:
        """The leader's first piece for a member that lags and has told what it has."""
        self._sending[sender] = transfer.pieces(
            entries.tree, entries.checksums.entries, index.entries, self.tag, sender
        )
        return next(self._sending[sender])

    def next_piece(self, to: int) -> messages.Piece | None:
        """The leader's next piece, once its last one was delivered; ``None`` when that was all."""
        return next(self._sending.get(to, iter(())), None)

    def waiting_for(self, *, states: bool) -> str:
        """The sentence for a round that takes too long; empty when nobody is missing."""
        there = self.states.keys() if states else self.ready
        missing = ", ".join(f"node id {node}" for node in sorted(self.ids - set(there)))
        if not missing:
            return ""
        return f"waiting for the store (pve-cluster) of {missing}, a member of the group that does not answer"
