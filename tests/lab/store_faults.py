"""A random walk of faults over a cluster of lab machines: planned from a seed (pure), carried out on a lab.

Promises of a plan: each step is possible where it stands (no machine is cut twice, none that is off or frozen
is told anything), no fault lasts longer than ``LONGEST_S``, and the last step leaves everything healed.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from kvorum.core.errors import KvorumError
from kvorum.lab import Lab

DAEMONS = ("corosync", "pve-cluster", "pvedaemon", "pveproxy")
LONGEST_S = 15.0
_CALM_EVERY_S = 60.0
_CALM_S = 8.0
_ENDS = {"cut": "power", "freeze": "thaw", "fill": "free", "kill": "start"}
"""Faults of a machine that last, and what ends them; of the daemons only Corosync stays away."""
_WEIGHTS = {"cut": 4, "freeze": 4, "partition": 5, "loss": 2, "kill": 6, "fill": 2}
_BLACKOUT = 0.4
"""The share of cuts that take every node's power at once."""
_BOOT_S = 10.0
"""About what a boot takes on a busy machine: a node is left alone so long, or its steps would come late."""
_COMMAND_S = 30.0

BALLAST = "/var/lib/pve-cluster/ballast"
_FILL = f"""
! dd if=/dev/zero of={BALLAST} bs=1M 2>/tmp/filled && ! dd if=/dev/zero bs=4k >> {BALLAST} 2>>/tmp/filled
grep -c 'No space left' /tmp/filled | grep -qx 2 || {{ cat /tmp/filled >&2; exit 1; }}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One command to the lab, ``at_s`` seconds after the walk began."""

    at_s: float
    fault: str
    """cut, power, freeze, thaw, fill, free, kill, start, partition, loss or heal."""
    node: str = ""
    what: str = ""
    """The sides of a partition, the daemon that is killed or started."""
    link: int | None = None
    percent: float = 0.0

    def __str__(self) -> str:
        words = [self.fault, self.node, self.what, f"{self.percent:g} %" if self.percent else ""]
        words.append("" if self.link is None else f"link {self.link}")
        return f"{self.at_s:6.1f} s  " + " ".join(word for word in words if word)


# --- planning ------------------------------------------------------------------------------------------


def plan(seed: int, seconds: float, nodes: Sequence[str]) -> tuple[Step, ...]:
    """The walk of a seed; the same arguments give the same steps. All faults have ended at ``seconds``."""
    return tuple(_Planner(seed, seconds, nodes).walk())


