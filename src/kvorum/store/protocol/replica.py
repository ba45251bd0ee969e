"""One replica of the store, as a pure state machine.

Promise: a request is answered DONE only when every member of the present view has it on disk, and what was
answered so is in every later view's history.

``member`` has the rounds that lead to a view. A view begins with an empty entry of its own; requests queued
or overtaken are then sent (again), and carried out as ``writer`` has it.
"""

from __future__ import annotations

from msgspec.structs import replace

from kvorum.store.protocol import frames, messages, vigil
from kvorum.store.protocol.claims import Claims
from kvorum.store.protocol.entries import Applied, Stored
from kvorum.store.protocol.events import (
    Answer,
    BallotChanged,
    Cancel,
    Changed,
    Claim,
    Clock,
    Deliver,
    DiskRefused,
    DiskSynced,
    Effect,
    Event,
    LeaseTaken,
    Left,
    MembersChanged,
    Moved,
    Note,
    Outcome,
    Published,
    Rejoin,
    Request,
    Tell,
    TimerExpired,
    Urge,
    Whispered,
    Withdraw,
)
from kvorum.store.protocol.leases import Leases
from kvorum.store.protocol.member import REFUSE_AFTER, REJOIN_AFTER, Phase
from kvorum.store.protocol.messages import Ballot
from kvorum.store.protocol.writer import Writer

QUEUE_MAX = 4096


