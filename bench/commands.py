"""Wall time of our commands in a node, against corosync-quorumtool: ``python bench/commands.py [NODE]``.

The cluster is formed if there is none yet. The time is taken inside the node, so that entering it costs
neither side anything.
"""

from __future__ import annotations

import json
import sys

from figures import median, ratio, show

from kvorum.core.errors import KvorumError
from kvorum.lab import Lab
from kvorum.lab.demo import Stage

ROUNDS = 21
GOAL_MS = 150
TIMER = """
import json, subprocess, sys, time
commands, took = json.loads(sys.argv[2]), {}
for _ in range(int(sys.argv[1])):
    for name, argv in commands.items():
        begin = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        took.setdefault(name, []).append((time.perf_counter() - begin) * 1000)
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}: {done.stderr}")
print(json.dumps(took))
"""


def main(node: str = "n1") -> None:
    """Run every command in turns, so that all see the same machine."""
    lab = Lab()
    try:
        Stage(lab).form_cluster()
    except KvorumError as error:
        sys.exit(str(error))
    commands = {
        "pvecm status": ["pvecm", "status"],
        "qm list": ["qm", "list"],
        "corosync-quorumtool -s": ["corosync-quorumtool", "-s"],
    }
    timer = ["python3", "-c", TIMER, str(ROUNDS), json.dumps(commands)]
    took = json.loads(lab.exec(node, timer, timeout_s=300, check=True).stdout)
    figures = {name: median(values) for name, values in took.items()}
    baseline = figures.pop("corosync-quorumtool -s")
    ratios = {name: ratio(value, baseline) for name, value in figures.items()}
    show("commands", unit="ms", ours=figures, baseline=baseline, ratio=ratios, goal=GOAL_MS)


if __name__ == "__main__":
    main(*sys.argv[1:])
