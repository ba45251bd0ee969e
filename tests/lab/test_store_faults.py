"""Random faults over real nodes with disks that forget: no acknowledged write is lost, none happens twice.

The walk is planned from a seed: KVORUM_FAULTS_SEED replays one. KVORUM_SOAK: ten minutes of a new one.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from lab_cluster import NODES, form
from store_faults import Done, carry_out, plan
from store_judge import disagreements, judge, operations
from store_writers import PLACES, Writers, look, writable

from kvorum.lab import Lab
from kvorum.lab.plan import Plan

SOAK = bool(os.environ.get("KVORUM_SOAK"))
SECONDS = 600.0 if SOAK else 90.0
SEED = int(os.environ.get("KVORUM_FAULTS_SEED") or (random.randrange(1 << 32) if SOAK else 1))
HEAL_S = 120.0
AGREE_S = 30.0


@pytest.mark.timeout(SECONDS * 1.5 + 600)
def test_every_acknowledged_write_survives_random_faults(make_lab, tmp_path: Path) -> None:
    lab = make_lab(Plan(len(NODES), lossy=True))
    cluster = form(lab)
    cluster.say("n1", "mkdir", "-p", *(f"/etc/pve/chaos/{place}" for place in ("own", "shared", "lines")))
    writers = Writers(cluster, SEED, tmp_path / "writers.log")
    done: list[Done] = []
    findings: list[str] = []
    try:
        for node in NODES:
            writers.start(node)
        steps = plan(SEED, SECONDS, NODES)
        done = carry_out(lab, steps, lambda step: step.fault == "power" and writers.start(step.node))
        lab.recover()
        healed = time.monotonic()
        findings += writable(cluster, HEAL_S)
        healing_s = time.monotonic() - healed
        writers.end()
        findings += writers.died
        asked, twice = operations(writers.lines)
        findings += twice
        end = time.monotonic() + AGREE_S
        while True:
            held = {node: look(cluster, node) for node in NODES}
            differing = disagreements(held)
            if not differing or time.monotonic() > end:
                break
        verdict = judge(asked, held["n1"])
        findings += [*differing, *verdict.findings, *_crashes(lab)]
        print(f"seed {SEED}: {len(done)} steps in {SECONDS:g} s, writable {healing_s:.1f} s after the last")
        for what, count in sorted(verdict.counts.items()):
            print(f"{count:7} {what}")
        for name, _, _ in PLACES:
            if not any(one.outcome == "done" and one.id.startswith(name) for one in asked):
                findings.append(f"nothing of {name} was acknowledged, so nothing is shown")
    finally:
        writers.kill()
        _keep_journals(lab, tmp_path)
    findings += [str(one) for one in done if one.failure]
    said = "\n".join((*findings[:40], "The walk:", *map(str, done)))
    assert not findings, f"seed {SEED}: {len(findings)} findings\n{said}"


def _crashes(lab: Lab) -> list[str]:
    """Exceptions of the store that nobody caught."""
    found = []
    for node in NODES:
        said = _journal(lab, node, "--unit=pve-cluster")
        at = said.find("Traceback")
        if at >= 0:
            found.append(f"{node}'s pve-cluster had an exception: {said[at : at + 3000]}")
    return found


def _keep_journals(lab: Lab, folder: Path) -> None:
    for node in NODES:
        (folder / f"{node}.journal").write_text(_journal(lab, node))


def _journal(lab: Lab, node: str, *more: str) -> str:
    argv = [*lab.journal_argv(node), "--output=short-monotonic", *more]
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=60).stdout
