"""Replicas over a model of Corosync, with time: crashes, freezes, partitions, bad disks and a QDevice.

The model keeps what CPG promises and no more: messages of one ring arrive in one order; members that stay
together deliver the same messages before the next ring; a side that is cut off may miss the others' last
messages but not its own; what was not ordered yet goes out in the next ring. Who leaves or joins the group
does so within the ring. A crashed node loses what was not synced.

Whispers go past that order: late, out of order, twice or never, also across rings.

A ring takes up to T to form. The QDevice gives its vote to any side, or none, as it likes; who lost it may
believe for D that it still has it. A process that is not frozen handles what is there within a second.
"""

from __future__ import annotations

import heapq
import importlib.util
import itertools
import random
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kvorum.store import Expect, File, Write
from kvorum.store.database import take
from kvorum.store.protocol import (
    PAUSE_SECONDS,
    Answer,
    Ballot,
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
    Leave,
    Meet,
    MembersChanged,
    Multicast,
    Note,
    Outcome,
    Persist,
    Record,
    Rejoin,
    Replica,
    Request,
    StartTimer,
    StatusChanged,
    Stored,
    TimerExpired,
    Urge,
    Whisper,
    Whispered,
    Withdraw,
)
from kvorum.store.protocol.leases import Leases
from kvorum.store.protocol.member import Phase
from kvorum.store.tree import Tree

_spec = importlib.util.spec_from_file_location(
    "store_linearizable", Path(__file__).with_name("store_linearizable.py")
)
assert _spec is not None and _spec.loader is not None
checker = sys.modules.setdefault("store_linearizable", importlib.util.module_from_spec(_spec))
if not hasattr(checker, "linearizable"):
    _spec.loader.exec_module(checker)

D_SECONDS, T_SECONDS = 1.0, 0.5
SETTLE_SECONDS = D_SECONDS + T_SECONDS + PAUSE_SECONDS
LAG_SECONDS = 1.0
TICK_SECONDS = 0.5
URGE_SECONDS = 0.05
REACH = b"by datagram"
STABLE_SECONDS = 10.0
STEPS = 400
LEASES = ("a",)
LEASE_SECONDS = (1.5, 3.0, 5.0)
CLAIMS_FROM = 1_000_000
"""Where the numbers of claims begin."""
SHARED = tuple(f"shared/{number}" for number in range(6))


class Disk:
    """What survives a crash."""

    def __init__(self) -> None:
        self.stored = Stored(tree=Tree())

    def write(self, record: Record) -> None:
        take(self.stored, record)

    def read(self) -> Stored:
        old = self.stored
        tree = Tree()
        tree.patch((), old.tree.directories(), old.tree.files())
        return Stored(tree, old.version, old.last_view, old.view, dict(old.origins))


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event of the group on its way to a node; ``number`` and ``sender`` are 0 for a change of members."""

    number: int
    sender: int
    event: Event
    at: float


@dataclass
class Node:
    id: int
    votes: int
    ballot: Ballot
    disk: Disk = field(default_factory=Disk)
    replica: Replica | None = None
    life: int = 0
    powered: bool = False
    joined: bool = False
    frozen: bool = False
    stalled: bool = False
    """Its ring is being formed: nothing is ordered."""
    ring: tuple[int, int] = (0, 0)
    formed: frozenset[int] = frozenset()
    group: frozenset[int] = frozenset()
    inbox: deque[Arrival] = field(default_factory=deque)
    outbox: deque[tuple[bytes, float]] = field(default_factory=deque)
    unsynced: deque[tuple[Record, float]] = field(default_factory=deque)
    stuck_until: float = 0.0
    full: bool = False
    told_full: bool = False
    told: float = 0.0
    rate: float = 1.0
    """How fast its clock runs."""
    timer: tuple[float, int] | None = None
    qdevice: int = 0
    settle_at: float | None = None
    carried_out: set[tuple[str, bytes]] = field(default_factory=set)
    """What its present history has done, as far as this life has seen it done."""
    seen: dict[str, str | None] = field(default_factory=dict)
    """The files as this life has been told of them."""
    shared: dict[int, dict[str, str | None]] = field(default_factory=dict)
    """The shared files at each version this life has seen."""


@dataclass
class Right:
    """A lease as its owner believes to have it, in the world's time."""

    name: str
    owner: str
    until: float


