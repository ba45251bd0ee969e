"""One replica of the store, as a pure state machine.

Promise: a request is answered DONE only when every member of the present view has it on disk, and what was
answered so is in every later view's history.

A round follows each change of members or of votes that matters. Every member tells its state; when all
states are in, all know whose history leads and whether this partition may write (``views``). Who lags
fetches the difference; each writes history and view to disk and says Ready. When all are ready the view
begins with an empty entry; requests queued or overtaken are then sent (again). Since everything goes through
the group's total order, all members that stay together take each step at the same message.

    ALONE ──members──▶ GATHERING ──all states──▶ SYNCING ──all ready──▶ ACTIVE or READ_ONLY
                           ▲────────────── members, votes ─────────────────┘
"""

from __future__ import annotations

import enum

from msgspec.structs import replace

from kvorum.store.protocol import frames, messages, requests, views, vigil
from kvorum.store.protocol.entries import Applied, Entries, Refused, Stored
from kvorum.store.protocol.events import (
    Answer,
    BallotChanged,
    Cancel,
    Changed,
    Clock,
    Deliver,
    DiskRefused,
    DiskSynced,
    Effect,
    Event,
    Leave,
    Left,
    MembersChanged,
    Note,
    Outcome,
    Published,
    Rejoin,
    Request,
    Status,
    Tell,
    TimerExpired,
    Withdraw,
)
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
QUEUE_MAX = 4096


class Phase(enum.Enum):
    """See the module's picture."""

    ALONE = "alone"
    GATHERING = "gathering"
    SYNCING = "syncing"
    READ_ONLY = "read-only"
    ACTIVE = "active"


