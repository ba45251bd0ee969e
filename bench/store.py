"""The store on three nodes, beside what its disk and Corosync take by themselves: ``python bench/store.py``.

    --quick        a fifth of the samples, a short look at the idle store
    --floor-only   the two floors of every node, and nothing of ours
    --alone        without pvedaemon and pveproxy: pmxcfs was measured with nobody who listens to it

Prints one JSON object. Times are in milliseconds, taken inside the first node, through /etc/pve or
(``socket_``) by the store's socket. Beside each row stand the floors of the same minute: fdatasync of a page
on the disk of /var/lib/pve-cluster, and a message of 700 bytes in Corosync's total order until it is back.
``ratio`` is the row's median against one message and one fdatasync for each change in it. ``of_each`` is what
one sample cost that node's daemons (``turns``: how often a thread of theirs got a CPU).

Goals hold where fdatasync takes less than 0.3 ms; a goal missed on a slower disk is ``met: null``. What the
bench makes in the store it takes away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from figures import median, ratio, show, spread

from kvorum.core.errors import KvorumError
from kvorum.lab import Lab, plan
from kvorum.lab.demo import Stage

Told: TypeAlias = dict[str, Any]
"""What a probe says, as JSON has it."""

NODES = 3
SAMPLES, QUICK_SAMPLES = 300, 60
IDLE_S, QUICK_IDLE_S = 60, 10
JOINS, QUICK_JOINS = 3, 1
PROBE_S = 1200.0
PARTS = Path(__file__).with_name("store_node")
LISTENING = ("pveproxy", "pvedaemon")
INSIDE = "/run/kvorum-bench"
PYTHON = "/usr/lib/kvorum/bin/python"
UNPACK = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for name, text in json.load(sys.stdin).items():
    (folder / name).write_text(text)
"""

PMXCFS = "pmxcfs, C, measured earlier, ms"
PMXCFS_MS = {
    "create_write_600": 2.0,
    "replace_by_rename": 3.0,
    "read": 0.28,
    "stat": 0.003,
    "write_400_kb": 41.0,
    "lock_unlock": 2.1,
    "unlink": 0.8,
}
"""Three nodes, the same Corosync, medians; measured once for the design, not in this run."""
PMXCFS_MB = 20
GOALS_MS = PMXCFS_MS | {
    "write_400_kb": 10.0,
    "socket_write_600": 2.0,
    "vmlist": 5.0,
    "vmlist_after_a_change": 5.0,
    "list_guests": 5.0,
    "list_guests_after_a_change": 5.0,
}
GOALS_HOLD_BELOW_MS = 0.3
"""Of the disk's fdatasync."""
GOALS_PER_SECOND = {"write_16_at_once": 2000, "socket_write_16_at_once": 2000}
GOAL_PSS_MIB = 45
GOAL_IN_SYNC_MS = 3000
CHANGES = {
    "create_write_600": 1,
    "replace_by_rename": 2,
    "write_400_kb": 1,
    "lock_unlock": 2,
    "unlink": 1,
    "socket_write_600": 1,
    "write_to_watch_elsewhere": 1,
    "steady_writes_to_watch_elsewhere": 1,
    "write_16_at_once": 1,
    "socket_write_16_at_once": 1,
}
"""How many changes of the store one sample of a row is."""


