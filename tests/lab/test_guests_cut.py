"""A power cut at any step of a clone, a template, a move, a snapshot, its deletion, a rollback, a suspension
to disk or the waking from there leaves the guest whole: as before or as after, with what its disks held,
unlocked; and nothing half-made stays.

The points come from a rehearsal of each change. Which are cut comes from a seed that is printed:
KVORUM_WALK_SEED replays one. Three in CI, every one with KVORUM_SOAK=1.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pytest
from guest_walk import CHANGES, Case, Walk
from lab_cluster import Cluster

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

SOAK = bool(os.environ.get("KVORUM_SOAK"))
SEED = int(os.environ.get("KVORUM_WALK_SEED") or (random.randrange(1 << 32) if SOAK else 3))
ONLY = os.environ.get("KVORUM_WALK_ONLY", "")
"""A part of the cases' names: only those are walked."""
PART, _, PARTS = (os.environ.get("KVORUM_WALK_PART") or "1/1").partition("/")
"""``2/3``: of each change the second third of its cases, so that a long walk goes in pieces."""
SAMPLED = 3


@pytest.fixture(scope="module")
def walk(make_module_lab: Callable[[Plan], Lab]) -> Walk:
    return Walk(Cluster(make_module_lab(Plan(1, lossy=True))))


def carry_out(walk: Walk, cases: Iterable[Case]) -> None:
    for case in cases:
        begun = time.monotonic()
        print(f"seed {SEED}: {case}", flush=True)
        outcome = walk.carry_out(case)
        print(f"  {time.monotonic() - begun:.1f} s: {outcome}", flush=True)


@pytest.mark.skipif(SOAK or bool(ONLY), reason="all of them are walked")
@pytest.mark.timeout(300)
def test_a_sample_of_cuts_leaves_the_guest_whole(walk: Walk) -> None:
    carry_out(walk, walk.sample(SEED, SAMPLED))


@pytest.mark.skipif(not (SOAK or ONLY), reason="KVORUM_SOAK=1 walks them all")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.timeout(3600)
def test_every_cut_leaves_the_guest_whole(walk: Walk, change: str) -> None:
    cases = [case for case in walk.every(change) if ONLY in str(case)]
    first, after = (len(cases) * each // int(PARTS) for each in (int(PART) - 1, int(PART)))
    cases = cases[first:after]
    print(f"{first + 1} to {after} of {len(walk.every(change))}", flush=True)
    if not cases:
        pytest.skip("none of this change")
    carry_out(walk, cases)
