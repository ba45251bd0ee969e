"""How long a cluster of two with a QDevice takes to go on when a node loses power, on a lab of its own.

Seen: the new membership, with the QDevice's vote, at the survivor's Corosync. Written: the survivor's first
change that is acknowledged. Both from the moment before the power is cut. The QDevice's machine is a plain
Debian with corosync-qnetd.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "lab"))

from lab_cluster import Cluster, _links, address, join

from kvorum.lab import Lab, needs
from kvorum.lab.commands import cached_roots, find_deb
from kvorum.lab.plan import Plan

NODES = ("n1", "n2")
QNETD = "198.18.10.201"
_PYTHON = "/usr/lib/kvorum/bin/python"
_VOTES = "pvecm status | grep -q '^0x.*A,V,NMW.*(local)'"
_STORE_VOTES = "journalctl -u pve-cluster -o cat | grep 'vote is.* here' | tail -1 | grep -q 'is here'"
# What is told of the survivor: both clocks are this machine's monotonic one.
_WATCH = """
import asyncio, json, time
from kvorum.corosync import Quorum
told = asyncio.Event()
def change(quorate, ring, nodes):
    if quorate and len(nodes) == 1:
        print(json.dumps(time.monotonic()), flush=True)
        told.set()
async def main():
    quorum = Quorum(quorum_change=change)
    quorum.attach(lambda error: told.set())
    quorum.track()
    print("ready", flush=True)
    await asyncio.wait_for(told.wait(), 60)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with open("/etc/pve/bench", "w") as file:
                file.write("alone")
            break
        except OSError:
            await asyncio.sleep(0.02)
    print(json.dumps(time.monotonic()), flush=True)
asyncio.run(main())
"""


def deaths(rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from a death to its being seen, and to the survivor's first acknowledged change."""
    if reason := needs.missing(needs.look()):
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        lab = Lab(Path(directory))
        plan = Plan(2, plain=1)
        lab.up(plan, cached_roots(plan, find_deb("auto")), None)
        try:
            cluster = _with_qdevice(lab)
            took = [_death(cluster) for _ in range(rounds)]
        finally:
            lab.down()
    return [seen for seen, _ in took], [written for _, written in took]


def _with_qdevice(lab: Lab) -> Cluster:
    cluster = Cluster(lab)
    cluster.say("n1", "pvecm", "create", "bench", *_links(lab, "n1"))
    join(cluster, "n2", address(lab, "n1", 0))
    cluster.settled(NODES)
    cluster.say("p1", "sh", "-c", "echo PermitRootLogin yes >> /etc/ssh/sshd_config && systemctl restart ssh")
    key = cluster.say("p1", "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    options = ("--install", "--hostkey", key)
    cluster.say("n1", "pvecm", "qdevice", "setup", QNETD, *options, input=f"{lab.password}\n", timeout_s=300)
    return cluster


def _death(cluster: Cluster) -> tuple[float, float]:
    for node in NODES:
        cluster.until(node, _VOTES, 60)
        cluster.until(node, _STORE_VOTES, 60)
    watching = cluster.lab.popen(
        "n2", [_PYTHON, "-c", _WATCH], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert watching.stdout is not None
    with watching, watching.stdout as said:
        assert said.readline() == b"ready\n"
        begun = time.monotonic()
        cluster.lab.cut("n1")
        seen, written = (json.loads(said.readline()) - begun for _ in range(2))
    cluster.lab.power("n1")
    cluster.settled(NODES)
    return seen, written