class Nodes:
    """The lab's cluster, with our parts in it while the block runs."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.names = stage.nodes[:NODES]

    def __enter__(self) -> Nodes:
        parts = json.dumps({file.name: file.read_text() for file in PARTS.glob("*.py")})
        for node in self.names:
            self._stage.run(node, "python3", "-c", UNPACK, INSIDE, input=parts)
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.names:
            self._stage.run(node, "rm", "-rf", INSIDE)

    def probe(self, node: str, *words: str | int) -> Told:
        """What the probe in a node tells; raises ``LabError`` with its words when it fails."""
        argv = [PYTHON, INSIDE, *map(str, words)]
        told: Told = json.loads(self._stage.lab.exec(node, argv, timeout_s=PROBE_S, check=True).stdout)
        return told

    def probe_all(self, *words: str | int) -> dict[str, Told]:
        """The same in all nodes at once."""
        with ThreadPoolExecutor(len(self.names)) as pool:
            told = pool.map(lambda node: self.probe(node, *words), self.names)
            return dict(zip(self.names, told, strict=True))

    @contextmanager
    def nobody_listening(self) -> Iterator[None]:
        """Without the daemons that hear of every change."""
        for node in self.names:
            self._stage.run(node, "systemctl", "stop", *LISTENING)
        try:
            yield
        finally:
            for node in self.names:
                self._stage.run(node, "systemctl", "start", *LISTENING)

    @contextmanager
    def elsewhere(self, node: str) -> Iterator[str]:
        """Let a node write and watch for another: the ADDRESS:PORT to ask it at."""
        address = plan.address(plan.LINKS[0], int(node.lstrip("n")))
        argv = [PYTHON, f"{INSIDE}/elsewhere.py", address]
        with self._stage.lab.popen(node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                if not (port := process.stdout.readline().decode().strip()):
                    sys.exit(f"the bench's part on {node} ended at once: its words are above")
                yield f"{address}:{port}"
            finally:
                process.stdin.close()
                process.wait(30)


def shown(rows: dict[str, Told]) -> dict[str, Told]:
    """The figures of raw rows, each beside its floors and its goal."""
    return {name: _figures(name, row) for name, row in rows.items()}


def _figures(name: str, row: Told) -> Told:
    told: Told = {**spread(row["ms"]), "samples": len(row["ms"])}
    goal = GOALS_MS.get(name)
    if "per_second" in row:
        told["per_second"] = round(row["per_second"], 1)
        goal = GOALS_PER_SECOND[name]
        told |= {"goal_per_second": goal, "met": _met(row["per_second"] > goal, row)}
    elif goal is not None:
        told |= {"goal": goal, "met": _met(told["median"] <= goal, row)}
    told["fdatasync"], told["message"] = spread(row["fdatasync_ms"]), spread(row["message_ms"])
    if name in CHANGES:
        floor = CHANGES[name] * (median(row["fdatasync_ms"]) + median(row["message_ms"]))
        each = 1000 / row["per_second"] if "per_second" in row else told["median"]
        told["ratio"] = ratio(each, floor)
    if name in PMXCFS_MS:
        told[PMXCFS] = PMXCFS_MS[name]
    if "stale" in row:
        told["first_read_was_stale"] = row["stale"]
    if "of_each" in row:
        told["of_each"] = {
            unit: {what: round(value, 3) for what, value in used.items()}
            for unit, used in row["of_each"].items()
        }
    return told


def _met(reached: bool, row: Told) -> bool | None:
    """Whether a goal was met; ``None`` when it was not and the disk was too slow for it to hold."""
    return None if not reached and median(row["fdatasync_ms"]) >= GOALS_HOLD_BELOW_MS else reached


def measure(nodes: Nodes, options: argparse.Namespace) -> Told:
    """All of it, from the first row to the idle store at the end."""
    quick = options.quick
    count = QUICK_SAMPLES if quick else SAMPLES
    first, last = nodes.names[0], nodes.names[-1]
    at_rest = nodes.probe(first, "ready", NODES)["pss_mib"]
    with ExitStack() as cleaning:
        cleaning.callback(nodes.probe, first, "clean", first)
        with nodes.elsewhere(last) as address:
            rows = nodes.probe(first, "files", count, address)
        guests = nodes.probe(first, "guests", first, count)
        joins = []
        for _ in range(QUICK_JOINS if quick else JOINS):
            joins.append(nodes.probe(last, "fresh"))
            nodes.probe(first, "ready", NODES)
    idle = nodes.probe_all("idle", QUICK_IDLE_S if quick else IDLE_S)
    in_sync = spread([join["in_sync_ms"] for join in joins])
    return {
        "rows": shown(rows | guests["rows"]),
        "two_thousand_guests": {
            "written_in_ms": round(guests["made_ms"], 1),
            "fresh_node_started_ms": median([join["started_ms"] for join in joins]),
            "fresh_node_in_sync_ms": {**in_sync, "samples": len(joins), "goal": GOAL_IN_SYNC_MS,
                                      "met": in_sync["median"] < GOAL_IN_SYNC_MS},
        },
        "memory_pss_mib": {
            "at_rest": round(at_rest, 1),
            "with_two_thousand_guests": round(guests["pss_mib"], 1),
            "afterwards": {node: round(told["pss_mib"], 1) for node, told in idle.items()},
            "goal": GOAL_PSS_MIB,
            "met": max(at_rest, guests["pss_mib"]) < GOAL_PSS_MIB,
            "pmxcfs, C, measured earlier, MB": PMXCFS_MB,
        },
        "idle_disk_writes": {
            "bytes_per_hour": {
                node: round(told["written_bytes"] * 3600 / told["seconds"]) for node, told in idle.items()
            },
            "how": f"write_bytes of /proc/PID/io over {next(iter(idle.values()))['seconds']:g} s, scaled",
            "goal": 0,
            "met": not any(told["written_bytes"] for told in idle.values()),
        },
    }  # fmt: skip


def floors(nodes: Nodes, options: argparse.Namespace) -> Told:
    """The two floors of each node, one node after the other."""
    count = QUICK_SAMPLES if options.quick else SAMPLES
    told = {}
    for node in nodes.names:
        raw = nodes.probe(node, "floor", count)
        told[node] = {"fdatasync": spread(raw["fdatasync_ms"]), "message": spread(raw["message_ms"])}
    return {"floors": told, "samples": count}


def main() -> None:
    """Form the cluster if there is none yet, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--floor-only", action="store_true")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    run: Callable[[Nodes, argparse.Namespace], Told] = floors if options.floor_only else measure
    try:
        stage = Stage(Lab())
        if len(stage.nodes) < NODES:
            sys.exit(f"the store is measured on {NODES} running nodes: kvorum lab up --nodes {NODES}")
        stage.form_cluster()
        load = [os.getloadavg()[0]]
        with Nodes(stage) as nodes, nodes.nobody_listening() if options.alone else nullcontext():
            figures = run(nodes, options)
        load.append(os.getloadavg()[0])
    except KvorumError as error:
        sys.exit(str(error))
    about = {"quick": options.quick, "alone": options.alone, "load_before_and_after": load}
    show("store", unit="ms", nodes=NODES, **about, **figures)


if __name__ == "__main__":
    main()
