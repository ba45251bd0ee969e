"""The store's promise under crashes, freezes, partitions, bad disks and a QDevice, by the hundred.

A failing seed is printed; ``store_world.run(seed, **shape)`` replays it. KVORUM_SEEDS sets how many are
walked: 480 here, 2,000 in CI, 100,000 by ``make soak``.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
import store_world as world

BLOCKS = 8
_USUAL = "100000" if os.environ.get("KVORUM_SOAK") else "2000" if os.environ.get("CI") else "480"
SEEDS = int(os.environ.get("KVORUM_SEEDS", _USUAL))


def walk(seeds: range, **shape: int | bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            counts += world.run(seed, **shape).counts
        except Exception:
            print(f"seed {seed}, {shape}")
            raise
    return counts


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_acknowledged_write_is_lost_whatever_fails(block: int) -> None:
    counts = walk(range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS))
    assert counts["done"] > SEEDS, "hardly any write succeeded: the simulation shows nothing"
    assert counts["lease done"] and counts["lease conflict"], counts
    assert counts["withdrawn"] and counts["stable sides"] and counts["conflict"], counts


@pytest.mark.parametrize("block", range(2))
def test_two_nodes_and_a_qdevice_never_fork(block: int) -> None:
    most = max(200, SEEDS // 4)
    counts = walk(range(block * most // 2, (block + 1) * most // 2), size=2, qdevice=True, steps=600)
    assert counts["views by the QDevice"], counts
