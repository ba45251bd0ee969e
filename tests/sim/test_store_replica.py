"""Replicas over a model of Corosync's closed process groups, with crashes, partitions and merges.

The model keeps what CPG promises and no more: messages of one configuration arrive in one order; members that
stay together deliver the same messages before the next configuration; a side that is cut off may miss the
others' last messages but not its own; what was not ordered yet goes out in the next configuration. A crashed
node loses what was not synced. A failing seed is printed and replays.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from kvorum.store import Write
from kvorum.store.protocol import (
    Answer,
    Ballot,
    Deliver,
    DiskSynced,
    Effect,
    Event,
    MembersChanged,
    Multicast,
    Outcome,
    Persist,
    Record,
    Replica,
    Request,
    StartTimer,
    Stored,
    TimerExpired,
)
from kvorum.store.protocol.replica import Phase
from kvorum.store.tree import Tree

SEEDS = 300
STEPS = 400


class Disk:
    """What survives a crash."""

    def __init__(self) -> None:
        self.stored = Stored(tree=Tree())

    def write(self, record: Record) -> None:
        stored = self.stored
        files = [change.file for change in record.changes if change.file is not None]
        directories = [change.path for change in record.changes if change.directory]
        gone = [c.path for c in record.changes if c.file is None and not c.directory]
        stored.tree.patch(gone, directories, files)
        stored.version, stored.last_view = record.version, record.last_view
        stored.view = record.view or stored.view
        if record.origins is not None:
            stored.origins = dict(record.origins)
        if record.origin is not None:
            stored.origins[record.origin[0]] = record.origin[1]

    def read(self) -> Stored:
        old = self.stored
        tree = Tree()
        tree.patch((), old.tree.directories(), old.tree.files())
        return Stored(tree, old.version, old.last_view, old.view, dict(old.origins))


@dataclass
class Node:
    id: int
    ballot: Ballot
    disk: Disk = field(default_factory=Disk)
    replica: Replica | None = None
    life: int = 0
    inbox: deque[tuple[int, int, Event]] = field(default_factory=deque)
    """(message number or 0, sender, event)"""
    outbox: deque[bytes] = field(default_factory=deque)
    unsynced: deque[Record] = field(default_factory=deque)
    timer: int | None = None
    group: frozenset[int] = frozenset()
    carried_out: set[tuple[str, bytes]] = field(default_factory=set)
    """What its present history has done, as far as this life has seen it done."""


@dataclass
class Asked:
    node: int
    path: str
    value: bytes
    asked_at: int
    answered_at: int | None = None
    outcome: Outcome | None = None


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        size = self.random.randint(2, 5)
        votes = [self.random.choice((1, 1, 1, 2)) for _ in range(size)]
        total = sum(votes)
        self.nodes = {i + 1: Node(i + 1, Ballot(votes=v, expected=total)) for i, v in enumerate(votes)}
        self.total = total
        self.ring = 0
        self.message = 0
        self.time = 0
        self.asked: dict[int, Asked] = {}

    # What nodes do

    def feed(self, node: Node, event: Event) -> None:
        assert node.replica is not None
        self.carry_out(node, node.replica.step(event))

    def carry_out(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Multicast(frames):
                    node.outbox.extend(frames)
                case Persist(record):
                    node.unsynced.append(record)
                    self.check_once(node, record)
                case StartTimer(number, _):
                    node.timer = number
                case Answer(request_id, outcome):
                    self.answered(self.asked[request_id], outcome)

    def check_once(self, node: Node, record: Record) -> None:
        if record.origins is not None and record.changes:
            node.carried_out.clear()  # took over another history
        for change in record.changes if record.origin is not None else ():
            if change.file is not None:
                key = (change.path, change.file.data)
                assert key not in node.carried_out, f"{change.path} was written twice by one request"
                node.carried_out.add(key)

    def answered(self, asked: Asked, outcome: Outcome) -> None:
        assert asked.outcome is None, "answered twice"
        asked.outcome, asked.answered_at = outcome, self.time
        if outcome is Outcome.DONE and asked.path.startswith("own"):
            holding = sum(
                node.ballot.votes
                for node in self.nodes.values()
                if (file := node.disk.stored.tree.read(asked.path)) and file.data == asked.value
            )
            assert 2 * holding > self.total, (
                f"{asked.path} was acknowledged with {holding} of {self.total} votes"
            )

    def request(self, node: Node) -> int:
        number = len(self.asked) + 1
        path = f"own/{number}" if self.random.random() < 0.5 else f"shared/{self.random.randint(1, 2)}"
        value = f"{number}".encode() * self.random.choice((1, 1, 1, 100))
        self.asked[number] = Asked(node.id, path, value, self.time)
        self.feed(node, Request(number, (Write(path, value),), (), "test", float(self.time)))
        return number

    def deliver(self, node: Node) -> None:
        if node.inbox:
            self.feed(node, node.inbox.popleft()[2])

    def order(self, node: Node) -> None:
        if node.outbox:
            self.message += 1
            frame = node.outbox.popleft()
            for member in node.group:
                self.nodes[member].inbox.append((self.message, node.id, Deliver(node.id, frame)))

    def sync(self, node: Node, most: int = 99) -> None:
        serial = 0
        for _ in range(min(most, len(node.unsynced))):
            record = node.unsynced.popleft()
            node.disk.write(record)
            serial = record.serial
        if serial:
            self.feed(node, DiskSynced(serial))

    def fire(self, node: Node) -> None:
        if node.timer is not None:
            number, node.timer = node.timer, None
            self.feed(node, TimerExpired(number))

    # What happens to them

    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.replica is not None]

    def crash(self, node: Node) -> None:
        for _ in range(self.random.randint(0, len(node.outbox))):
            self.order(node)
        for _ in range(self.random.randint(0, len(node.unsynced))):
            node.disk.write(node.unsynced.popleft())
        for asked in self.asked.values():
            if asked.node == node.id and asked.outcome is None:
                asked.outcome = Outcome.UNKNOWN
        node.replica, node.timer = None, None
        group = node.group - {node.id}
        for queue in (node.inbox, node.outbox, node.unsynced):
            queue.clear()
        node.group = frozenset()
        if group:
            self.regroup([group])

    def start(self, node: Node) -> None:
        node.life += 1
        node.carried_out.clear()
        name = f"n{node.id}"
        node.replica = Replica(node.id, name, f"{name}/{node.life}", node.disk.read(), node.ballot)
        node.group = frozenset()
        self.regroup([frozenset({node.id})])

    def regroup(self, groups: list[frozenset[int]]) -> None:
        for group in groups:
            parts = {self.nodes[node].group & group for node in group}
            for part in parts:
                if part:
                    self.lose_others_last(part)
        for group in groups:
            self.ring += 1
            members = frozenset((node, self.nodes[node].life) for node in group)
            event = MembersChanged((min(group), self.ring), members, float(self.time))
            for member in group:
                self.nodes[member].group = group
                self.nodes[member].inbox.append((0, 0, event))

    def lose_others_last(self, part: frozenset[int]) -> None:
        """A side agrees on how much of the others' last messages it still got."""
        inboxes = [self.nodes[node].inbox for node in sorted(part)]
        common = set.intersection(*({n for n, _, _ in inbox if n} for inbox in inboxes))
        newest_change = max((i for inbox in inboxes for i in self.before_last_change(inbox)), default=0)
        common = {number for number in common if number > newest_change}
        cut = self.random.choice(sorted(common)) if common and self.random.random() < 0.7 else None
        if cut is None:
            return
        for inbox in inboxes:
            kept = [m for m in inbox if m[0] < cut or m[1] in part]
            inbox.clear()
            inbox.extend(kept)

    @staticmethod
    def before_last_change(inbox: deque[tuple[int, int, Event]]) -> list[int]:
        """Messages of earlier configurations, which this change can't touch."""
        events = list(inbox)
        last = max((i for i, m in enumerate(events) if m[0] == 0), default=-1)
        return [m[0] for m in events[:last] if m[0]]

    def partition(self) -> None:
        ids = [node.id for node in self.alive()]
        self.random.shuffle(ids)
        cuts = self.random.randint(0, min(2, len(ids) - 1)) if ids else 0
        places = sorted(self.random.sample(range(1, len(ids)), cuts)) if cuts else []
        groups = [frozenset(ids[a:b]) for a, b in zip([0, *places], [*places, len(ids)], strict=True)]
        if self.random.random() < 0.5:
            stays = [self.nodes[n].group & g for g in groups for n in g]
            self.regroup(list(dict.fromkeys(s for s in stays if s)))
        self.regroup([group for group in groups if group])

    def step(self) -> None:
        self.time += 1
        roll = self.random.random()
        if roll < 0.01:
            self.partition()
        elif roll < 0.02 and self.alive():
            self.crash(self.random.choice(self.alive()))
        elif roll < 0.04:
            dead = [node for node in self.nodes.values() if node.replica is None]
            if dead:
                self.start(self.random.choice(dead))
        elif roll < 0.045 and self.alive():
            self.fire(self.random.choice(self.alive()))
        elif self.alive():
            node = self.random.choice(self.alive())
            for _ in range(self.random.randint(1, 8)):
                self.random.choice((self.deliver, self.deliver, self.order, self.sync_one))(node)
            if self.random.random() < 0.1:
                self.request(node)

    def sync_one(self, node: Node) -> None:
        self.sync(node, self.random.randint(1, 3))

    def settle(self) -> None:
        for _ in range(5000):
            self.time += 1
            busy = False
            for node in self.alive():
                busy = busy or bool(node.inbox or node.outbox or node.unsynced)
                self.order(node)
                self.deliver(node)
                self.sync(node)
            if not busy:
                return
        raise AssertionError("the group never came to rest")

    # What must hold

    def heal_and_check(self) -> None:
        for node in self.nodes.values():
            if node.replica is None:
                self.start(node)
        self.regroup([frozenset(self.nodes)])
        self.settle()
        late = [self.request(node) for node in self.alive()]
        self.settle()
        assert all(self.asked[number].outcome is Outcome.DONE for number in late), "a healed cluster refuses"
        replicas = [node.replica for node in self.nodes.values() if node.replica]
        assert all(replica.phase is Phase.ACTIVE for replica in replicas)
        assert len({(r.version, r.view.number, r.root) for r in replicas}) == 1, "healed replicas differ"
        assert all(asked.outcome is not None for asked in self.asked.values()), "a request got no answer"
        for node in self.nodes.values():
            assert {f.path: f for f in node.disk.stored.tree.files()} == {
                f.path: f for f in replicas[0].tree.files()
            }, "a disk differs from memory"
        self.check_writes(replicas[0].tree)

    def check_writes(self, tree: Tree) -> None:
        by_value = {(a.path, a.value): a for a in self.asked.values()}
        done = [a for a in self.asked.values() if a.outcome is Outcome.DONE]
        for asked in done:
            file = tree.read(asked.path)
            assert file is not None, f"{asked.path} was acknowledged and is lost"
            last = by_value[asked.path, file.data]
            later = last.answered_at is not None and last.answered_at < asked.asked_at
            assert not later, f"{asked.path} holds an older value than the acknowledged {asked.value!r}"
        for asked in self.asked.values():
            file = tree.read(asked.path)
            if asked.outcome in (Outcome.NO_QUORUM, Outcome.CONFLICT) and file is not None:
                assert file.data != asked.value, f"{asked.path} was refused and happened all the same"


def run(seed: int, steps: int = STEPS) -> World:
    world = World(seed)
    for node in world.nodes.values():
        world.start(node)
    if world.random.random() < 0.8:
        world.regroup([frozenset(world.nodes)])
        world.settle()
    for _ in range(steps):
        world.step()
    world.heal_and_check()
    return world


@pytest.mark.parametrize("block", range(6))
def test_no_acknowledged_write_is_lost_under_crashes_and_partitions(block: int) -> None:
    done = 0
    for seed in range(block * SEEDS // 6, (block + 1) * SEEDS // 6):
        try:
            world = run(seed)
        except Exception:
            print(f"seed {seed}")
            raise
        done += sum(asked.outcome is Outcome.DONE for asked in world.asked.values())
    assert done > SEEDS, "hardly any write succeeded: the simulation shows nothing"
