"""Guests in daily life on one node: ``python bench/guests.py [--only starts|crowd|copies] [--node n1]``.

    starts    ``qm start`` until QEMU runs, beside QEMU's bare command line of the same guest
    crowd     fifty small VMs on the node: how old /cluster/resources gets, and what the daemons use
    copies    full clone and import of a disk, beside ``qemu-img convert`` of the same image
              (``--data-mib``, ``--rounds``, ``--formats raw``: an image that the page cache can't swallow);
              ``synced`` is the same with its target on the disk at the end, as ours always is

The parts of each run inside the node in turns, so that both sides see the same machine. What the bench makes
it takes away. Rows of guests are watched at the node itself and, where the lab has another, there too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from figures import median, ratio, show
from memory import PROBE

from kvorum.core.errors import KvorumError
from kvorum.lab import Lab

PARTS = Path(__file__).with_name("guests_node")
FIRST = 9700
ROUNDS = 9
START_GOAL_MS = 500
CROWD = 50
KILLED = 10
WATCHED_S = 20
QUIET_S = 30
AGE_GOAL_S = 2
CPU_GOAL_PERCENT = 2
"""Of one core, all daemons of the node together."""
DAEMONS = ("pve-cluster", "pvedaemon", "pveproxy")
COPIES = 3
DATA_MIB = 1024
COPY_GOAL = 1.2
OVERHEAD = "small"
"""The row of an import of next to nothing: what comes on top of any copy, and has no goal of its own."""
COMMAND_S = 600.0


class Node:
    """One node of a running lab, and the scripts that measure in it."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    def run(self, *argv: str, check: bool = True, input: str | None = None) -> str:
        """What a command says; raises ``LabError`` with its words when it fails."""
        return self._lab.exec(self.name, argv, timeout_s=COMMAND_S, check=check, input=input).stdout

    def measure(self, script: str, *words: str) -> Any:
        """What a script of ``guests_node`` found."""
        return json.loads(self.run("python3", "-", *words, input=(PARTS / script).read_text()))

    @contextmanager
    def following(self, script: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A script that goes on until its standard input ends."""
        argv = ["python3", "-c", (PARTS / script).read_text(), *words]
        pipe = subprocess.PIPE
        process = self._lab.popen(self.name, argv, stdin=pipe, stdout=pipe)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def starts(node: Node) -> dict[str, object]:
    """A guest with a disk, a card and a serial port, started again and again."""
    vmid = str(FIRST)
    settings = ("--memory", "128", "--cpu", "qemu64", "--serial0", "socket", "--agent", "1")
    parts = ("--virtio0", "local:0.1", "--net0", "virtio,bridge=vmbr0", "--scsihw", "virtio-scsi-pci")
    node.run("qm", "create", vmid, *settings, *parts)
    try:
        told = node.measure("starts.py", vmid, str(ROUNDS))
    finally:
        node.run("qm", "destroy", vmid, check=False)
    found = {name: median(values) for name, values in told.items()}
    more = round(found["ours_command"] - found["bare_running"], 3)
    return {"unit": "ms", "rounds": ROUNDS, **found, "more": more, "goal_more": START_GOAL_MS,
            "met": more < START_GOAL_MS}  # fmt: skip


def crowd(nodes: Sequence[Node]) -> dict[str, object]:
    """Fifty guests that wait for a disk to boot from."""
    node, vmids = nodes[0], [str(FIRST + 1 + number) for number in range(CROWD)]
    with ExitStack() as stack:
        stack.callback(_remove, node, vmids)
        each = "qm create $0 --memory 16 --vga none --cpu qemu64 --balloon 0 >&2 && qm start $0 >&2"
        for vmid in vmids:
            node.run("sh", "-c", each, vmid)
        user = ("root@pam", "bench", "--privsep", "0", "--output-format", "json")
        secret = json.loads(node.run("pveum", "user", "token", "add", *user))["value"]
        stack.callback(node.run, "pveum", "user", "token", "remove", "root@pam", "bench")
        time.sleep(QUIET_S)  # what begins is over: firmware, new files
        probe = node.run("python3", "-c", PROBE, json.dumps(DAEMONS), str(QUIET_S))
        cpu = {unit: round(used["cpu_percent"], 2) for unit, used in json.loads(probe).items()}
        token = f"PVEAPIToken=root@pam!bench={secret}"
        seen = _watched(nodes, token, vmids)
    together = round(sum(cpu.values()), 2)
    oldest = max(one["oldest_row_s"] for one in seen.values())
    slowest = max(one["death_seen_s"]["max"] for one in seen.values())
    return {
        "guests": CROWD,
        "seen_at": seen,
        "age_goal_s": AGE_GOAL_S,
        "cpu_percent": {**cpu, "together": together},
        "cpu_goal_percent": CPU_GOAL_PERCENT,
        "met": {
            "age": oldest <= AGE_GOAL_S and slowest <= AGE_GOAL_S,
            "cpu": together < CPU_GOAL_PERCENT,
        },
    }


def _watched(nodes: Sequence[Node], token: str, vmids: list[str]) -> dict[str, dict[str, Any]]:
    """What each node's page told of the guests while they ran, and while some of them died."""
    with ExitStack() as stack:
        watches = {
            node.name: stack.enter_context(node.following("watch.py", token, ",".join(vmids)))
            for node in nodes
        }
        time.sleep(WATCHED_S)
        died = nodes[0].measure("disturb.py", "0.7", *vmids[:KILLED])
        time.sleep(AGE_GOAL_S * 2)
        return {name: _told(watch, died) for name, watch in watches.items()}


def _told(watch: subprocess.Popen[bytes], died: dict[str, float]) -> dict[str, Any]:
    said, _ = watch.communicate(timeout=30)
    *changes, end = (json.loads(line) for line in said.splitlines())
    gone = {str(one["vmid"]): one["at"] for one in changes if one["status"] == "stopped"}
    took = [gone[vmid] - at for vmid, at in died.items()]
    return {
        "oldest_row_s": round(max(end["stood_still_s"].values()), 3),
        "death_seen_s": {"median": median(took), "max": round(max(took), 3)},
        "asked": end["asked"],
    }


def _remove(node: Node, vmids: list[str]) -> None:
    for vmid in vmids:
        node.run("sh", "-c", "qm stop $0; qm destroy $0", vmid, check=False)


def copies(node: Node, data_mib: int, rounds: int, formats: str) -> dict[str, object]:
    """An image, imported and cloned within the node's local storage."""
    told = node.measure("copies.py", str(FIRST + CROWD + 1), str(data_mib), str(rounds), formats)
    rows: dict[str, dict[str, object]] = {}
    for name, sides in told.items():
        found = {side: median(values) for side, values in sides.items()}
        times = ratio(found["ours"], found["convert"])
        rows[name] = {**found, "ratio": times, "ratio_synced": ratio(found["ours"], found["synced"])}
        if name != OVERHEAD:
            like = rows[name]["ratio_synced"]
            rows[name]["met"] = times is not None and times <= COPY_GOAL
            rows[name]["met_synced"] = isinstance(like, float) and like <= COPY_GOAL
    return {"unit": "s", "data_mib": data_mib, "rounds": rounds, "goal_ratio": COPY_GOAL, "rows": rows}


def main() -> None:
    """Measure and print the one JSON object."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--only", choices=("starts", "crowd", "copies"))
    asked.add_argument("--node", default="n1")
    asked.add_argument("--data-mib", type=int, default=DATA_MIB)
    asked.add_argument("--rounds", type=int, default=COPIES)
    asked.add_argument("--formats", choices=("qcow2,raw", "qcow2", "raw"), default="qcow2,raw")
    wanted = asked.parse_args()
    lab = Lab()
    try:
        others = [name for name, state in lab.states().items() if state == "running" and name[0] == "n"]
        here = Node(lab, wanted.node)
        beside = [Node(lab, name) for name in others if name != wanted.node and _together(here, name)]
        parts: dict[str, Callable[[], dict[str, object]]] = {
            "starts": lambda: starts(here),
            "crowd": lambda: crowd([here, *beside[:1]]),
            "copies": lambda: copies(here, wanted.data_mib, wanted.rounds, wanted.formats),
        }
        show("guests", **{name: part() for name, part in parts.items() if wanted.only in (None, name)})
    except KvorumError as error:
        sys.exit(str(error))


def _together(node: Node, other: str) -> bool:
    """Whether another node is in this one's cluster."""
    rows = json.loads(node.run("pvesh", "get", "/cluster/status", "--output-format", "json"))
    return any(row.get("type") == "node" and row.get("name") == other for row in rows)


if __name__ == "__main__":
    main()
