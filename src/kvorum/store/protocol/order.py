"""The order of one view's changes: its first member numbers them, each member takes them one after the other.

The group's own order would do, and leads to the view; but each message in it costs every node's processes
turns that a datagram does not. In a view the member with the lowest id takes each member's messages in the
order in which that member made them, and gives each the next number; so all members' histories of a view are
beginnings of one sequence. What is lost on the way is said again in the group, once: there it can't be lost.

Bounded: a member makes no further message while ``FLYING_MAX`` of its own lack on some disk. So the first
member keeps the last ``FLYING_MAX`` of each, and whatever a member still lacks is among them. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kvorum.store.protocol.messages import Changes, Ordered
from kvorum.store.protocol.requests import FLYING_MAX


@dataclass(slots=True)
class Kept:
    """A numbered message that some member may lack."""

    ordered: Ordered
    aloud: bool = False
    """Said in the group, so that it can't be lost within the view."""


class Order:
    """One view's order, as one member knows it."""

    def __init__(self, members: Iterable[int]) -> None:
        self.members = frozenset(members)
        self.first = min(self.members)
        """The member that numbers."""
        self.place = 0
        """The number of the last message that this member has taken; 0 is the view's beginning."""
        self._early: dict[int, Ordered] = {}
        self._numbered = 0
        self._admitted = dict.fromkeys(self.members, 0)
        """Member to the last request of it that has a number."""
        self._waiting: dict[int, dict[int, Changes]] = {member: {} for member in self.members}
        """Member to messages that overtook an earlier one, by what they come after."""
        self._kept: dict[int, deque[Kept]] = {member: deque(maxlen=FLYING_MAX) for member in self.members}

    # The first member

    def admit(self, view: int, sender: int, message: Changes) -> Iterator[Kept]:
        """Number a member's message, and what came before its turn; twice is once."""
        waiting = self._waiting[sender]
        if message.after >= self._admitted[sender] and len(waiting) < FLYING_MAX:
            waiting[message.after] = message
        while (turn := waiting.pop(self._admitted[sender], None)) is not None:
            self._admitted[sender] = turn.changes[-1].seq
            self._numbered += 1
            kept = Kept(Ordered(view, self._numbered, sender, turn.changes))
            self._kept[sender].append(kept)
            yield kept

    def lacking(self, place: int) -> list[Kept]:
        """What a member at ``place`` may lack and was not said in the group, in order."""
        kept = [one for each in self._kept.values() for one in each]
        return sorted(
            (one for one in kept if one.ordered.number > place and not one.aloud),
            key=lambda one: one.ordered.number,
        )

    # Every member

    def take(self, ordered: Ordered) -> Iterator[Ordered]:
        """What comes next in the order, now that ``ordered`` is here; twice is once."""
        if self.place < ordered.number <= self.place + FLYING_MAX * len(self.members):
            self._early[ordered.number] = ordered
        while (turn := self._early.pop(self.place + 1, None)) is not None:
            self.place += 1
            yield turn
