"""A member in a view that may write: puts changes in order, carries them out, and knows whose disk has them.

A change goes to the view's first member, which numbers it and tells all; each applies it in that order and
writes it to disk, and tells the one who asked for it. What members tell each other is whispered, and said in
the group where a whisper is lost. ``order``, ``owing``, ``aloud`` and ``requests`` keep the books.
"""

from __future__ import annotations

from abc import ABC

from kvorum.store.protocol import messages
from kvorum.store.protocol.aloud import Aloud
from kvorum.store.protocol.entries import Applied, Stored
from kvorum.store.protocol.events import Changed
from kvorum.store.protocol.leases import Leases
from kvorum.store.protocol.member import Member, Phase
from kvorum.store.protocol.messages import Ballot
from kvorum.store.protocol.order import Order
from kvorum.store.protocol.owing import Owing
from kvorum.store.protocol.requests import Requests


class Writer(Member, ABC):
    """What a member does with changes; ``Replica`` is what it does besides."""

    def __init__(
        self, me: int, name: str, incarnation: str, stored: Stored, ballot: Ballot, leases: Leases
    ) -> None:
        super().__init__(me, name, stored, ballot, leases)
        self._requests = Requests(incarnation)
        self._order = Order((me,))
        self._on_disk: dict[int, int] = {}
        """Member to the place in the view's order up to which it has all on disk, as far as this node needs
        to know; -1 until it was heard in this view."""
        self._aloud = Aloud()
        self._owing = Owing(self._aloud)

    def _begin_order(self) -> None:
        """A view begins: all handed to the disk before was synced when this member said that it is ready."""
        self._order = Order(self._round.ids)
        self._on_disk = dict.fromkeys(self._round.ids, -1)
        reach = self._round.reach
        self._aloud = Aloud(reach if self.me in reach else ())  # who is not reached is not heard either
        self._owing = Owing(self._aloud)

    def _in_view(self, number: int) -> bool:
        return self._phase is Phase.ACTIVE and number == self.view.number

    # Requests on their way

    def _send_requests(self) -> None:
        """Send what waits, many in one message while the last are on their way."""
        for flight in self._requests.take(self.view.number):
            if self.me == self._order.first:
                self._put_in_order(self.me, flight.message)
            else:
                flight.aloud = not self._say((self._order.first,), flight.message)

    def _say(self, to: tuple[int, ...], message: messages.Message) -> bool:
        """Whisper to members, where they are known to be in this view, or speak in the group.

        Returns whether it was whispered.
        """
        place = self._order.place
        if all(self._on_disk[member] >= 0 and self._aloud.whispers(member, place) for member in to):
            return self._wishes.whisper(to, message)
        self._wishes.send(message)
        return False

    def _urge(self) -> None:
        """Speak in the group where a whisper may be lost: on its way to be ordered, back, or from a disk."""
        if self._phase is not Phase.ACTIVE:
            return
        place = self._requests.judged_at
        if place is not None and any(at < place for node, at in self._on_disk.items() if node != self.me):
            self._wishes.send(messages.Ask(self.view.number, place))
        unjudged = self._requests.unjudged
        for flight in unjudged:
            if not flight.aloud:
                flight.aloud = True
                self._aloud.lost(self._order.first, self._order.place)
                self._wishes.send(flight.message)
        if unjudged:
            self._wishes.send(messages.Lack(self.view.number, self._order.place))

    # The order

    def _on_changes(self, sender: int, message: messages.Changes) -> None:
        first = self.me == self._order.first and sender != self.me
        if first and message.changes and self._in_view(message.changes[0].view):
            self._put_in_order(sender, message)

    def _put_in_order(self, sender: int, message: messages.Changes) -> None:
        """This node is the view's first member: number the requests and tell all."""
        others = tuple(node for node in self._on_disk if node != self.me)
        for kept in self._order.admit(self.view.number, sender, message):
            if others:
                kept.aloud = not self._say(others, kept.ordered)
            self._take(kept.ordered)

    def _on_ordered(self, sender: int, ordered: messages.Ordered) -> None:
        followed = sender == self._order.first != self.me and ordered.sender in self._order.members
        if followed and self._in_view(ordered.view):
            self._take(ordered)

    def _take(self, ordered: messages.Ordered) -> None:
        """Carry out what comes next in the view's order."""
        for turn in self._order.take(ordered):
            for change in turn.changes:
                self._carry_out(turn, change)
            if turn.sender == self.me:
                self._requests.landed(turn.changes[-1].seq, turn.number)
            else:
                self._owing.waits(turn.sender, turn.number)
            if self._vigil.completes(turn.number):
                self._have_on_disk(turn.number)

    def _carry_out(self, turn: messages.Ordered, change: messages.Change) -> None:
        if self._entries.knows(change):
            return
        done = self._entries.apply(change)
        mine = change.origin == self._requests.origin
        if isinstance(done, Applied):
            node = self.view.members.get(turn.sender, "")
            self._wishes.persist(
                self._entries,
                done,
                origin=(change.origin, self._entries.origins[change.origin]),
                who=change.who,
                node=node,
                time=change.time,
            )
            self._wishes.effects.append(Changed(self.version, done.changes, self.root, node))
            if mine:
                self._requests.applied(change.seq, self.version, turn.number)
        elif mine:
            self._requests.refused(change.seq, done.text, turn.number)

    def _on_lack(self, sender: int, lack: messages.Lack) -> None:
        """A member waits for more of the order: what was whispered is said in the group, and so not lost."""
        if self.me != self._order.first or not self._in_view(lack.view):
            return
        for kept in self._order.lacking(lack.place):
            kept.aloud = True
            self._aloud.lost(sender, self._order.place)
            self._wishes.send(kept.ordered)

    # What is on disk

    def _have_on_disk(self, place: int) -> None:
        """This node's disk has everything up to ``place``."""
        self._has_on_disk(self.me, place)
        self._tell_synced(place)

    def _tell_synced(self, place: int) -> None:
        telling = self._owing.synced(place)
        if telling.all:
            self._wishes.send(messages.OnDisk(self.view.number, place))
        if telling.alone:
            self._wishes.whisper(telling.alone, messages.OnDisk(self.view.number, place))

    def _on_ask(self, sender: int, ask: messages.Ask) -> None:
        if sender == self.me or not self._in_view(ask.view):
            return
        if self._order.place < ask.place:
            self._wishes.send(messages.Lack(self.view.number, self._order.place))
        on_disk = self._on_disk[self.me]
        self._owing.asked(sender, ask.place, on_disk)
        self._tell_synced(on_disk)

    def _on_disk_at(self, sender: int, message: messages.OnDisk) -> None:
        if self._in_view(message.view):
            self._has_on_disk(sender, message.place)

    def _has_on_disk(self, member: int, place: int) -> None:
        self._on_disk[member] = max(self._on_disk[member], place)
        self._wishes.effects += self._requests.on_disk(min(self._on_disk.values()))
