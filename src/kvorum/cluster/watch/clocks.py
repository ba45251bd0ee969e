"""How far the nodes' clocks are apart, as one node measures it by asking the others. Pure.

The middle of the asking is when the other looked at its clock, give or take half the round trip (as in NTP,
RFC 5905 section 8); of several answers the fastest is the surest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

APART_S, TOGETHER_S = 1.0, 0.5
"""From the one on it is warned of; below the other it is over. NTP keeps some milliseconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when it was asked for and came, by this node's wall clock, and what the other's said."""

    asked_s: float
    theirs_s: float
    answered_s: float


@dataclass(frozen=True, slots=True)
class Offset:
    """How far another node's clock is ahead of this one's, give or take ``unsure_s``."""

    ahead_s: float
    unsure_s: float


def offset(answers: Sequence[Answer]) -> Offset | None:
    """The offset by the answer that took the least time; ``None`` without one that can be used.

    A negative time is one in which this node's own clock was set.
    """
    usable = [one for one in answers if one.answered_s >= one.asked_s]
    if not usable:
        return None
    best = min(usable, key=lambda one: one.answered_s - one.asked_s)
    took = best.answered_s - best.asked_s
    return Offset(best.theirs_s - best.asked_s - took / 2, took / 2)


def wrong(here: str, offsets: Mapping[str, Offset], had: frozenset[str]) -> frozenset[str]:
    """The nodes whose clock differs from what most clocks say; of two nodes that differ, the other one.

    ``had`` are those that differed before.
    """
    ahead = {here: 0.0} | {node: one.ahead_s for node, one in offsets.items()}
    ordered = sorted(ahead.values())
    middle = 0.0 if len(ordered) == 2 else ordered[(len(ordered) - 1) // 2]
    found = set()
    for node, seconds in ahead.items():
        unsure = offsets[node].unsure_s if node in offsets else 0.0
        if abs(seconds - middle) - unsure >= (TOGETHER_S if node in had else APART_S):
            found.add(node)
    return frozenset(found)


def sentence(node: str, here: str, offsets: Mapping[str, Offset]) -> str:
    """What is to be said of a node whose clock is wrong."""
    mend = "tickets and logs are wrong by that; set the clocks right (timedatectl set-ntp true)."
    if len(offsets) == 1:
        ((other, one),) = offsets.items()
        return f"The clocks of {here} and {other} are {_seconds(one.ahead_s)} apart: {mend}"
    ahead = {here: 0.0} | {name: one.ahead_s for name, one in offsets.items()}
    ordered = sorted(ahead.values())
    by = ahead[node] - ordered[(len(ordered) - 1) // 2]
    return f"The clock of {node} is {_seconds(by)} {'ahead of' if by > 0 else 'behind'} the others': {mend}"


def _seconds(value: float) -> str:
    return f"{abs(value):.0f} s" if abs(value) >= 10 else f"{abs(value):.1f} s"