class Replica(Writer):
    """One member's copy. Feed events to ``step`` one at a time and carry out the effects in order."""

    def __init__(
        self,
        me: int,
        name: str,
        incarnation: str,
        stored: Stored,
        ballot: Ballot,
        leases: Leases | None = None,
    ) -> None:
        """``incarnation`` is unique to this life of the daemon."""
        super().__init__(me, name, incarnation, stored, ballot, leases or Leases())
        self._claims = Claims(self.leases)
        self._refusing = False
        self._withdrawn = False

    def step(self, event: Event) -> list[Effect]:
        """Take one event; returns what is to be done, in order."""
        self._wishes.effects = []
        self._happened(event)
        if self._phase is Phase.ACTIVE:
            self._send_requests()
        return self._wishes.effects

    def _happened(self, event: Event) -> None:
        match event:  # the frequent first, and without positions: each case before the right one costs time
            case Whispered():
                self._whispered(event.sender, event.frame)
            case DiskSynced():
                self._disk_synced(event.serial)
            case Request():
                self._request(event)
            case Deliver():
                self._deliver(event.sender, event.frame)
            case MembersChanged():
                if not self._withdrawn:
                    self._members_changed(event)
            case BallotChanged(ballot):
                self._ballot_changed(ballot)
            case TimerExpired(number):
                if number == self._wishes.timer:
                    self._timer_expired()
            case Left() | Moved():
                self._no_member(event)
            case Clock(now):
                self._clock(now)
            case DiskRefused(reason):
                self._withdraw(f"{reason}; this node is read-only until its disk takes writes again")
            case Cancel() | Urge() | Tell() | Claim():
                self._asked(event)

    # Local events

    def _asked(self, event: Cancel | Urge | Tell | Claim) -> None:
        match event:
            case Cancel(request_id):
                self._wishes.effects += self._requests.cancel(request_id)
            case Urge():
                self._urge()
            case Tell(key, value, ttl):
                self._tell(key, value, ttl)
            case Claim():
                self._claim(event)

    def _interrupted(self) -> None:
        self._wishes.effects += self._claims.give_up()

    def _request(self, request: Request) -> None:
        if self._refusing:
            self._wishes.effects.append(Answer(request.id, Outcome.NO_QUORUM, text=self.status.reason))
        elif len(self._requests) >= QUEUE_MAX:
            text = f"{QUEUE_MAX} changes are waiting already; nothing was changed, try again later"
            self._wishes.effects.append(Answer(request.id, Outcome.NO_QUORUM, text=text))
        else:
            self._requests.add(request)

    def _claim(self, claim: Claim) -> None:
        if self._phase is not Phase.ACTIVE:
            answer = Answer(claim.id, Outcome.NO_QUORUM, text=self.status.reason)
            self._wishes.effects.append(answer)
            return
        made = self._claims.make(claim, self.view.number)
        if isinstance(made, Answer):
            self._wishes.effects.append(made)
        else:
            self._wishes.send(made)

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

    def _clock(self, now: float) -> None:
        self.leases.clock(now)
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

    def _no_member(self, event: Left | Moved) -> None:
        """Out of the group; who moved joins anew, since members tell how they are reached as they meet."""
        if self._withdrawn:
            return
        if isinstance(event, Left):
            self._leave_group(event.reason, changing=False, patience=REJOIN_AFTER)
        elif self._phase is not Phase.ALONE:
            self._withdraw(event.reason, changing=True)
            self._rejoin()

    def _withdraw(self, reason: str, *, changing: bool = False) -> None:
        """Leave the group until the disk has all it was handed; whoever was out does not come directly."""
        patience = REJOIN_AFTER if changing else REFUSE_AFTER
        self._leave_group(reason, changing=changing, patience=patience)
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
        place = self._vigil.synced(serial)
        self._rejoin()
        if self._phase is Phase.ACTIVE and place is not None:
            self._have_on_disk(place)
        ready_at = self._round.ready_at
        if self._phase is Phase.SYNCING and ready_at is not None and serial >= ready_at:
            self._round.ready_at = None
            self._wishes.send(messages.Ready(self._round.tag))

    # Entries

    def _begin_view(self) -> None:
        entries = self._entries
        self._phase = Phase.ACTIVE
        self._direct = True
        self._ballot = replace(self._ballot, adopt=False)
        entries.version = max(state.version for state in self._round.states.values()) + 1
        entries.last_view = self.view.number
        self._begin_order()
        self._refusing = False
        lead = self._round.lead
        self.leases.adopt(lead.leases, lead.lease_count, lead.forgotten_for)
        if any(ballot.adopt for ballot in self._ballots.values()):
            self.leases.forget()
        self._wishes.persist(entries, Applied((), ()), node=self.name, time=self._now)
        self._vigil.completes(0)
        self._wishes.effects.append(Changed(self.version, (), self.root))
        self._requests.resume(entries.origins.get(self._requests.origin), self.version)
        self._set_status(True, False, "")

    # Leases

    def _on_hold(self, sender: int, hold: messages.Hold) -> None:
        if not self._in_view(hold.view):
            return
        if self.leases.take(hold):
            self._wishes.send(messages.Held(hold.view, sender, hold.claim))
            self._wishes.effects.append(LeaseTaken(hold.name, hold.owner, hold.seconds))
        elif sender == self.me:
            self._wishes.effects += self._claims.refused(hold.claim)

    def _on_held(self, sender: int, held: messages.Held) -> None:
        if held.claimant == self.me and self._in_view(held.view):
            self._wishes.effects += self._claims.heard(held.claim, sender, self._round.ids)

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

    def _whispered(self, sender: int, frame: bytes) -> None:
        if sender not in self._round.ids or sender == self.me:
            return
        try:
            message = messages.decode(frames.whole(frame))
        except ValueError as error:
            self._wishes.effects.append(Note(f"dropped a whisper of node id {sender}: {error}"))
        else:
            if isinstance(message, messages.WHISPERED):
                self._handle(sender, message)

    def _handle(self, sender: int, message: messages.Message) -> None:
        match message:
            case messages.Changes():
                self._on_changes(sender, message)
            case messages.Ordered():
                self._on_ordered(sender, message)
            case messages.OnDisk():
                self._on_disk_at(sender, message)
            case messages.Lack():
                self._on_lack(sender, message)
            case messages.Ask():
                self._on_ask(sender, message)
            case messages.Hold():
                self._on_hold(sender, message)
            case messages.Held():
                self._on_held(sender, message)
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
