"""A power cut or a partition at any step of a change of the cluster, on either side, leaves it wholly in or
wholly out, and a second try works.

Which steps comes from a seed that is printed: KVORUM_WALK_SEED replays one, or walks another. Three in CI,
every one with KVORUM_SOAK=1 (which faults last to the command's end is drawn anew then).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from change_cases import CHANGES, Case, every, sample
from change_walk import Walk
from lab_cluster import Cluster

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

SOAK = bool(os.environ.get("KVORUM_SOAK"))
SEED = int(os.environ.get("KVORUM_WALK_SEED") or (random.randrange(1 << 32) if SOAK else 3))
ONLY = os.environ.get("KVORUM_WALK_ONLY", "")
"""A part of the cases' names: only those are walked."""
SAMPLED = 3


def walk(lab: Lab, chosen: list[Case]) -> None:
    it = Walk(Cluster(lab))
    for case in chosen:
        begun = time.monotonic()
        print(f"seed {SEED}: {case}", flush=True)
        said = it.carry_out(case)
        last = said.strip().splitlines()[-1:] or ["-"]
        print(f"  {time.monotonic() - begun:.1f} s: {last[0]}", flush=True)


@pytest.mark.skipif(SOAK or bool(ONLY), reason="all of them are walked")
@pytest.mark.timeout(600)
def test_a_sample_of_faults_leaves_all_or_nothing(make_lab: Callable[[Plan], Lab]) -> None:
    walk(make_lab(Plan(3)), sample(SEED, SAMPLED))


@pytest.mark.skipif(not (SOAK or ONLY), reason="KVORUM_SOAK=1 walks them all")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.timeout(14400)
def test_every_fault_leaves_all_or_nothing(make_lab: Callable[[Plan], Lab], change: str) -> None:
    chosen = [case for case in every(SEED, change) if ONLY in str(case)]
    if not chosen:
        pytest.skip("none of this change")
    walk(make_lab(Plan(3)), chosen)
