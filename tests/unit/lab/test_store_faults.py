"""The fault walk's plan: only possible steps, bounded, always healed at the end."""

import threading
from collections import Counter

import pytest
from store_faults import DAEMONS, LONGEST_S, Step, carry_out, plan

from kvorum.lab import LabError

NODES = ("n1", "n2", "n3")
SECONDS = 300.0


class World:
    """Judges each step by what a lab could do."""

    def __init__(self):
        self.off, self.frozen, self.full, self.without_corosync = {}, {}, {}, {}
        self.network = None

    def take(self, step):
        node, at = step.node, step.at_s
        match step.fault:
            case "cut":
                assert node not in self.off and node not in self.frozen
                self.off[node] = at
                self.full.pop(node, None)
                self.without_corosync.pop(node, None)
            case "power":
                self.end(self.off, node, at)
            case "freeze":
                self.must_run(node)
                self.frozen[node] = at
            case "thaw":
                self.end(self.frozen, node, at)
            case "fill":
                self.must_run(node)
                assert node not in self.full
                self.full[node] = at
            case "free":
                self.must_run(node)
                self.end(self.full, node, at)
            case "kill":
                self.must_run(node)
                assert step.what in DAEMONS
                if step.what == "corosync":
                    assert node not in self.without_corosync
                    self.without_corosync[node] = at
            case "start":
                self.must_run(node)
                assert step.what == "corosync"
                self.end(self.without_corosync, node, at)
            case "partition":
                named = step.what.replace("|", ",").replace(">", ",").split(",")
                assert sorted(named) == list(NODES)
                self.network = self.network or at
            case "loss":
                assert 0 < step.percent < 100
                self.network = self.network or at
            case "heal":
                assert at - self.network <= LONGEST_S + 0.1
                self.network = None
            case other:
                raise AssertionError(other)

    def must_run(self, node):
        assert node in NODES and node not in self.off and node not in self.frozen

    def end(self, kind, node, at):
        assert at - kind.pop(node) <= LONGEST_S + 0.1

    @property
    def healed(self):
        faults = (self.off, self.frozen, self.full, self.without_corosync)
        return self.network is None and not any(faults)


@pytest.mark.parametrize("seed", range(200))
def test_every_step_is_possible_and_the_last_leaves_everything_healed(seed):
    world, last = World(), 0.0
    steps = plan(seed, SECONDS, NODES)
    for step in steps:
        assert last <= step.at_s <= SECONDS
        last = step.at_s
        world.take(step)
    assert world.healed


def test_a_seed_gives_the_same_walk_again_and_another_one_another():
    assert plan(7, SECONDS, NODES) == plan(7, SECONDS, NODES) != plan(8, SECONDS, NODES)


def test_a_walk_of_ten_minutes_has_every_fault_and_every_daemon():
    steps = plan(1, 600, NODES)
    assert {step.fault for step in steps} == {
        "cut", "power", "freeze", "thaw", "fill", "free", "kill", "start", "partition", "loss", "heal",
    }  # fmt: skip
    assert {step.what for step in steps if step.fault == "kill"} == set(DAEMONS)
    partitions = [step for step in steps if step.fault == "partition"]
    assert any(">" in step.what for step in partitions), "one way"
    assert {step.link for step in partitions} == {None, 0, 1}


def test_sometimes_all_lose_power_at_once_also_in_the_short_walk():
    for seconds in (90, 600):
        cuts = Counter(step.at_s for step in plan(1, seconds, NODES) if step.fault == "cut")
        assert 3 in cuts.values()


def test_there_is_rest_between_the_faults_so_that_writes_go_on():
    steps = plan(3, 600, NODES)
    world, rests, since = World(), 0, 0.0
    for step in steps:
        if world.healed and step.at_s - since >= 5:
            rests += 1
        world.take(step)
        since = step.at_s
    assert rests >= 5


def test_a_step_reads_as_a_sentence_of_the_schedule():
    shown = [str(step) for step in plan(1, 600, NODES) if step.fault in ("loss", "kill")]
    assert any("%" in line for line in shown) and any("pve-cluster" in line for line in shown)


class Boots:
    """A lab whose n1 boots until n2 is frozen, and whose n3 can't be cut."""

    def __init__(self):
        self.frozen = threading.Event()

    def power(self, node):
        assert self.frozen.wait(20)

    def freeze(self, node):
        self.frozen.set()

    def cut(self, node):
        raise LabError(f"{node} can't be cut")


def test_a_slow_boot_keeps_nobody_else_waiting_and_what_fails_is_told():
    after = []
    done = carry_out(
        Boots(), [Step(0, "power", "n1"), Step(0, "freeze", "n2"), Step(0, "cut", "n3")], after.append
    )
    assert {one.step.fault: one.failure for one in done} == {
        "power": "",
        "freeze": "",
        "cut": "n3 can't be cut",
    }
    assert sorted(step.fault for step in after) == ["freeze", "power"]
