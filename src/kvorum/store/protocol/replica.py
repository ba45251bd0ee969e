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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from kvorum.core.errors import Conflict, ParameterError
from kvorum.store.face import Change as Seen
from kvorum.store.face import File, Operation, Rename
from kvorum.store.names import check_operations
from kvorum.store.protocol import frames, messages, requests, transfer, views, vigil
from kvorum.store.protocol.checksums import Checksums
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
    Multicast,
    Note,
    Outcome,
    Persist,
    Published,
    Record,
    Rejoin,
    Request,
    StartTimer,
    Status,
    StatusChanged,
    Tell,
    TimerExpired,
    Withdraw,
)
from kvorum.store.protocol.messages import Ballot, Origin, Tag, View
from kvorum.store.tree import Tree

REFUSE_AFTER = 2.0
"""Seconds that a waiting request is kept when it is clear that there is no quorum: short cuts heal."""
REJOIN_AFTER = 10.0
"""Seconds that a waiting request is kept while Corosync is away."""
STATES_AFTER = 10.0
"""Seconds that a round may take before this node says which member it waits for and turns read-only."""
QUEUE_MAX = 4096


@dataclass(slots=True)
class Stored:
    """What a replica has on disk when it starts."""

    tree: Tree = field(default_factory=Tree)
    version: int = 0
    last_view: int = 0
    view: View = field(default_factory=View)
    origins: dict[str, Origin] = field(default_factory=dict)


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
        self.tree = stored.tree
        self.version = stored.version
        self.view = stored.view
        self.status = Status(False, True, "the store is starting", frozenset())
        self._last_view = stored.last_view
        self._origins = dict(stored.origins)
        self._checksums = Checksums(self.tree)
        self._ballot = ballot
        self._requests = requests.Requests(incarnation)
        self._frames = frames.Assembly()
        self._phase = Phase.ALONE
        self._direct = False
        self._refusing = False
        self._timer = 0
        self._now = 0.0
        self._tag = Tag((0, 0), (), 0)
        self._ids: frozenset[int] = frozenset()
        self._ballots: dict[int, Ballot] = {}
        self._states: dict[int, messages.State] = {}
        self._verdict: views.Verdict | None = None
        self._forming: View | None = None
        self._leader = me
        self._ready: set[int] = set()
        self._fetched: transfer.Fetched | None = None
        self._sending: dict[int, Iterator[messages.Piece]] = {}
        self._serial = 0
        self._vigil = vigil.Vigil()
        self._withdrawn = False
        self._ready_at: int | None = None
        self._on_disk: dict[int, int] = {}
        self._effects: list[Effect] = []

    @property
    def root(self) -> bytes:
        """The whole tree's checksum."""
        return self._checksums.root

    @property
    def phase(self) -> Phase:
        """Where this replica is in the round."""
        return self._phase

    def step(self, event: Event) -> list[Effect]:
        """Take one event; returns what is to be done, in order."""
        self._effects = []
        match event:
            case Deliver(sender, frame):
                self._deliver(sender, frame)
            case DiskSynced(serial):
                self._disk_synced(serial)
            case Request():
                self._request(event)
            case Cancel(request_id):
                self._effects += self._requests.cancel(request_id)
            case MembersChanged(ring, members, now):
                self._members_changed(ring, members, now)
            case BallotChanged(ballot):
                self._ballot_changed(ballot)
            case TimerExpired(number):
                if number == self._timer:
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
        return self._effects

    # Local events

    def _request(self, request: Request) -> None:
        if self._refusing:
            self._effects.append(Answer(request.id, Outcome.NO_QUORUM, text=self.status.reason))
        elif len(self._requests) >= QUEUE_MAX:
            text = f"{QUEUE_MAX} changes are waiting already; nothing was changed, try again later"
            self._effects.append(Answer(request.id, Outcome.NO_QUORUM, text=text))
        else:
            seq = self._requests.add(request)
            if self._phase is Phase.ACTIVE:
                self._send(self._requests.message(seq, self.view.number))

    def _tell(self, key: str, value: bytes, ttl: float) -> None:
        if self._phase is Phase.ALONE:
            self._effects.append(Published(self.name, key, value, ttl))
        else:
            self._send(messages.Publish(self.name, key, value, ttl))

    def _ballot_changed(self, ballot: Ballot) -> None:
        if ballot != self._ballot:
            self._ballot = ballot
            if self._phase is not Phase.ALONE:
                self._send(messages.Votes(ballot))

    def _left(self, reason: str, *, changing: bool = False, patience: float = REJOIN_AFTER) -> None:
        self._phase = Phase.ALONE
        self._direct = False
        self._ids = frozenset()
        self._ballots = {}
        self._frames.reset()
        self._set_status(False, changing, reason)
        self._start_timer(patience)

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
            self._effects.append(Withdraw(reason))

    def _rejoin(self) -> None:
        if self._withdrawn and self._vigil.synced_all:
            self._withdrawn = False
            self._effects.append(Rejoin())

    def _timer_expired(self) -> None:
        if self.status.writable:
            return
        if self.status.changing:
            self._set_status(False, False, self._waiting_for())
        self._refusing = True
        self._effects += self._requests.give_up(self.status.reason)

    def _waiting_for(self) -> str:
        """The sentence for a round that takes too long."""
        there = self._states if self._phase is Phase.GATHERING else self._ready
        missing = ", ".join(f"node id {node}" for node in sorted(self._ids - set(there)))
        if not missing:
            return self.status.reason
        return f"waiting for the store (pve-cluster) of {missing}, a member of the group that does not answer"

    def _disk_synced(self, serial: int) -> None:
        version = self._vigil.synced(serial)
        self._rejoin()
        if self._phase is Phase.ACTIVE and version is not None:
            self._send(messages.OnDisk(self.view.number, version))
        if self._phase is Phase.SYNCING and self._ready_at is not None and serial >= self._ready_at:
            self._ready_at = None
            self._send(messages.Ready(self._tag))

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
        self._ids = ids
        self._ballots = {}
        self._frames.reset()
        self._start_round(Tag(ring, tuple(sorted(members)), 0))

    def _start_round(self, tag: Tag) -> None:
        self._tag = tag
        self._phase = Phase.GATHERING
        self._states = {}
        self._ready = set()
        self._verdict = None
        self._forming = None
        self._fetched = None
        self._sending = {}
        self._ready_at = None
        self._set_status(False, True, "the cluster's members changed; they are comparing their states")
        self._start_timer(STATES_AFTER)
        self._send(
            messages.State(
                tag=tag,
                name=self.name,
                view=self.view,
                last_view=self._last_view,
                version=self.version,
                root=self.root,
                direct=self._direct,
                ballot=self._ballot,
                applied=self._origins,
                time=self._now,
            )
        )

    def _on_state(self, sender: int, state: messages.State) -> None:
        if state.tag != self._tag:
            return
        if sender in self._states:
            # A process that leaves and rejoins within one ring makes a round's name twice, and the first
            # of these states was still of the earlier one. All see it here, before that round can end.
            self._start_round(replace(self._tag, attempt=self._tag.attempt + 1))
            return
        self._states[sender] = state
        self._ballots[sender] = state.ballot
        if self._states.keys() == self._ids:
            self._all_states()

    def _all_states(self) -> None:
        foreign = views.foreign(self._states, self._ballots)
        if foreign:
            # They leave by themselves, and that change of members begins a round without them.
            if self.me in foreign:
                self._effects.append(Leave(foreign[self.me]))
            return
        verdict = views.judge(self._states, self._ballots)
        self._verdict = verdict
        self._leader = views.leader(self._states)
        self._forming = None
        history = views.history(self._states, verdict.newest)
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
        if verdict.writable:
            members = {node: state.name for node, state in self._states.items()}
            when = max(state.time for state in self._states.values())
            begun = f"{self._states[self._leader].name}-{when:.0f}-{self._tag.ring[0]}.{self._tag.ring[1]}"
            self._forming = View(verdict.newest.number + 1, members, when, history or begun)
        if self._states[self.me].root == self._states[self._leader].root:
            self._in_step((), ())
        else:
            self._fetched = transfer.Fetched()
            self._send(messages.Index(self._tag, self._checksums.entries))

    def _on_index(self, sender: int, index: messages.Index) -> None:
        if index.tag == self._tag and self._phase is Phase.SYNCING and self.me == self._leader:
            self._sending[sender] = transfer.pieces(
                self.tree, self._checksums.entries, index.entries, self._tag, sender
            )
            self._send(next(self._sending[sender]))

    def _on_piece(self, sender: int, piece: messages.Piece) -> None:
        if piece.tag != self._tag or self._phase is not Phase.SYNCING or sender != self._leader:
            return
        if sender == self.me:
            following = next(self._sending.get(piece.to, iter(())), None)
            if following is not None:
                self._send(following)
        elif piece.to == self.me and self._fetched is not None and self._fetched.add(piece):
            version = self._states[self._leader].version
            changes, before = self._fetched.patch(self.tree, version)
            self._fetched = None
            self._checksums.update(changes)
            self._in_step(changes, before)

    def _in_step(self, changes: tuple[Seen, ...], before: tuple[File | None, ...]) -> None:
        """Our tree is the leader's: write what differed and the view to disk, then say Ready."""
        lead = self._states[self._leader]
        if changes and self.root != lead.root:
            raise AssertionError(f"{self.name} has not the tree of {lead.name} after fetching its difference")
        self.version, self._last_view, self._origins = lead.version, lead.last_view, dict(lead.applied)
        if self._forming is not None:
            # Not before: who has not the leader's history yet must not come directly from this view.
            self.view, self._forming = self._forming, None
            self._direct = True
        who = f"fetched from {lead.name}" if changes else ""
        self._persist(view=self.view, changes=changes, before=before, origins=self._origins, who=who)
        self._ready_at = self._serial
        if changes:
            self._effects.append(Changed(self.version, changes, self.root))

    def _on_ready(self, sender: int, ready: messages.Ready) -> None:
        if ready.tag != self._tag or self._phase is not Phase.SYNCING or self._verdict is None:
            return
        self._ready.add(sender)
        if self._ready != self._ids:
            return
        if self._verdict.writable:
            self._begin_view()
        else:
            self._phase = Phase.READ_ONLY
            self._set_status(False, False, self._verdict.reason)
            if not self._verdict.count.quorate or self._verdict.count.firm:
                self._start_timer(REFUSE_AFTER)
            else:
                self._timer += 1  # the QDevice's vote will count: requests wait for it

    def _begin_view(self) -> None:
        self._phase = Phase.ACTIVE
        self._ballot = replace(self._ballot, adopt=False)
        self.version = max(state.version for state in self._states.values()) + 1
        self._last_view = self.view.number
        self._on_disk = dict.fromkeys(self._ids, 0)
        self._refusing = False
        self._persist(node=self.name)
        self._effects.append(Changed(self.version, (), self.root))
        again = self._requests.resume(self._origins.get(self._requests.origin), self.version)
        self._set_status(True, False, "")
        for seq in again:
            self._send(self._requests.message(seq, self.view.number))

    def _on_votes(self, sender: int, ballot: Ballot) -> None:
        self._ballots[sender] = ballot
        if self._verdict is None:
            return
        votes = views.count(self._ballots)
        if not votes.quorate:
            self._direct = False
        decided = self._verdict
        adopt = ballot.adopt and not decided.writable
        if votes.firm != decided.count.firm or adopt:
            self._start_round(replace(self._tag, attempt=self._tag.attempt + 1))

    # Entries

    def _on_change(self, sender: int, change: messages.Change) -> None:
        known = self._origins.get(change.origin)
        if self._phase is not Phase.ACTIVE or change.view != self.view.number:
            return
        if known is not None and change.seq <= known.seq:
            return
        mine = change.origin == self._requests.origin
        paths = _paths(change.operations)
        old = {path: self.tree.read(path) for path in paths}
        try:
            check_operations(change.operations)
            changes = self.tree.apply(change.operations, change.expect, self.version + 1, change.time)
        except (Conflict, ParameterError) as conflict:
            self._origins = requests.note_refused(self._origins, change)
            if mine:
                self._requests.refused(change.seq, str(conflict), self.version)
                self._effects += self._requests.on_disk(min(self._on_disk.values()))
            return
        self.version += 1
        self._checksums.update(changes)
        self._origins = requests.note_applied(self._origins, change, self.version)
        self._persist(
            changes=tuple(changes),
            before=tuple(old.get(seen.path) for seen in changes),
            origin=(change.origin, self._origins[change.origin]),
            who=change.who,
            node=self.view.members.get(sender, ""),
            time=change.time,
        )
        if mine:
            self._requests.applied(change.seq, self.version)
        self._effects.append(Changed(self.version, tuple(changes), self.root))

    def _on_disk_at(self, sender: int, message: messages.OnDisk) -> None:
        if self._phase is Phase.ACTIVE and message.view == self.view.number:
            self._on_disk[sender] = max(self._on_disk[sender], message.version)
            self._effects += self._requests.on_disk(min(self._on_disk.values()))

    # The group

    def _deliver(self, sender: int, frame: bytes) -> None:
        if sender not in self._ids:
            return
        try:
            data = self._frames.add(sender, frame)
            if data is None:
                return
            message = messages.decode(data)
        except frames.ForeignVersion as error:
            if self._phase is Phase.GATHERING and not self._refusing:
                self._set_status(False, False, f"the store of node id {sender} speaks {error}; upgrade one")
                self._start_timer(REFUSE_AFTER)
            return
        except ValueError as error:
            self._effects.append(Note(f"dropped a message of node id {sender}: {error}"))
            return
        match message:
            case messages.Change():
                self._on_change(sender, message)
            case messages.OnDisk():
                self._on_disk_at(sender, message)
            case messages.Publish(name, key, value, ttl):
                self._effects.append(Published(name, key, value, ttl))
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

    def _send(self, message: messages.Message) -> None:
        self._effects.append(Multicast(frames.split(messages.encode(message))))

    def _persist(
        self,
        *,
        view: View | None = None,
        changes: tuple[Seen, ...] = (),
        before: tuple[File | None, ...] = (),
        origins: Mapping[str, Origin] | None = None,
        origin: tuple[str, Origin] | None = None,
        who: str = "",
        node: str = "",
        time: float | None = None,
    ) -> None:
        self._serial += 1
        limit = vigil.SLOW_SECONDS if origins is None else vigil.TRANSFER_SECONDS
        self._vigil.handed(self._serial, self.version, limit)
        record = Record(
            serial=self._serial,
            version=self.version,
            last_view=self._last_view,
            view=view,
            changes=changes,
            before=before,
            origins=None if origins is None else dict(origins),
            origin=origin,
            who=who,
            node=node,
            time=self._now if time is None else time,
        )
        self._effects.append(Persist(record))

    def _set_status(self, writable: bool, changing: bool, reason: str) -> None:
        status = Status(writable, changing, reason, self._ids)
        if status != self.status:
            self.status = status
            self._effects.append(StatusChanged(status))

    def _start_timer(self, seconds: float) -> None:
        self._timer += 1
        self._effects.append(StartTimer(self._timer, seconds))


def _paths(operations: tuple[Operation, ...]) -> set[str]:
    paths: set[str] = set()
    for operation in operations:
        paths |= {operation.source, operation.target} if isinstance(operation, Rename) else {operation.path}
    return paths
