"""pvedaemon is killed while it creates a cluster: the node is as before, or the cluster is there."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest
from lab_cluster import Cluster, address

from kvorum.lab import Lab
from kvorum.lab.plan import Plan

SOAK = bool(os.environ.get("KVORUM_SOAK"))
SEED = int(os.environ.get("KVORUM_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
LONG_S = 3.0
"""A creation takes about as long."""


@pytest.mark.timeout(4 * 3600 if SOAK else 300)
@pytest.mark.parametrize("number", range(30 if SOAK else 1))
def test_a_creation_whose_daemon_is_killed_is_undone_or_done(
    make_lab: Callable[[Plan], Lab], number: int
) -> None:
    delay_s = random.Random(f"{SEED} {number}").random() * LONG_S
    print(f"KVORUM_KILL_SEED={SEED}, number {number}: killed after {delay_s * 1000:.0f} ms")
    cluster = Cluster(make_lab(Plan(1)))
    create = ("pvecm", "create", "walk", "--link0", address(cluster.lab, "n1", 0))
    active = "systemctl -q is-active pvedaemon pve-cluster pveproxy"
    cluster.until("n1", f"{active} && pvesh get /version >/dev/null", 60)
    with cluster.following("n1", *create) as creating:
        time.sleep(delay_s)
        cluster.say("n1", "systemctl", "kill", "-s", "KILL", "--kill-whom=main", "pvedaemon")
        creating.end()
    cluster.until("n1", f"{active} && pvesh get /version >/dev/null", 60)
    cluster.until("n1", "[ ! -e /var/lib/kvorum/cluster-change.json ]", 90)
    files = ("/etc/pve/corosync.conf", "/etc/corosync/corosync.conf", "/etc/corosync/authkey")
    there = [cluster.run("n1", "test", "-e", file).returncode == 0 for file in files]
    assert len(set(there)) == 1, dict(zip(files, there, strict=True))
    running = cluster.run("n1", "systemctl", "-q", "is-active", "corosync").returncode == 0
    assert running == there[0]
    print("  the cluster is there" if running else "  as before")
    if not running:
        cluster.say("n1", *create)
    cluster.settled(["n1"])
    assert "Quorate:          Yes" in cluster.say("n1", "pvecm", "status")
    cluster.create("n1", 100, "--memory", "32")
