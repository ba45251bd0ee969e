"""A member of the group in its rounds: from a change of members to a view that may write, or not.

A round follows each change of members or of votes that matters. Every member tells its state; when all
states are in, all know whose history leads and whether this partition may write (``views``). Who lags
fetches the difference; each writes history and view to disk and says Ready. When all are ready the view
begins. Since everything goes through the group's total order, all members that stay together take each step
at the same message.

    ALONE ──members──▶ GATHERING ──all states──▶ SYNCING ──all ready──▶ ACTIVE or READ_ONLY
                           ▲────────────── members, votes ─────────────────┘
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod

from msgspec.structs import replace

from kvorum.store.protocol import frames, messages, views, vigil
from kvorum.store.protocol.entries import Entries, Stored
from kvorum.store.protocol.events import Changed, Leave, Meet, MembersChanged, Status
from kvorum.store.protocol.leases import Leases
from kvorum.store.protocol.messages import Ballot, Tag, View
from kvorum.store.protocol.round import Round
from kvorum.store.protocol.wishes import Wishes
from kvorum.store.tree import Tree

REFUSE_AFTER = 2.0
"""Seconds that a waiting request is kept when it is clear that there is no quorum: short cuts heal."""
REJOIN_AFTER = 10.0
"""Seconds that a waiting request is kept while Corosync is away."""
STATES_AFTER = 10.0
"""Seconds that a round may take before this node says which member it waits for and turns read-only."""


class Phase(enum.Enum):
    """See the module's picture."""

    ALONE = "alone"
    GATHERING = "gathering"
    SYNCING = "syncing"
    READ_ONLY = "read-only"
    ACTIVE = "active"