@dataclass
class Asked:
    node: int
    kind: str
    path: str
    value: bytes
    expected: str | None
    expected_version: int
    asked_at: float
    answered_at: float | None = None
    outcome: Outcome | None = None
    seen: str | None = None
    never_was: bool = False
    """Whether a swap was refused since it expected what was dropped, whose like is there again: the same
    request's, carried out anew. To the checker both are one, so it is told nothing of the swap."""


class World:
    def __init__(self, seed: int, *, size: int | None = None, qdevice: bool | None = None) -> None:
        self.random = random.Random(seed)
        size = size or self.random.choice((2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9))
        votes = [self.random.choice((1, 1, 1, 2)) for _ in range(size)]
        if qdevice is None:
            qdevice = self.random.random() < (0.6 if size == 2 else 0.3)
        self.device = int(qdevice)
        self.total = sum(votes) + self.device
        self.nodes = {i + 1: Node(i + 1, v, Ballot(v, self.total)) for i, v in enumerate(votes)}
        for node in self.nodes.values():
            node.rate = self.random.uniform(0.99, 1.01)
        self.jumps = self.random.choice((0.03, 0.06, 0.2))
        """How often a second passes between two steps rather than a hundredth."""
        self.busy = self.random.choice((0.05, 0.15, 0.5))
        """How often a node that does something is asked for a change."""
        self.deaf = self.random.choice((0.0, 0.1, 0.5, 1.0))
        """How often a whisper is lost."""
        self.now = 0.0
        self.rings = 0
        self.messages = 0
        self.sides: list[frozenset[int]] = []
        self.holder: frozenset[int] = frozenset()
        self.grants = 0
        self.asked: dict[int, Asked] = {}
        self.claims: dict[int, tuple[Node, Right]] = {}
        self.rights: list[Right] = []
        self.counts: Counter[str] = Counter()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def begin(self) -> None:
        """All start together and write."""
        for node in self.nodes.values():
            self.start(node)
        self.reform([frozenset(self.nodes)])
        self.calm(2)
        assert all(node.replica is not None and node.replica.status.writable for node in self.nodes.values())

    # Time

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), what))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.now, _, what = heapq.heappop(self._due)
            what()
        self.now = until
        for node in self.alive():
            self.keep_pace(node)

    def keep_pace(self, node: Node) -> None:
        """What a node that is not frozen does in time, come what may."""
        while node.outbox and not node.stalled and self.now - node.outbox[0][1] > LAG_SECONDS:
            self.order(node)
        if node.frozen:
            return
        if self.now - node.told >= TICK_SECONDS:
            self.tell_time(node)
        while node.inbox and self.now - node.inbox[0].at > LAG_SECONDS:
            self.deliver(node)
        if node.unsynced and self.now - node.unsynced[0][1] > LAG_SECONDS:
            self.sync(node)
        if node.timer is not None and node.timer[0] <= self.now:
            number, node.timer = node.timer[1], None
            self.feed(node, TimerExpired(number))
        if node.settle_at is not None and node.settle_at <= self.now:
            node.settle_at = None
            node.ballot = Ballot(node.votes, self.total, node.qdevice, bool(node.qdevice))
            self.feed(node, BallotChanged(node.ballot))

    # What nodes do

    def tell_time(self, node: Node) -> None:
        assert node.replica is not None
        node.told = self.now
        self.carry_out(node, node.replica.step(Clock(self.now * node.rate)))

    def feed(self, node: Node, event: Event) -> None:
        """As the host does: the time first, when it was not told lately."""
        assert node.replica is not None
        if self.now - node.told >= TICK_SECONDS:
            self.tell_time(node)
            if not node.joined and isinstance(event, Deliver | MembersChanged):
                return
        if isinstance(event, MembersChanged):
            # The vote itself is told by an event of its own, and not lost here if it changed meanwhile.
            node.ballot = Ballot(node.votes, self.total, node.ballot.qdevice)
            node.settle_at = self.now + SETTLE_SECONDS if node.ballot.qdevice else None
        self.carry_out(node, node.replica.step(event))

    def carry_out(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Multicast(frames):
                    node.outbox.extend((frame, self.now) for frame in frames)
                case Whisper(to, frame):
                    for member in to:
                        self.whisper(node, self.nodes[member], frame)
                case Meet():
                    pass
                case Persist(record):
                    node.unsynced.append((record, self.now))
                    self.check_once(node, record)
                case StartTimer(number, seconds):
                    node.timer = (self.now + seconds, number)
                case Answer():
                    self.answered(node, effect)
                case Changed(version, changes):
                    # Not from the tree: it is ahead of the first of several changes in one message.
                    node.seen |= {change.path: _text(change.file) for change in changes}
                    node.shared[version] = {path: node.seen.get(path) for path in SHARED}
                case StatusChanged(status):
                    self.counts["views"] += status.writable
                    small = 2 * sum(self.nodes[n].votes for n in status.members) <= self.total
                    self.counts["views by the QDevice"] += status.writable and small
                case Withdraw():
                    self.counts["withdrawn"] += 1
                    self.leave(node)
                case Rejoin():
                    self.later(self.random.uniform(0, 0.5), lambda life=node.life: self.join(node, life))
                case LeaseTaken():
                    self.counts["leases heard of"] += 1
                case Leave(text) | Note(text):
                    raise AssertionError(text)

    def whisper(self, node: Node, to: Node, data: bytes) -> None:
        """Past the order: a datagram, which may overtake all else, come twice, or be lost."""
        life = to.life

        def arrive() -> None:
            together = any({node.id, to.id} <= side for side in self.sides)
            if not (together and to.life == life and to.replica is not None and to.joined):
                return
            if to.frozen:
                self.later(0.3, arrive)  # it waits in the socket
            else:
                self.counts["whispers"] += 1
                self.feed(to, Whispered(node.id, data))

        for _ in range(self.random.choice((1, 1, 1, 2)) if self.random.random() > self.deaf else 0):
            self.later(self.random.choice((0.0, 0.01, 0.01, 0.1, 3.0)), arrive)

    def urge(self, node: Node, life: int, number: int, seconds: float) -> None:
        """As the host does: less and less often, while the request waits."""
        if node.life == life and node.replica is not None and self.asked[number].outcome is None:
            if not node.frozen:
                self.feed(node, Urge())
            self.later(2 * seconds, lambda: self.urge(node, life, number, 2 * seconds))

    def check_once(self, node: Node, record: Record) -> None:
        if record.origins is not None and record.changes:
            node.carried_out.clear()  # took over another history
        for change in record.changes if record.origin is not None else ():
            if change.file is not None:
                key = (change.path, change.file.data)
                assert key not in node.carried_out, f"{change.path} was written twice by one request"
                node.carried_out.add(key)

    def answered(self, node: Node, answer: Answer) -> None:
        if answer.id >= CLAIMS_FROM:
            self.claim_answered(answer)
            return
        asked = self.asked[answer.id]
        assert asked.outcome is None, "answered twice"
        asked.outcome, asked.answered_at = answer.outcome, self.now
        self.counts[answer.outcome.value] += 1
        if answer.outcome is Outcome.CONFLICT:
            assert node.replica is not None
            there = node.replica.tree.read(asked.path)
            alike = there is not None and _text(there) == asked.expected
            asked.never_was = alike and there.version != asked.expected_version
        if answer.outcome is not Outcome.DONE:
            return
        if asked.kind == "read":
            asked.seen = node.shared[answer.version][asked.path]
        if asked.path.startswith("own"):
            holding = sum(
                node.votes
                for node in self.nodes.values()
                if (file := node.disk.stored.tree.read(asked.path)) and file.data == asked.value
            )
            assert 2 * (holding + self.device) > self.total, (
                f"{asked.path} was acknowledged with {holding} of {self.total} votes"
            )

    def request(self, node: Node, kind: str | None = None) -> int:
        assert node.replica is not None
        number = len(self.asked) + 1
        kind = kind or self.random.choice(("own", "own", "own", "write", "write", "read", "swap"))
        path = f"own/{number}" if kind == "own" else self.random.choice(SHARED)
        value = f"{number}".encode() * self.random.choice((1, 1, 1, 100))
        file = node.replica.tree.read(path) if kind == "swap" else None
        version = file.version if file else 0
        self.asked[number] = Asked(node.id, kind, path, value, _text(file), version, self.now)
        writes = (Write(path, value),) if kind != "read" else ()
        expect = ()
        if kind == "swap":
            expect = (Expect.of(file) if file else Expect(path, None),)
        life = node.life
        self.feed(node, Request(number, writes, expect, "test", self.now))

        def cancel() -> None:
            if node.life == life and node.replica is not None:
                self.feed(node, Cancel(number))

        self.later(self.random.uniform(3, 20), cancel)
        self.later(URGE_SECONDS, lambda: self.urge(node, life, number, URGE_SECONDS))
        return number

    def claim(self, node: Node) -> None:
        """Ask for a lease, or for more of it, or let it go; who holds one may outlive its store."""
        number = CLAIMS_FROM + len(self.claims)
        name, owner = self.random.choice(LEASES), f"n{node.id}"
        mine = [right for right in self.rights if (right.name, right.owner) == (name, owner)]
        ending = bool(mine) and self.random.random() < 0.2
        seconds = 0.0 if ending else self.random.choice(LEASE_SECONDS)
        for right in mine if ending else ():
            right.until = min(right.until, self.now)
        self.claims[number] = node, Right(name, owner, self.now + seconds / node.rate)
        self.feed(node, Claim(number, name, owner, seconds))

    def claim_answered(self, answer: Answer) -> None:
        _, right = self.claims[answer.id]
        self.counts[f"lease {answer.outcome.value}"] += 1
        if answer.outcome is Outcome.DONE:
            for other in self.rights:
                both = other.name == right.name and other.owner != right.owner
                assert not (both and min(other.until, right.until) > self.now), (
                    f"{other.owner} and {right.owner} both hold {right.name} at {self.now}: {other}, {right}"
                )
            self.rights.append(right)

    def deliver(self, node: Node) -> None:
        if node.inbox and not node.frozen:
            self.feed(node, node.inbox.popleft().event)

    def order(self, node: Node) -> None:
        if node.outbox and not node.stalled and node.joined:
            self.messages += 1
            frame, _ = node.outbox.popleft()
            for member in node.group:
                arrival = Arrival(self.messages, node.id, Deliver(node.id, frame), self.now)
                self.nodes[member].inbox.append(arrival)

    def sync(self, node: Node, most: int = 99) -> None:
        if node.frozen or self.now < node.stuck_until or not node.unsynced:
            return
        if node.full:
            if not node.told_full:
                node.told_full = True
                self.feed(node, DiskRefused("the disk is full"))
            return
        serial = 0
        for _ in range(min(most, len(node.unsynced))):
            record, _ = node.unsynced.popleft()
            node.disk.write(record)
            serial = record.serial
        self.feed(node, DiskSynced(serial))

    # The group and the ring

    def leave(self, node: Node) -> None:
        """Leave the group within the ring: what was handed over goes out before."""
        for _ in range(self.random.randint(0, len(node.outbox))):
            self.order(node)
        node.joined = False
        node.inbox.clear()
        node.outbox.clear()
        others, node.group = node.group - {node.id}, frozenset()
        if not node.stalled:
            self.configure(others, node.ring)

    def join(self, node: Node, life: int) -> None:
        if node.replica is None or node.joined or node.life != life:
            return
        node.joined = True
        if not node.stalled:
            present = {n for n in node.formed if self.nodes[n].joined and not self.nodes[n].stalled}
            self.configure(frozenset(present), node.ring)

    def configure(self, group: frozenset[int], ring: tuple[int, int]) -> None:
        members = frozenset((node, self.nodes[node].life) for node in group)
        for member in group:
            node = self.nodes[member]
            node.group, node.ring = group, ring
            node.inbox.append(Arrival(0, 0, MembersChanged(ring, members, self.now, REACH), self.now))

    def reform(self, sides: list[frozenset[int]]) -> None:
        """The network is now these sides: each that is another than before forms a ring."""
        self.sides = [side for side in sides if side]
        for side in self.sides:
            if any(self.nodes[n].formed != side or self.nodes[n].stalled for n in side):
                for node in (self.nodes[n] for n in side):
                    for _ in range(self.random.randint(0, len(node.outbox))):
                        self.order(node)  # on its way when the net broke
                    node.stalled = True
                self.later(self.random.uniform(0.01, T_SECONDS), lambda side=side: self.form(side))
        if self.device:
            self.later(self.random.uniform(0, 1), self.decide)

    def form(self, side: frozenset[int]) -> None:
        if side not in self.sides or not any(self.nodes[n].stalled for n in side):
            return
        group = frozenset(n for n in side if self.nodes[n].joined)
        parts = {self.nodes[n].group & group for n in group} - {frozenset()}
        for part in parts:
            self.lose_others_last(part)
        for part in parts:
            ring = self.nodes[min(part)].ring
            if self.random.random() < 0.5:
                self.configure(part, ring)
            if self.random.random() < 0.5:
                self.tell_group_before_ring(part, group, ring)
        self.rings += 1
        for n in side:
            self.nodes[n].stalled, self.nodes[n].formed = False, side
            self.nodes[n].ring = (min(side), self.rings)
        self.configure(group, (min(side), self.rings))

    def tell_group_before_ring(
        self, part: frozenset[int], group: frozenset[int], ring: tuple[int, int]
    ) -> None:
        """Corosync tells the group's new members before the new ring."""
        members = frozenset((node, self.nodes[node].life) for node in group)
        for n in part:
            self.nodes[n].inbox.append(
                Arrival(0, 0, MembersChanged(ring, members, self.now, REACH), self.now)
            )

    def lose_others_last(self, part: frozenset[int]) -> None:
        """A side agrees on how much of the others' last messages it still got."""
        inboxes = [self.nodes[node].inbox for node in sorted(part)]
        common = set.intersection(*({a.number for a in inbox if a.number} for inbox in inboxes))
        newest_change = max((n for inbox in inboxes for n in _before_last_change(inbox)), default=0)
        common = {number for number in common if number > newest_change}
        cut = self.random.choice(sorted(common)) if common and self.random.random() < 0.7 else None
        if cut is None:
            return
        for inbox in inboxes:
            kept = [a for a in inbox if a.number < cut or a.sender in part]
            inbox.clear()
            inbox.extend(kept)

    # The QDevice

    def decide(self) -> None:
        """Give the vote to a side; the others lose it, and learn so within D."""
        chosen = self.random.choice(self.sides) if self.sides and self.random.random() < 0.85 else frozenset()
        self.give_vote(chosen)

    def give_vote(self, chosen: frozenset[int]) -> None:
        self.grants += 1
        grant, self.holder = self.grants, chosen
        for node in self.nodes.values():

            def granted(node: Node = node) -> None:
                if grant == self.grants and node.powered:
                    self.set_vote(node, 1)

            def lost(node: Node = node) -> None:
                if node.id not in self.holder:
                    self.set_vote(node, 0)

            if node.id in chosen:
                self.later(self.random.uniform(0, 0.3), granted)
            else:
                self.later(self.random.uniform(0, D_SECONDS), lost)

    def set_vote(self, node: Node, vote: int) -> None:
        if node.qdevice != vote:
            node.qdevice = vote
            if node.replica is not None and not node.frozen:
                self.tell_vote(node)

    def tell_vote(self, node: Node) -> None:
        if node.ballot.qdevice != node.qdevice:
            node.ballot = Ballot(node.votes, self.total, node.qdevice)
            node.settle_at = self.now + SETTLE_SECONDS if node.qdevice else None
            self.feed(node, BallotChanged(node.ballot))

    def tell_vote_late(self, node: Node, life: int) -> None:
        if node.replica is not None and node.life == life and not node.frozen:
            self.tell_vote(node)

    # What happens to them

    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.replica is not None]

    def crash(self, node: Node, *, power: bool) -> None:
        if not node.stalled and node.joined:
            for _ in range(self.random.randint(0, len(node.outbox))):
                self.order(node)
        if not node.full and self.now >= node.stuck_until:
            for _ in range(self.random.randint(0, len(node.unsynced))):
                node.disk.write(node.unsynced.popleft()[0])
        for asked in self.asked.values():
            if asked.node == node.id and asked.outcome is None:
                asked.outcome = Outcome.UNKNOWN
        node.replica, node.timer, node.settle_at = None, None, None
        node.frozen = node.joined = node.told_full = False
        others, node.group = node.group - {node.id}, frozenset()
        node.inbox.clear()
        node.outbox.clear()
        node.unsynced.clear()
        if power:
            node.powered, node.qdevice, node.formed = False, 0, frozenset()
            self.reform([side - {node.id} for side in self.sides])
        elif not node.stalled:
            self.configure(others, node.ring)

    def start(self, node: Node) -> None:
        node.life += 1
        node.carried_out.clear()
        node.shared.clear()
        node.seen = {file.path: _text(file) for file in node.disk.stored.tree.files()}
        node.told = self.now
        node.ballot = Ballot(node.votes, self.total, node.qdevice)
        name = f"n{node.id}"
        node.replica = Replica(
            node.id, name, f"{name}/{node.life}", node.disk.read(), node.ballot, Leases(max(LEASE_SECONDS))
        )
        node.replica.step(Clock(self.now * node.rate))
        if node.powered:
            self.join(node, node.life)
        else:
            node.powered, node.stalled, node.joined = True, True, True
            side = self.random.choice([*self.sides, frozenset()])
            self.reform([*(s for s in self.sides if s != side), side | {node.id}])

    def freeze(self, node: Node) -> None:
        if not node.frozen:
            node.frozen, life = True, node.life
            self.later(self.random.choice((0.3, 1.5, 3.0, 8.0)), lambda: self.thaw(node, life))

    def thaw(self, node: Node, life: int) -> None:
        if node.replica is not None and node.life == life and node.frozen:
            node.frozen = False
            self.feed(node, Clock(self.now * node.rate))
            self.later(self.random.uniform(0, 0.3), lambda: self.tell_vote_late(node, life))

    def partition(self) -> None:
        ids = [node.id for node in self.nodes.values() if node.powered]
        self.random.shuffle(ids)
        cuts = self.random.randint(0, min(2, len(ids) - 1)) if ids else 0
        places = sorted(self.random.sample(range(1, len(ids)), cuts)) if cuts else []
        self.reform([frozenset(ids[a:b]) for a, b in zip([0, *places], [*places, len(ids)], strict=True)])

    def spoil_disk(self, node: Node) -> None:
        if self.random.random() < 0.5:
            node.stuck_until = self.now + self.random.choice((1.0, 4.0, 7.0, 12.0))
        else:
            node.full = True
            self.later(self.random.uniform(0.5, 6), lambda: self.mend_disk(node))

    def mend_disk(self, node: Node) -> None:
        node.full = node.told_full = False
        node.stuck_until = 0.0

    def step(self) -> None:
        jump = self.random.random() < self.jumps
        self.advance(self.random.uniform(0.1, 1.5) if jump else self.random.expovariate(100))
        roll = self.random.random()
        alive = self.alive()
        if roll < 0.012:
            self.partition()
        elif roll < 0.02 and alive:
            self.crash(self.random.choice(alive), power=self.random.random() < 0.6)
        elif roll < 0.04:
            dead = [node for node in self.nodes.values() if node.replica is None]
            if dead:
                self.start(self.random.choice(dead))
        elif roll < 0.048 and alive:
            self.freeze(self.random.choice(alive))
        elif roll < 0.054 and alive:
            self.spoil_disk(self.random.choice(alive))
        elif roll < 0.06 and self.device:
            self.decide()
        elif alive:
            node = self.random.choice(alive)
            for _ in range(self.random.randint(1, 8)):
                self.random.choice((self.deliver, self.deliver, self.order, self.sync_some))(node)
            if self.random.random() < self.busy and not node.frozen:
                self.request(node)
            if self.random.random() < self.busy and not node.frozen:
                self.claim(node)

    def sync_some(self, node: Node) -> None:
        self.sync(node, self.random.randint(1, 3))

    def calm(self, seconds: float) -> None:
        """No fault for so long; everything is handled at once."""
        until = self.now + seconds
        while self.now < until:
            busy = False
            for node in self.alive():
                busy = busy or bool(node.inbox or node.outbox or node.unsynced)
                for _ in range(4):
                    self.order(node)
                    self.deliver(node)
                self.sync(node)
            self.advance(0.01 if busy else 0.1)

    # What must hold

    def mend(self) -> None:
        """End all faults but the partition and the dead."""
        for node in self.nodes.values():
            self.mend_disk(node)
            self.thaw(node, node.life)

    def check_stable_partition(self) -> None:
        """Once a side with a majority of votes is stable for 10 s, every write in it succeeds."""
        self.mend()
        self.calm(STABLE_SECONDS + T_SECONDS)
        for side in self.sides:
            there = [self.nodes[n] for n in side if self.nodes[n].replica is not None]
            if 2 * sum(node.votes for node in there) > self.total:
                self.counts["stable sides"] += 1
                self.check_writes_succeed(there)

    def check_writes_succeed(self, nodes: list[Node]) -> None:
        late = [self.request(node, "own") for node in nodes]
        self.calm(1.0)
        for number, node in zip(late, nodes, strict=True):
            assert node.replica is not None
            assert self.asked[number].outcome is Outcome.DONE, (
                f"n{node.id} does not write after {STABLE_SECONDS:g} s of rest: {node.replica.status}, "
                f"{node.replica.phase}"
            )

    def heal_and_check(self) -> None:
        self.mend()
        for node in self.nodes.values():
            if node.replica is None:
                self.start(node)
        everyone = frozenset(self.nodes)
        self.reform([everyone])
        self.give_vote(everyone if self.device else frozenset())
        self.calm(STABLE_SECONDS)
        self.check_writes_succeed(list(self.nodes.values()))
        self.calm(21)  # callers give up at last
        replicas = [node.replica for node in self.nodes.values() if node.replica]
        assert all(replica.phase is Phase.ACTIVE for replica in replicas)
        assert len({(r.version, r.view.number, r.root) for r in replicas}) == 1, "healed replicas differ"
        assert all(asked.outcome is not None for asked in self.asked.values()), "a request got no answer"
        for node in self.nodes.values():
            assert {f.path: f for f in node.disk.stored.tree.files()} == {
                f.path: f for f in replicas[0].tree.files()
            }, "a disk differs from memory"
        self.check_history(replicas[0].tree)

    def check_history(self, tree: Tree) -> None:
        for asked in self.asked.values():
            file = tree.read(asked.path)
            if asked.kind != "own":
                continue
            if asked.outcome is Outcome.DONE:
                assert file is not None, f"{asked.path} was acknowledged and is lost"
            elif asked.outcome in (Outcome.NO_QUORUM, Outcome.CONFLICT):
                assert file is None, f"{asked.path} was refused and happened all the same"
        for path in SHARED:
            history = [op for a in self.asked.values() if a.path == path and (op := _operation(a))]
            try:
                assert checker.linearizable(history, _text(tree.read(path))), f"{path} is not linearizable"
                self.counts["histories decided"] += 1
            except checker.Undecided:
                self.counts["histories too long"] += 1


