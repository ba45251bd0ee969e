"""A new corosync.conf is on trial until the cluster is quorate with it; else it is taken back. Pure.

Each node decides for itself, by what it sees of its own partition, and all nodes of a partition see the same.
It takes a version back only where the nodes that are here lack a majority by the new votes and had one by the
old. That is safe: any majority by the old votes shares a node with any majority by the new ones
(``kvorum.corosync.judgement``), so nobody else can have gone on by the new version. What is taken back gets a
version of its own, newer than the one it replaces: a node that still has that one catches up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from kvorum.corosync import Configuration

COME_BACK_S = 20.0
"""How long the cluster has to become quorate."""
JOIN_S = 90.0
"""The same while a node joins: it starts its corosync meanwhile, and withdraws by itself if it can't."""
SETTLE_S = 5.0
"""Quorate for so long after the reload: it holds. A node that died at that moment has been missed by then."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A version that runs and is not confirmed yet, and the text that it replaced."""

    version: int
    before: str
    taken_back: bool = False
    """``version`` is ``before`` again, to be brought to the store once that can be written."""
    patience_s: float = COME_BACK_S
    """How long the cluster has to become quorate."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What this node's Corosync says now."""

    version: int | None
    """The config_version that it runs; ``None`` while it does not run."""
    quorate: bool = False
    present: frozenset[int] = frozenset()
    """Node ids of the partition."""


class Verdict(Enum):
    """What becomes of the trial."""

    WAIT = "wait"
    KEEP = "keep"
    TAKE_BACK = "take back"


def decide(trial: Trial, seen: Seen, waited_s: float) -> Verdict:
    """Decide ``waited_s`` after the reload (or after the daemon's start, which begins the time anew)."""
    if trial.taken_back or seen.version is None or seen.version < trial.version:
        return Verdict.WAIT
    if seen.version > trial.version:
        return Verdict.KEEP
    if seen.quorate:
        return Verdict.KEEP if waited_s >= SETTLE_S else Verdict.WAIT
    if waited_s < trial.patience_s or not had_majority(trial.before, seen.present):
        return Verdict.WAIT
    return Verdict.TAKE_BACK


def had_majority(text: str, present: frozenset[int]) -> bool:
    """Whether these nodes alone have a majority by a configuration; the QDevice's vote is not counted on."""
    configuration = Configuration.read(text)
    here = sum(node.votes for node in configuration.nodes if node.nodeid in present)
    return 2 * here > configuration.total_votes


def taken_back(trial: Trial) -> tuple[str, Trial]:
    """The text to go on with and the trial that remembers it."""
    version = trial.version + 1
    return Configuration.read(trial.before).with_version(version).text, replace(
        trial, version=version, taken_back=True
    )