class Replica:
    """One member's copy. Feed events to ``step`` one at a time and carry out the effects in order."""

    def __init__(self, me: int, name: str, incarnation: str, stored: Stored, ballot: Ballot) -> None:
        """``incarnation`` is unique to this life of the daemon."""
        self.me = me
        self.name = name
        self.view = stored.view
        self._entries = Entries(stored)
        self._ballot = ballot
        self._requests = requests.Requests(incarnation)
        self._frames = frames.Assembly()
        self._phase = Phase.ALONE
        self._round = Round(Tag((0, 0), (), 0), frozenset())
        self._ballots: dict[int, Ballot] = {}
        self._direct = False
        """In ``view`` without a moment without quorum since."""
        self._refusing = False
        self._now = 0.0
        self._vigil = vigil.Vigil()
        self._wishes = Wishes(self._vigil)
        self._withdrawn = False
        self._on_disk: dict[int, int] = {}
        """Member to the version that it has on disk, as far as this node needs to know."""
        self._owed = 0
        """The version whose sync on this node's disk another member waits for; 0 when none does."""

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

    def step(self, event: Event) -> list[Effect]:
        """Take one event; returns what is to be done, in order."""
        self._wishes.effects = []
        match event:
            case Deliver(sender, frame):
                self._deliver(sender, frame)
            case DiskSynced(serial):
                self._disk_synced(serial)
            case Request():
                self._request(event)
            case Cancel(request_id):
                self._wishes.effects += self._requests.cancel(request_id)
            case MembersChanged(ring, members, now):
                self._members_changed(ring, members, now)
            case BallotChanged(ballot):
                self._ballot_changed(ballot)
            case TimerExpired(number):
                if number == self._wishes.timer:
                    self._timer_expired()
            case Left(reason):
                if not self._withdrawn:
                    self._left(reason)
            case Clock(now):
                self._clock(now)
            case DiskRefused(reason):
                self._withdraw(f"{reason}; this node is read-only until its disk takes writes again")
            case Tell(key, value, ttl):
                self._tell(key, value, ttl)
        return self._wishes.effects

    # Local events

    def _request(self, request: Request) -> None:
        if self._refusing:
            self._wishes.effects.append(Answer(request.id, Outcome.NO_QUORUM, text=self.status.reason))
        elif len(self._requests) >= QUEUE_MAX:
            text = f"{QUEUE_MAX} changes are waiting already; nothing was changed, try again later"
            self._wishes.effects.append(Answer(request.id, Outcome.NO_QUORUM, text=text))
        else:
            self._requests.add(request)
            self._send_requests()

    def _send_requests(self) -> None:
        """Send what waits, many in one message while the last are on their way."""
        if self._phase is Phase.ACTIVE:
            for changes in self._requests.take(self.view.number):
                self._wishes.send(changes[0] if len(changes) == 1 else messages.Changes(changes))

    def _tell(self, key: str, value: bytes, ttl: float) -> None:
        if self._phase is Phase.ALONE:
            self._wishes.effects.append(Published(self.name, key, value, ttl))
        else:
            self._wishes.send(messages.Publish(self.name, key, value, ttl))

    def _ballot_changed(self, ballot: Ballot) -> None:
        if ballot != self._ballot:
            self._ballot = ballot
            if self._phase is not Phase.ALONE:
                self._wishes.send(messages.Votes(ballot))

    def _left(self, reason: str, *, changing: bool = False, patience: float = REJOIN_AFTER) -> None:
        self._phase = Phase.ALONE
        self._direct = False
        self._round = Round(self._round.tag, frozenset())
        self._ballots = {}
        self._frames.reset()
        self._set_status(False, changing, reason)
        self._wishes.start_timer(patience)

    def _clock(self, now: float) -> None:
        pause = self._vigil.pause(now)
        late = self._vigil.late()
        if self._withdrawn:
            return
        if pause > vigil.PAUSE_SECONDS and self._phase is not Phase.ALONE:
            reason = f"the store stood still for {pause:.1f} s and joins its group again"
            self._withdraw(reason, changing=True)
            self._rejoin()
        elif late:
            self._withdraw(
                f"this node's disk has not taken a write for {late:.0f} s: the node is read-only and comes "
                "back when it has; the others go on"
            )

    def _withdraw(self, reason: str, *, changing: bool = False) -> None:
        """Leave the group until the disk has all it was handed; whoever was out does not come directly."""
        patience = REJOIN_AFTER if changing else REFUSE_AFTER
        self._left(reason, changing=changing, patience=patience)
        if not self._withdrawn:
            self._withdrawn = True
            self._wishes.effects.append(Withdraw(reason))

    def _rejoin(self) -> None:
        if self._withdrawn and self._vigil.synced_all:
            self._withdrawn = False
            self._wishes.effects.append(Rejoin())

    def _timer_expired(self) -> None:
        if self.status.writable:
            return
        if self.status.changing:
            missing = self._round.waiting_for(states=self._phase is Phase.GATHERING)
            self._set_status(False, False, missing or self.status.reason)
        self._refusing = True
        self._wishes.effects += self._requests.give_up(self.status.reason)

    def _disk_synced(self, serial: int) -> None:
        version = self._vigil.synced(serial)
        self._rejoin()
        if self._phase is Phase.ACTIVE and version is not None:
            self._has_on_disk(self.me, version)
            if 0 < self._owed <= version:
                self._owed = 0
                self._wishes.send(messages.OnDisk(self.view.number, version))
        ready_at = self._round.ready_at
        if self._phase is Phase.SYNCING and ready_at is not None and serial >= ready_at:
            self._round.ready_at = None
            self._wishes.send(messages.Ready(self._round.tag))

    # Rounds

    def _members_changed(
        self, ring: tuple[int, int], members: frozenset[tuple[int, int]], now: float
    ) -> None:
        if self._withdrawn:
            return
        ids = frozenset(node for node, _ in members)
        here = {node: ballot for node, ballot in self._ballots.items() if node in ids}
        if not views.count(here).quorate:
            self._direct = False
        if self._ballot.qdevice:
            self._ballot = replace(self._ballot, settled=False)
        self._now = now
        self._ballots = {}
        self._frames.reset()
        self._start_round(Round(Tag(ring, tuple(sorted(members)), 0), ids))

    def _start_round(self, begun: Round) -> None:
        self._round = begun
        self._phase = Phase.GATHERING
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
            # Not before: who has not the leader's history yet must not come directly from this view.
            self.view, begun.forming = begun.forming, None
            self._direct = True
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

    def _begin_view(self) -> None:
        entries = self._entries
        self._phase = Phase.ACTIVE
        self._ballot = replace(self._ballot, adopt=False)
        entries.version = max(state.version for state in self._round.states.values()) + 1
        entries.last_view = self.view.number
        self._on_disk = dict.fromkeys(self._round.ids, 0)
        self._owed = self.version
        self._refusing = False
        self._wishes.persist(entries, Applied((), ()), node=self.name, time=self._now)
        self._wishes.effects.append(Changed(self.version, (), self.root))
        self._requests.resume(entries.origins.get(self._requests.origin), self.version)
        self._set_status(True, False, "")
        self._send_requests()

    def _on_votes(self, sender: int, ballot: Ballot) -> None:
        self._ballots[sender] = ballot
        decided = self._round.verdict
        if decided is None:
            return
        votes = views.count(self._ballots)
        if not votes.quorate:
            self._direct = False
        adopt = ballot.adopt and not decided.writable
        if votes.firm != decided.count.firm or adopt:
            self._start_round(self._round.again())

    # Entries

    def _on_change(self, sender: int, change: messages.Change) -> None:
        if self._phase is not Phase.ACTIVE or change.view != self.view.number or self._entries.knows(change):
            return
        mine = change.origin == self._requests.origin
        done = self._entries.apply(change)
        if isinstance(done, Applied):
            self._wishes.persist(
                self._entries,
                done,
                origin=(change.origin, self._entries.origins[change.origin]),
                who=change.who,
                node=self.view.members.get(sender, ""),
                time=change.time,
            )
            self._wishes.effects.append(Changed(self.version, done.changes, self.root))
        if mine:
            self._judged(change.seq, done)
        else:
            self._owe()

    def _judged(self, seq: int, done: Applied | Refused) -> None:
        """A request of ours came back: it is answered when this version is on disk everywhere."""
        if isinstance(done, Refused):
            self._requests.refused(seq, done.text, self.version)
            self._wishes.effects += self._requests.on_disk(min(self._on_disk.values()))
        else:
            self._requests.applied(seq, self.version)
        self._send_requests()

    def _owe(self) -> None:
        """Another member waits until this version is on our disk: an own change's, or what it met."""
        if self._on_disk[self.me] >= self.version:
            self._wishes.send(messages.OnDisk(self.view.number, self.version))
        else:
            self._owed = self.version

    def _on_disk_at(self, sender: int, message: messages.OnDisk) -> None:
        if self._phase is Phase.ACTIVE and message.view == self.view.number:
            self._has_on_disk(sender, message.version)

    def _has_on_disk(self, member: int, version: int) -> None:
        self._on_disk[member] = max(self._on_disk[member], version)
        self._wishes.effects += self._requests.on_disk(min(self._on_disk.values()))

    # The group

    def _deliver(self, sender: int, frame: bytes) -> None:
        if sender not in self._round.ids:
            return
        try:
            data = self._frames.add(sender, frame)
            if data is None:
                return
            message = messages.decode(data)
        except frames.ForeignVersion as error:
            if self._phase is Phase.GATHERING and not self._refusing:
                self._set_status(False, False, f"the store of node id {sender} speaks {error}; upgrade one")
                self._wishes.start_timer(REFUSE_AFTER)
        except ValueError as error:
            self._wishes.effects.append(Note(f"dropped a message of node id {sender}: {error}"))
        else:
            self._handle(sender, message)

    def _handle(self, sender: int, message: messages.Message) -> None:
        match message:
            case messages.Change():
                self._on_change(sender, message)
            case messages.Changes(changes):
                for change in changes:
                    self._on_change(sender, change)
            case messages.OnDisk():
                self._on_disk_at(sender, message)
            case messages.Publish(name, key, value, ttl):
                self._wishes.effects.append(Published(name, key, value, ttl))
            case messages.State():
                self._on_state(sender, message)
            case messages.Votes(ballot):
                self._on_votes(sender, ballot)
            case messages.Index():
                self._on_index(sender, message)
            case messages.Piece():
                self._on_piece(sender, message)
            case messages.Ready():
                self._on_ready(sender, message)

    def _set_status(self, writable: bool, changing: bool, reason: str) -> None:
        self._wishes.show(writable, changing, reason, self._round.ids)