def _operation(asked: Asked) -> object | None:
    """What the checker is told; nothing of what had no effect and saw nothing."""
    kind = "swap" if asked.kind == "swap" else "read" if asked.kind == "read" else "write"
    value = asked.seen if kind == "read" else asked.value.decode()
    end = asked.answered_at
    match asked.outcome:
        case Outcome.NO_QUORUM:
            return None
        case Outcome.CONFLICT:
            if asked.never_was:
                return None
            kind = "failed swap"
        case Outcome.UNKNOWN:
            if kind == "read":
                return None
            end = None
    return checker.Operation(kind, asked.asked_at, end, value, asked.expected)


def _text(file: File | None) -> str | None:
    return None if file is None else file.data.decode()


def _before_last_change(inbox: deque[Arrival]) -> list[int]:
    """Messages of earlier configurations, which this change can't touch."""
    events = list(inbox)
    last = max((i for i, a in enumerate(events) if a.number == 0), default=-1)
    return [a.number for a in events[:last] if a.number]


def run(seed: int, *, steps: int = STEPS, size: int | None = None, qdevice: bool | None = None) -> World:
    """One walk: faults, then sometimes a stable partition, then everything heals; raises when one fails."""
    return walk(World(seed, size=size, qdevice=qdevice), steps=steps)


def walk(world: World, *, steps: int = STEPS) -> World:
    """The same in a world of one's own."""
    together = world.random.random() < 0.8
    for node in world.nodes.values():
        world.start(node)
    if together:
        world.reform([frozenset(world.nodes)])
        world.calm(1)
    for _ in range(steps):
        world.step()
    if world.random.random() < 0.5:
        world.check_stable_partition()
    world.heal_and_check()
    return world