class Member(ABC):
    """What all members agree on before a view begins; ``Replica`` is what they do in it."""

    def __init__(self, me: int, name: str, stored: Stored, ballot: Ballot, leases: Leases) -> None:
        self.me = me
        self.name = name
        self.view = stored.view
        self.leases = leases
        self._entries = Entries(stored)
        self._ballot = ballot
        self._frames = frames.Assembly()
        self._phase = Phase.ALONE
        self._round = Round(Tag((0, 0), (), 0), frozenset())
        self._ballots: dict[int, Ballot] = {}
        self._direct = False
        """In ``view`` without a moment without quorum since."""
        self._reach = b""
        """How the others reach this node past the group, in this ring."""
        self._now = 0.0
        """When the members changed last, in Unix seconds."""
        self._vigil = vigil.Vigil()
        self._wishes = Wishes(self._vigil)

    @property
    def tree(self) -> Tree:
        """The configuration; to be read only."""
        return self._entries.tree

    @property
    def version(self) -> int:
        """The version of the last entry."""
        return self._entries.version

    @property
    def root(self) -> bytes:
        """The whole tree's checksum."""
        return self._entries.root

    @property
    def status(self) -> Status:
        """Whether this replica may write, and why not."""
        return self._wishes.status

    @property
    def phase(self) -> Phase:
        """Where this replica is in the round."""
        return self._phase

    @abstractmethod
    def _begin_view(self) -> None:
        """All members have history and view on disk, and it may write."""

    @abstractmethod
    def _interrupted(self) -> None:
        """The view has ended, if there was one."""

    def _leave_group(self, reason: str, *, changing: bool, patience: float) -> None:
        """Be alone, for this reason; requests wait for ``patience`` seconds."""
        self._phase = Phase.ALONE
        self._interrupted()
        self._direct = False
        self._round = Round(self._round.tag, frozenset())
        self._ballots = {}
        self._frames.reset()
        self._set_status(False, changing, reason)
        self._wishes.start_timer(patience)

    def _members_changed(self, change: MembersChanged) -> None:
        ring, members = change.ring, change.members
        ids = frozenset(node for node, _ in members)
        # Corosync tells one change twice, by the group and by the ring, with no ballot in between: the last
        # known ones stay (each is replaced before it is judged).
        here = {node: ballot for node, ballot in self._ballots.items() if node in ids}
        if not views.count(here).quorate:
            self._direct = False
        if self._ballot.qdevice:
            self._ballot = replace(self._ballot, settled=False)
        self._now, self._reach = change.now, change.reach
        self._ballots = here
        self._frames.reset()
        self._start_round(Round(Tag(ring, tuple(sorted(members)), 0), ids))

    def _start_round(self, begun: Round) -> None:
        self._round = begun
        self._phase = Phase.GATHERING
        self._interrupted()
        self._set_status(False, True, "the cluster's members changed; they are comparing their states")
        self._wishes.start_timer(STATES_AFTER)
        self._wishes.send(
            messages.State(
                tag=begun.tag,
                name=self.name,
                view=self.view,
                last_view=self._entries.last_view,
                version=self.version,
                root=self.root,
                direct=self._direct,
                ballot=self._ballot,
                applied=self._entries.origins,
                time=self._now,
                leases=self.leases.leases,
                lease_count=self.leases.count,
                forgotten_for=self.leases.forgotten_for,
                reach=self._reach,
            )
        )

    def _on_state(self, sender: int, state: messages.State) -> None:
        if state.tag != self._round.tag:
            return
        if sender in self._round.states:
            # A process that leaves and rejoins within one ring makes a round's name twice, and the first
            # of these states was still of the earlier one. All see it here, before that round can end.
            self._start_round(self._round.again())
            return
        self._round.states[sender] = state
        self._ballots[sender] = state.ballot
        if self._round.complete:
            self._all_states()

    def _all_states(self) -> None:
        foreign = views.foreign(self._round.states, self._ballots)
        if foreign:
            # They leave by themselves, and that change of members begins a round without them.
            if self.me in foreign:
                self._wishes.effects.append(Leave(foreign[self.me]))
            return
        verdict, history = self._round.judge(self._ballots)
        self._phase = Phase.SYNCING
        self._wishes.effects.append(Meet(self._round.reach))
        if not verdict.count.quorate:
            self._direct = False
        if verdict.newest.number > self.view.number:
            # Whoever meets a member of a newer view knows of it from now on, also after a restart; it was
            # not in it, so it does not come directly from it.
            known = verdict.newest
            self.view = View(known.number, known.members, known.time, history)
            self._direct = False
        elif self.view.history != history:
            self.view = replace(self.view, history=history)
        if self.root == self._round.lead.root:
            self._in_step()
        else:
            self._round.begin_fetching()
            self._wishes.send(messages.Index(self._round.tag, self._entries.checksums.entries))

    def _on_index(self, sender: int, index: messages.Index) -> None:
        if index.tag == self._round.tag and self._phase is Phase.SYNCING and self.me == self._round.leader:
            self._wishes.send(self._round.first_piece(self._entries, sender, index))

    def _on_piece(self, sender: int, piece: messages.Piece) -> None:
        begun = self._round
        if piece.tag != begun.tag or self._phase is not Phase.SYNCING or sender != begun.leader:
            return
        if sender == self.me:
            following = begun.next_piece(piece.to)
            if following is not None:
                self._wishes.send(following)
        elif piece.to == self.me and begun.fetched is not None and begun.fetched.add(piece):
            self._in_step()

    def _in_step(self) -> None:
        """All of the leader's difference is here: write it and the view to disk, then say Ready."""
        begun = self._round
        taken = self._entries.take_over(begun.lead, begun.fetched)
        begun.fetched = None
        if begun.forming is not None:
            # Not before: who has not the leader's history yet must not hold itself for a member of it. It
            # comes directly from it only once it begins: until then another member may not have it on disk,
            # and go on alone from the view before, of which this one was no member.
            self.view, begun.forming = begun.forming, None
        who = f"fetched from {begun.lead.name}" if taken.changes else ""
        self._wishes.persist(
            self._entries, taken, view=self.view, origins=self._entries.origins, who=who, time=self._now
        )
        begun.ready_at = self._wishes.serial
        if taken.changes:
            self._wishes.effects.append(Changed(self.version, taken.changes, self.root))

    def _on_ready(self, sender: int, ready: messages.Ready) -> None:
        verdict = self._round.verdict
        if ready.tag != self._round.tag or self._phase is not Phase.SYNCING or verdict is None:
            return
        self._round.ready.add(sender)
        if not self._round.all_ready:
            return
        if verdict.writable:
            self._begin_view()
        else:
            self._phase = Phase.READ_ONLY
            self._set_status(False, False, verdict.reason)
            if not verdict.count.quorate or verdict.count.firm:
                self._wishes.start_timer(REFUSE_AFTER)
            else:
                self._wishes.stop_timer()  # the QDevice's vote will count: requests wait for it

    def _on_votes(self, sender: int, ballot: Ballot) -> None:
        self._ballots[sender] = ballot
        votes = views.count(self._ballots)
        if not votes.quorate:
            self._direct = False
        decided = self._round.verdict
        if decided is None:
            return
        adopt = ballot.adopt and not decided.writable
        if votes.firm != decided.count.firm or adopt:
            self._start_round(self._round.again())

    def _set_status(self, writable: bool, changing: bool, reason: str) -> None:
        self._wishes.show(writable, changing, reason, self._round.ids)
