"""The main job end to end, by the command that `make lab` names at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab_cluster import Cluster


@pytest.mark.timeout(420)
def test_the_demonstration_moves_a_guest_to_every_node_and_back_and_loses_nothing(cluster: Cluster) -> None:
    kvorum = Path(sys.executable).with_name("kvorum")
    place = cluster.lab.places.state.parent
    argv = [kvorum, "lab", "--dir", place, "demo", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["good"] and report["counted"] > 0
    assert (report["counts_lost"], report["counts_repeated"]) == (0, 0)
    assert {leg["target"] for leg in report["legs"]} == {"n1", "n2", "n3"}
    assert report["legs"][0]["source"] == report["legs"][-1]["target"]