class _Planner:
    def __init__(self, seed: int, seconds: float, nodes: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._seconds = seconds
        self._nodes = tuple(nodes)
        self._lasting: dict[tuple[str, str], Step] = {}
        """(node, fault) to the step that ends it; the network's stand under ("", "heal")."""
        self._boots_until = dict.fromkeys(nodes, 0.0)

    def walk(self) -> Iterator[Step]:
        now, calm_at = 0.0, _CALM_EVERY_S
        while now < self._seconds:
            yield from self._due(now)
            if now >= calm_at:
                yield from self._due(float("inf"), told_at=now)
                calm_at = now + _CALM_EVERY_S
                now += _CALM_S
            else:
                yield from self._begin(now)
            now = round(now + self._random.uniform(0.3, 4.0), 1)
        yield from self._due(float("inf"), told_at=self._seconds)

    def _due(self, now: float, told_at: float | None = None) -> Iterator[Step]:
        """End what has lasted long enough."""
        for name, end in sorted(self._lasting.items(), key=lambda item: item[1].at_s):
            if end.at_s <= now:
                del self._lasting[name]
                at = round(end.at_s if told_at is None else min(end.at_s, told_at), 1)
                if end.fault == "power":
                    self._boots_until[end.node] = at + _BOOT_S
                yield replace(end, at_s=at)

    def _begin(self, now: float) -> Iterator[Step]:
        fault = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        ends = now + min(self._random.choice((1.0, 5.0, LONGEST_S)) * self._random.uniform(0.3, 1), LONGEST_S)
        if fault in ("partition", "loss"):
            self._lasting.setdefault(("", "heal"), Step(ends, "heal"))
            yield self._partition(now) if fault == "partition" else self._loss(now)
            return
        if fault == "cut" and self._random.random() < _BLACKOUT:
            if not any(self._is_away(node, now) for node in self._nodes):
                for node in self._nodes:  # what only memories held is gone then
                    yield self._cut(node, now, ends)
            return
        node = self._random.choice(self._nodes)
        has = {kind for name, kind in self._lasting if name == node}
        if self._is_away(node, now) or fault in has or (fault == "freeze" and has):
            return
        if fault == "cut":
            yield self._cut(node, now, ends)
            return
        what = self._random.choice(DAEMONS) if fault == "kill" else ""
        if fault != "kill" or what == "corosync":
            self._lasting[node, fault] = Step(ends, _ENDS[fault], node, what)
        yield Step(now, fault, node, what)

    def _is_away(self, node: str, now: float) -> bool:
        """Whether it is off, frozen or booting."""
        away = any((node, fault) in self._lasting for fault in ("cut", "freeze"))
        return away or now < self._boots_until[node]

    def _cut(self, node: str, now: float, ends: float) -> Step:
        for name in [name for name in self._lasting if name[0] == node]:
            del self._lasting[name]  # a boot starts Corosync, and the ballast was never synced
        self._lasting[node, "cut"] = Step(ends, "power", node)
        return Step(now, "cut", node)

    def _partition(self, now: float) -> Step:
        side = self._random.sample(self._nodes, self._random.randint(1, len(self._nodes) - 1))
        others = [node for node in self._nodes if node not in side]
        sides = self._random.choice(("|", "|", ">")).join(",".join(sorted(s)) for s in (side, others))
        if self._random.random() < 0.2:
            sides = "|".join(self._nodes)
        return Step(now, "partition", what=sides, link=self._random.choice((None, None, 0, 1)))

    def _loss(self, now: float) -> Step:
        percent, link = self._random.choice((2, 10, 30, 60)), self._random.choice((None, 0, 1))
        return Step(now, "loss", link=link, percent=percent)


# --- carrying out --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """When a step was carried out, and what the lab said if it could not be."""

    step: Step
    began_s: float
    took_s: float
    failure: str = ""

    def __str__(self) -> str:
        failed = f"  FAILED: {self.failure}" if self.failure else ""
        return f"{self.step}  (at {self.began_s:.1f} s, took {self.took_s:.1f} s){failed}"


def carry_out(lab: Lab, steps: Sequence[Step], after: Callable[[Step], None]) -> list[Done]:
    """Carry the steps out, each not before its time; ``after`` is called when one has been.

    Each node's steps follow one another, and the network's; a slow boot keeps nobody else waiting.
    """
    start = time.monotonic()
    by_node: dict[str, list[Step]] = {}
    for step in steps:
        by_node.setdefault(step.node, []).append(step)

    def one_node(mine: Sequence[Step]) -> list[Done]:
        done = []
        for step in mine:
            time.sleep(max(0.0, start + step.at_s - time.monotonic()))
            began, failure = time.monotonic(), ""
            try:
                _one(lab, step)
                after(step)
            except KvorumError as error:
                failure = str(error)
            done.append(Done(step, began - start, time.monotonic() - began, failure))
        return done

    with ThreadPoolExecutor(len(by_node)) as pool:
        done = [one for some in pool.map(one_node, by_node.values()) for one in some]
    return sorted(done, key=lambda one: one.began_s)


def _one(lab: Lab, step: Step) -> None:
    match step.fault:
        case "partition":
            lab.partition(step.what, step.link)
        case "loss":
            lab.loss(step.percent, step.link)
        case "heal":
            lab.heal()
        case "cut" | "power" | "freeze" | "thaw":
            getattr(lab, step.fault)(step.node)
        case "kill":
            unit = shlex.quote(step.what)  # systemd waits longer after each failure unless it forgets them
            say = (
                f"systemctl reset-failed {unit}; systemctl kill --signal=KILL --kill-whom=main {unit} || true"
            )
            _say(lab, step.node, say)
        case "start":
            _say(lab, step.node, f"systemctl start --no-block {shlex.quote(step.what)}")
        case "fill":
            _say(lab, step.node, _FILL)
        case "free":
            _say(lab, step.node, f"rm -f {BALLAST}")
        case _:
            raise ValueError(f"'{step.fault}' is no fault of this walk")


def _say(lab: Lab, node: str, script: str) -> None:
    lab.exec(node, ["bash", "-c", script], timeout_s=_COMMAND_S, check=True)
