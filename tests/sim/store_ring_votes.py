"""The world with QNetd's ffsplit as it is, and votes that count for the ring they were given for.

What Corosync and QNetd do (docs/design/qdevice.md has where it was seen): a ring's membership is whole only
when the QDevice has answered for that ring, or ``sync_timeout`` took its vote away. ffsplit gives the vote to
one partition, and only after every connected node of the others was told No and has said so. Who lost the way
to QNetd may keep the vote in the ring it was given for, for D, and has No before it can be given it again.
So the vote counts at once when Corosync says it for this very ring, and after D + T where it can't say so:
the store's group changed within a ring.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from store_world import D_SECONDS, SETTLE_SECONDS, Node, World

from kvorum.store.protocol import Ballot, BallotChanged, Clock, Event, MembersChanged

Ring = tuple[int, int]


@dataclass
class Word:
    """What one node's Corosync said last, and what its store made of it."""

    said: deque[tuple[int, Ring]] = field(default_factory=deque)
    """(vote, ring) on the way to the store, in order."""
    losing: bool = False
    """It has no way to QNetd, and did not notice yet."""
    heard: Ring | None = None
    """The ring for which the store heard the vote."""
    ring: Ring | None = None
    """The ring that the store was told of."""


class RingVotes(World):
    """``nacks_first`` off: a QNetd that gives the vote away before the others know (as lms does)."""

    nacks_first = True

    def __init__(self, seed: int, *, size: int | None = None, qdevice: bool | None = True) -> None:
        super().__init__(seed, size=size, qdevice=qdevice)
        self.words = {node: Word() for node in self.nodes}
        self.away = self.random.choice((0.0, 0.1, 0.4))
        """How often a node has no way to QNetd."""
        self.fickle = self.random.choice((0.0, 0.4))
        """How often QNetd decides anew before all is settled."""

    def step(self) -> None:
        """Much of what turns on the vote, less of the rest."""
        self.advance(self.random.uniform(0.1, 1.5) if self.random.random() < 0.05 else 0.01)
        roll = self.random.random()
        alive = self.alive()
        if roll < 0.02:
            self.split()
        elif roll < 0.03:
            self.decide()
        elif roll < 0.036 and alive:
            self.crash(self.random.choice(alive), power=self.random.random() < 0.6)
        elif roll < 0.05:
            for node in self.nodes.values():
                if node.replica is None:
                    self.start(node)
        elif roll < 0.056 and alive:
            self.freeze(self.random.choice(alive))
        for node in self.alive():
            for _ in range(3):
                self.random.choice((self.deliver, self.order, self.sync_some))(node)
            if self.random.random() < 0.1 and not node.frozen:
                self.request(node, "own")

    def split(self) -> None:
        """Two halves, or all together again."""
        ids = sorted(node.id for node in self.nodes.values() if node.powered)
        if len(self.sides) > 1 and self.random.random() < 0.5:
            self.reform([frozenset(ids)])
            return
        self.random.shuffle(ids)
        self.reform([frozenset(ids[: len(ids) // 2]), frozenset(ids[len(ids) // 2 :])])

    # QNetd

    def give_vote(self, chosen: frozenset[int]) -> None:
        self.grants += 1
        grant, self.holder = self.grants, chosen
        reaching = {n for n in self.nodes if self.nodes[n].powered and self.random.random() >= self.away}
        for node in self.nodes.values():
            if node.id not in reaching:
                self.loses(node)
            elif node.id not in chosen and self.nacks_first:
                self.say(node, 0)
            elif node.id not in chosen:
                self.later(self.random.uniform(0, 3 * D_SECONDS), lambda node=node: self.refused(node))
        self.later(self.random.uniform(0, 0.3), lambda: self.grant(grant, chosen, reaching))
        if self.random.random() < self.fickle:
            self.later(self.random.uniform(0.2, 1.5), self.decide)

    def refused(self, node: Node) -> None:
        if node.id not in self.holder:
            self.say(node, 0)

    def grant(self, grant: int, chosen: frozenset[int], reaching: set[int]) -> None:
        """The membership is stable once the side's ring has formed; ffsplit waits for that."""
        if grant != self.grants or chosen not in self.sides:
            return
        there = [self.nodes[n] for n in sorted(chosen) if self.nodes[n].powered]
        if any(node.stalled for node in there):
            self.later(0.1, lambda: self.grant(grant, chosen, reaching))
            return
        for node in there:
            if node.id in reaching:
                if self.words[node.id].losing:
                    self.say(node, 0)
                self.say(node, 1)

    def loses(self, node: Node) -> None:
        self.words[node.id].losing = True

        def noticed() -> None:
            if self.words[node.id].losing:
                self.say(node, 0)

        self.later(self.random.uniform(0, D_SECONDS), noticed)

    # Corosync

    def configure(self, group: frozenset[int], ring: Ring) -> None:
        for node in (self.nodes[n] for n in group):
            if node.ring == ring and ring != self.words[node.id].ring:
                self.later(D_SECONDS, lambda node=node: self.without_answer(node, ring))
        super().configure(group, ring)

    def without_answer(self, node: Node, ring: Ring) -> None:
        """``sync_timeout``: nobody answered for this ring."""
        if node.ring == ring and self.answered_for.get(node.id) != ring:
            self.say(node, 0)

    @property
    def answered_for(self) -> dict[int, Ring]:
        return self.__dict__.setdefault("_answered_for", {})

    def say(self, node: Node, vote: int) -> None:
        """Corosync tells its clients, who hear it in order and some time later."""
        word = self.words[node.id]
        word.losing = False
        node.qdevice = vote
        self.answered_for[node.id] = node.ring
        word.said.append((vote, node.ring))
        life = node.life
        self.later(self.random.choice((0.0, 0.01, 0.3)), lambda: self.hear(node, life))

    # The store, as CorosyncGroup tells it

    def hear(self, node: Node, life: int) -> None:
        if node.replica is None or node.life != life or node.frozen:
            return
        word = self.words[node.id]
        while word.said and node.replica is not None:
            vote, ring = word.said.popleft()
            word.heard = ring if vote else None
            self.tell(node, vote)

    def tell(self, node: Node, vote: int) -> None:
        word = self.words[node.id]
        ballot = Ballot(node.votes, self.total, vote, bool(vote) and word.heard == word.ring)
        if ballot != node.ballot:
            if vote and not ballot.settled:
                node.settle_at = self.now + SETTLE_SECONDS
            elif not vote or ballot.settled:
                node.settle_at = None
            node.ballot = ballot
            self.feed(node, BallotChanged(ballot))

    def set_vote(self, node: Node, vote: int) -> None:
        raise AssertionError("votes come by ``say``")

    def tell_vote(self, node: Node) -> None:
        self.hear(node, node.life)

    def feed(self, node: Node, event: Event) -> None:
        super().feed(node, event)
        if isinstance(event, MembersChanged) and node.joined and node.replica is not None:
            word = self.words[node.id]
            if event.ring == word.ring and word.heard == event.ring:
                word.heard = None  # the group changed within the ring: the vote counts after D + T
            word.ring = event.ring
            if node.ballot.qdevice and word.heard == event.ring:
                self.tell(node, 1)

    def thaw(self, node: Node, life: int) -> None:
        if node.replica is not None and node.life == life and node.frozen:
            node.frozen = False
            self.feed(node, Clock(self.now * node.rate))
            self.later(self.random.uniform(0, 0.3), lambda: self.hear(node, life))

    def start(self, node: Node) -> None:
        self.words[node.id] = Word()
        super().start(node)
        if node.qdevice and self.answered_for.get(node.id) == node.ring:
            self.words[node.id].heard = node.ring

    def crash(self, node: Node, *, power: bool) -> None:
        super().crash(node, power=power)
        if power:
            self.answered_for.pop(node.id, None)
