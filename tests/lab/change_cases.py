"""The cases of the walk over a cluster's changes: a change, a point at which a daemon stands still, a fault.

T is the node that makes the change, P the other one that has a part in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kvorum.cluster.change import CREATE, JOIN
from kvorum.cluster.leave.steps import LEAVE

STORED = ("before the store has it", "after the store has it")
FOLLOWED = (
    "before it is on disk",
    "after it is on disk",
    "before corosync reloads",
    "after corosync reloads",
)
LISTED_ANEW = ("before it is listed anew", "after it is listed anew")
"""The second version of another address on link 0, whose first one drops the node."""
CHANGES = (
    "create",
    "join one",
    "votes",
    "edit",
    "address two",
    "join",
    "address",
    "leave",
    "delnode",
    "leave two",
)
"""In the order in which each finds what the one before has left."""
WAITING = ("join one", "address two", "join", "address", "leave", "leave two")


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one point; T is the node that makes the change, P the other one."""

    change: str
    at: str
    """Which of the two stands still: T or P."""
    point: str
    fault: str
    """``cut T``, ``cut P`` or ``partition``."""
    late: bool = False
    """The fault ends only when the command has."""

    def __str__(self) -> str:
        return f"{self.change}: {self.fault}{' to its end' if self.late else ''}, {self.at} {self.point}"


def cases(change: str) -> Iterator[Case]:
    """Every case of a change."""
    plan = {"create": CREATE, "join": JOIN, "leave": LEAVE}.get(change.split()[0])
    points = [("T", f"{side} {step}") for step in plan.steps for side in ("before", "after")] if plan else []
    match change.split()[0]:
        case "create":
            yield from (Case(change, "T", point, "cut T") for _, point in points)
            return
        case "join":
            points += [("P", point) for point in STORED + FOLLOWED]
        case "leave":
            points += [("T", point) for point in STORED] + [("P", point) for point in FOLLOWED]
        case "votes" | "delnode":
            points += [("T", point) for point in STORED + FOLLOWED] + [("P", point) for point in FOLLOWED]
        case "address":
            points += [("T", point) for point in STORED + FOLLOWED + LISTED_ANEW]
            points += [("P", point) for point in FOLLOWED[:2]]
        case "edit":
            points += [(node, point) for node in "TP" for point in FOLLOWED]
    for at, point in points:
        yield Case(change, at, point, "cut T")
        for fault in ("cut P", "partition"):
            yield Case(change, at, point, fault)


def sample(seed: int, count: int, changes: Sequence[str] = CHANGES) -> list[Case]:
    """Some cases by a seed, of as many changes as can be, in the order of ``CHANGES``; none lasts minutes.

    A node that joins or leaves waits a minute for others that stay away, as does another address.
    """
    chance = random.Random(seed)
    chosen = sorted(chance.sample(range(len(changes)), min(count, len(changes))))
    drawn = [_timed(chance.choice(list(cases(changes[n]))), chance) for n in chosen]
    return [replace(case, late=False) if case.change in WAITING else case for case in drawn]


def every(seed: int, change: str) -> list[Case]:
    """All cases of a change; the seed says which faults last to the command's end."""
    chance = random.Random(seed)
    return [_timed(case, chance) for case in cases(change)]


def _timed(case: Case, chance: random.Random) -> Case:
    return replace(case, late=case.fault != "cut T" and chance.random() < 0.5)
