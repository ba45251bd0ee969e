"""Quorum explained: how many votes are needed, who is missing, and what may still fail. Pure.

The wording is for people: it stands on the page and under ``pvecm status``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voter:
    """Who has votes: a node, or the QDevice."""

    name: str
    votes: int
    present: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the cluster stands."""

    quorate: bool
    total: int
    """All votes there are."""
    present: int
    """Votes that are here."""
    needed: int
    """More than half of all."""
    may_fail: int
    """How many voters may fail at once, whichever they are, and it still goes on; 0 without quorum."""
    fatal: tuple[str, ...]
    """Voters whose failure alone would cost quorum."""
    missing: tuple[str, ...]
    """Voters that are not here."""
    sentence: str


def explain(voters: Sequence[Voter], *, quorate: bool | None = None) -> Explanation:
    """Explain the votes; ``quorate`` is Corosync's own word where known (it may wait for all, or lag)."""
    total = sum(voter.votes for voter in voters)
    present = sum(voter.votes for voter in voters if voter.present)
    needed = total // 2 + 1
    now = present >= needed if quorate is None else quorate
    here = sorted((v for v in voters if v.present and v.votes), key=lambda v: (-v.votes, v.name))
    may_fail, left = 0, present
    for voter in here:
        left -= voter.votes
        if not now or left < needed:
            break
        may_fail += 1
    fatal = tuple(v.name for v in here if present - v.votes < needed) if now else ()
    missing = tuple(v.name for v in voters if not v.present and v.votes)
    return Explanation(
        now,
        total,
        present,
        needed,
        may_fail,
        fatal,
        missing,
        _sentence(now, voters, present, needed, may_fail, fatal, missing),
    )


def _sentence(
    quorate: bool,
    voters: Sequence[Voter],
    present: int,
    needed: int,
    may_fail: int,
    fatal: tuple[str, ...],
    missing: tuple[str, ...],
) -> str:
    votes = (
        f"{present} of the {needed} votes needed are here"
        if present < needed
        else (f"{present} votes are here, {needed} are needed")
    )
    if not quorate:
        lacking = needed - present
        if lacking <= 0:
            return f"No quorum although {votes}: a membership change is under way, or corosync waits for all."
        way = _way_back([v for v in voters if v.name in missing], lacking)
        return f"No quorum: {votes}; nothing can be changed, running guests go on. {way}"
    if may_fail:
        which = "node or device" if may_fail == 1 else "nodes or devices"
        return f"Quorate: {votes}. Any {may_fail} more {which} may fail."
    if len(voters) == 1:
        return f"Quorate: {votes}. This is the only node; with three nodes one may fail."
    return f"Quorate: {votes}. Nothing more may fail: without {' or '.join(fatal)} quorum is lost."


def _way_back(missing: Sequence[Voter], lacking: int) -> str:
    alone = [voter.name for voter in missing if voter.votes >= lacking]
    if alone:
        return f"Start {' or '.join(alone)} to go on."
    return f"Start {', '.join(voter.name for voter in missing)} until {lacking} more votes are here."
