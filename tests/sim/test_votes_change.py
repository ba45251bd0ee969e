"""A change of votes, with a power cut or a partition after each of its steps: wholly in or wholly out.

The world is small: nodes with a disk (the store's copy, corosync.conf, the trial) and a Corosync that counts
votes by what it runs and throws out who comes with an older version. What the nodes decide is the product's
own (``judge``, ``trial``); in which order they take their steps is the seed's. CI draws a sample of walks,
KVORUM_SOAK takes all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import pytest

from kvorum.cluster.trial import COME_BACK_S, Seen, Trial, Verdict, decide, taken_back
from kvorum.corosync import Configuration, ConfiguredNode, judge, new_cluster

CHANGES = [
    ((1, 1), (2, 1)),
    ((2, 1), (1, 1)),
    ((2, 1), (3, 1)),
    ((1, 1, 1), (2, 1, 1)),
    ((2, 1, 1), (1, 1, 1)),
    ((2, 1, 1), (2, 2, 1)),
    ((1, 1, 1, 1), (2, 1, 1, 1)),
    ((1, 1, 1, 1, 1), (1, 1, 1, 1, 0)),
]
SOAK = bool(os.environ.get("KVORUM_SOAK"))
WALKS = 60
"""Walks of each change in CI."""
SEEDS = range(20)
STEPS_MOST = 400


def configuration(votes: tuple[int, ...], version: int) -> Configuration:
    nodes = [ConfiguredNode(f"n{i}", i, v, {0: f"10.0.0.{i}"}) for i, v in enumerate(votes, 1)]
    made = new_cluster("home", nodes[0])
    for node in nodes[1:]:
        made = made.with_node(node)
    return made.with_version(version)


@dataclass
class Node:
    """What outlives a power cut is ``store``, ``file`` and ``trial``."""

    number: int
    store: Configuration
    file: Configuration
    trial: Trial | None = None
    running: Configuration | None = None
    since: float = 0.0
    up: bool = True


@dataclass
class World:
    nodes: dict[int, Node]
    sides: list[frozenset[int]]
    chance: random.Random
    now: float = 0.0
    log: list[str] = field(default_factory=list)

    # Corosync

    def members(self, side: frozenset[int]) -> list[Node]:
        return [self.nodes[n] for n in sorted(side) if self.nodes[n].up and self.nodes[n].running]

    def side_of(self, node: Node) -> frozenset[int]:
        return next(side for side in self.sides if node.number in side)

    def quorate(self, side: frozenset[int]) -> bool:
        """Each member casts the votes that its own configuration gives it; the most expected counts."""
        here = self.members(side)
        expected = max((m.running.total_votes for m in here if m.running), default=1)
        votes = sum(
            node.votes for m in here if m.running for node in m.running.nodes if node.nodeid == m.number
        )
        return 2 * votes > expected

    def meet(self) -> None:
        """A membership is formed: older versions are thrown out; a quorate one brings its store together."""
        for side in self.sides:
            here = self.members(side)
            newest = max((m.running.config_version for m in here if m.running), default=0)
            for member in here:
                if member.running and member.running.config_version < newest:
                    member.running = None
            if self.quorate(side):
                lead = max((m.store for m in self.members(side)), key=lambda c: c.config_version)
                for member in self.members(side):
                    member.store = lead

    # the faults

    def cut_power(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            self.nodes[number].up, self.nodes[number].running = False, None
        self.meet()

    def split(self, numbers: tuple[int, ...]) -> None:
        one = frozenset(numbers)
        self.sides = [one, frozenset(self.nodes) - one]
        self.meet()

    def mend(self) -> None:
        self.sides = [frozenset(self.nodes)]
        for node in self.nodes.values():
            if not node.up:
                node.up, node.running, node.since = True, node.file, self.now
        self.meet()

    # what each node's pvedaemon does: one step at a time

    def step(self) -> bool:
        """One step of one node, whichever is next by chance; whether there was any."""
        ready = [node for node in self.nodes.values() if node.up]
        self.chance.shuffle(ready)
        return any(self._step(node) for node in ready)

    def _step(self, node: Node) -> bool:
        side = self.side_of(node)
        if node.running is None:
            return self._catch_up(node, side)
        if node.trial is not None and node.trial.taken_back and self.quorate(side):
            if node.store.config_version < node.file.config_version:
                for member in self.members(side):
                    member.store = node.file
            node.trial = None
            return True
        if node.store.config_version > node.file.config_version:
            wanted = Trial(node.store.config_version, node.file.text)
            if node.trial != wanted:
                node.trial, node.since = wanted, self.now  # the trial is on disk before the file
            else:
                assert not judge(node.file, node.store.text).errors
                node.file = node.store
            return True
        if node.file.config_version > node.running.config_version and self._all_have(node, side):
            node.running = node.file  # the reload reaches one node after another
            return True
        return self._try_on(node, side)

    def _all_have(self, node: Node, side: frozenset[int]) -> bool:
        here = self.members(side)
        return (
            all(m.file.config_version >= node.file.config_version for m in here) or self.now - node.since > 5
        )

    def _catch_up(self, node: Node, side: frozenset[int]) -> bool:
        known = [m.running for m in self.members(side) if m.running]
        best = max(known, key=lambda c: c.config_version, default=None)
        if best is None or best.config_version < node.file.config_version:
            return False
        node.file = node.running = best
        node.trial, node.since = None, self.now
        self.meet()
        return True

    def _try_on(self, node: Node, side: frozenset[int]) -> bool:
        if node.trial is None or node.running is None:
            return False
        present = frozenset(m.number for m in self.members(side))
        seen = Seen(node.running.config_version, self.quorate(side), present)
        match decide(node.trial, seen, self.now - node.since):
            case Verdict.KEEP:
                node.trial = None
                return True
            case Verdict.TAKE_BACK:
                text, node.trial = taken_back(node.trial)
                node.file = node.running = Configuration.read(text)
                return True
            case Verdict.WAIT:
                return False

    def run(self, seconds: float) -> None:
        """Let time pass; whenever nothing is left to do, a second goes by."""
        until = self.now + seconds
        for _ in range(STEPS_MOST):
            if self.step():
                self.watch()
            elif self.now >= until:
                return
            else:
                self.now += 1.0
        raise AssertionError(f"it does not come to rest: {self}")

    # what must hold

    def watch(self) -> None:
        quorate = [side for side in self.sides if self.quorate(side)]
        assert len(quorate) <= 1, f"two go on: {quorate} {self}"

    def votes(self) -> set[tuple[int, ...]]:
        return {tuple(v.votes for v in n.running.nodes) for n in self.nodes.values() if n.running}


def _own_votes(node: Node) -> int:
    assert node.running is not None
    return next((one.votes for one in node.running.nodes if one.nodeid == node.number), 0)


def world(old: Configuration, seed: int) -> World:
    nodes = {node.nodeid: Node(node.nodeid, old, old, running=old) for node in old.nodes}
    return World(nodes, [frozenset(nodes)], random.Random(seed))


def cuts(count: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for size in range(1, count):
        for numbers in combinations(range(1, count + 1), size):
            yield "power", numbers
            if 1 in numbers:
                yield "split", numbers


def write(w: World, new: Configuration, reached: int) -> None:
    """The store's write reaches one member's disk after another; acknowledged when it has reached all."""
    for node in list(w.nodes.values())[:reached]:
        node.store = new


def walks(count: int, seed: int) -> list[tuple[int, str, tuple[int, ...], int, int]]:
    """(seed, fault, nodes, members that the write reached, steps before the cut): all, or a sample."""
    every = [
        (order, kind, numbers, reached, steps)
        for order in SEEDS
        for kind, numbers in cuts(count)
        for reached in range(1, count + 1)
        for steps in (range(6 * count) if reached == count else (0,))
    ]
    return every if SOAK else random.Random(seed).sample(every, WALKS)


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_cut_at_any_step_it_is_wholly_in_or_wholly_out(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    seed = int(os.environ.get("KVORUM_VOTES_SEED", random.randrange(1 << 30)))
    print(f"KVORUM_VOTES_SEED={seed}")
    old, new = configuration(before, 5), configuration(after, 6)
    assert not judge(old, new.text, {node.nodeid for node in old.nodes}).errors
    for walk in walks(len(before), seed):
        order, kind, numbers, reached, steps = walk
        w = world(old, order)
        write(w, new, reached)
        for _ in range(steps):
            w.step()
            w.watch()
        (w.cut_power if kind == "power" else w.split)(numbers)
        w.watch()
        w.run(COME_BACK_S + 10)
        w.mend()
        w.watch()
        w.run(COME_BACK_S + 10)
        assert len(w.votes()) == 1 and w.votes() <= {before, after}, (walk, w)
        assert all(n.running and n.running.text == n.file.text for n in w.nodes.values()), (walk, w)
        assert {n.store.text for n in w.nodes.values()} == {w.nodes[1].file.text}, (walk, w)
        assert w.quorate(w.sides[0]), (walk, w)
        again(w, after)


def again(w: World, after: tuple[int, ...]) -> None:
    """The second try works, whatever became of the first."""
    now = w.nodes[1].file
    new = configuration(after, now.config_version + 1)
    write(w, new, len(w.nodes))
    w.run(COME_BACK_S + 10)
    assert w.votes() == {after} and w.quorate(w.sides[0])


def test_two_votes_at_once_would_let_two_go_on() -> None:
    """What ``judge`` refuses as too large is no fancy: cut at the right step, both sides have quorum."""
    old, new = configuration((1, 1, 1), 5), configuration((1, 1, 3), 6)
    assert any("too large" in error for error in judge(old, new.text, {1, 2, 3}).errors)
    w = world(old, 1)
    w.nodes[3].file = w.nodes[3].running = w.nodes[3].store = new
    w.split((1, 2))
    with pytest.raises(AssertionError, match="two go on"):
        w.watch()
