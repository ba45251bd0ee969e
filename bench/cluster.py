"""What a cluster takes to form, to follow and to notice: ``python bench/cluster.py [ROUNDS]``; needs root.

How it forms is measured in a lab of its own (``forming.py``). For the rest three real corosync processes run
in network namespaces, each with our store, /etc/pve and who follows it (as ``tests/lab/followed_ring.py``
makes them). ``votes``: from the start of an editor that changes /etc/pve/corosync.conf by hand to every
corosync running it. ``death``: from the end of a node's corosync, as by a power cut, to the new membership at
the last of the others; with our totem settings and, as the baseline in the same run, with Debian's defaults
(token 3000, token_coefficient 650). ``death_qdevice``: the same with two nodes and a QDevice, lab machines
that lose power, and until the survivor writes (``qdevice_death.py``).
"""

from __future__ import annotations

import re
import select
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from figures import median, ratio, show
from forming import forming

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "lab"))

from corosync_ring import Ring, corosync_ring, unavailable
from followed_ring import followed_ring
from qdevice_death import deaths as deaths_with_qdevice

from kvorum.corosync import Quorum

ROUNDS = 5
NODES = (1, 2, 3)
GOALS_S = {"votes": 2.0, "death": 3.0, "death_qdevice": 6.0}
DEBIAN = {"token": "3000", "token_coefficient": "650"}


def edits(rounds: int) -> list[float]:
    """Seconds from an edit to its being in force on all nodes."""
    took = []
    with tempfile.TemporaryDirectory() as directory, followed_ring(Path(directory), len(NODES)) as it:
        for round_ in range(rounds):
            begun = time.monotonic()
            done = it.edit(1, "n1", 2 - round_ % 2)
            if done.returncode:
                raise SystemExit(f"the edit was refused: {done.stderr}")
            it.follows(NODES, round_ + 2)
            took.append(time.monotonic() - begun)
            time.sleep(1.0)  # each tells what it runs; the next edit is judged by that
    return took


def deaths(rounds: int, totem: dict[str, str]) -> list[float]:
    """Seconds from a node's death to the last survivor's new membership."""
    with corosync_ring(len(NODES), start=False) as ring:
        for node in ring.nodes.values():
            path = node.directory / "etc" / "corosync.conf"
            text = path.read_text()
            for key, value in totem.items():
                text = re.sub(rf"(\b{key}: )\d+", rf"\g<1>{value}", text)
            path.write_text(text)
        for number in NODES:
            ring.start(number)
        for number in NODES:
            ring.wait_members(number, NODES)
        return [_death(ring) for _ in range(rounds)]


def _death(ring: Ring) -> float:
    survivors = NODES[:2]
    seen: dict[int, tuple[int, ...]] = {}
    with ExitStack() as stack:
        watching = {}
        for number in survivors:
            with ring.inside(number):
                quorum = stack.enter_context(
                    Quorum(quorum_change=lambda _q, _ring, nodes, n=number: seen.update({n: nodes}))  # type: ignore[misc]
                )
            quorum.track()
            watching[quorum.fileno] = quorum
        begun = time.monotonic()
        ring.kill(NODES[-1])
        while any(NODES[-1] in seen.get(number, NODES) for number in survivors):
            for ready in select.select(list(watching), [], [], 30)[0]:
                watching[ready].dispatch()
        took = time.monotonic() - begun
    ring.start(NODES[-1])
    for number in NODES:
        ring.wait_members(number, NODES)
    return took


def main() -> None:
    """Print the one JSON object."""
    if reason := unavailable():
        raise SystemExit(reason)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    followed, ours, debian = edits(rounds), deaths(rounds, {}), deaths(rounds, DEBIAN)
    seen, written = deaths_with_qdevice(rounds)
    show(
        "cluster",
        rounds=rounds,
        edit_in_force_s={"median": median(followed), "max": round(max(followed), 3)},
        node_death_seen_s={"median": median(ours), "max": round(max(ours), 3)},
        node_death_seen_debian_s={"median": median(debian), "max": round(max(debian), 3)},
        node_death_seen_qdevice_s={"median": median(seen), "max": round(max(seen), 3)},
        written_after_death_qdevice_s={"median": median(written), "max": round(max(written), 3)},
        death_ratio=ratio(median(ours), median(debian)),
        goals_s=GOALS_S,
        **forming(),
    )


if __name__ == "__main__":
    main()
