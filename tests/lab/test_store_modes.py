"""A node's store goes from local mode into a cluster and out of it; its running guest does not notice."""

from __future__ import annotations

import json

from lab_cluster import Cluster

from kvorum.lab.plan import Plan

WITHDRAW = """
set -e
systemctl stop pve-cluster corosync
rm /etc/corosync/corosync.conf /etc/corosync/authkey
systemctl start pve-cluster
rm /etc/pve/corosync.conf
"""


def test_a_guest_runs_through_its_nodes_way_into_a_cluster_and_out_again(make_lab) -> None:
    cluster = Cluster(make_lab(Plan(1)))
    cluster.create("n1", 100, "--scsi0", "local:0.01,format=qcow2")
    cluster.say("n1", "qm", "start", "100")
    pid = cluster.pid("n1", 100)
    before = cluster.say("n1", "cat", "/etc/pve/qemu-server/100.conf")

    cluster.say("n1", "pvecm", "create", "walk")
    cluster.settled(["n1"])
    assert cluster.say("n1", "cat", "/etc/pve/qemu-server/100.conf") == before
    assert cluster.lives("n1", pid) and cluster.status("n1", 100) == "running"

    cluster.say("n1", "sh", "-c", WITHDRAW)
    assert "cluster" not in json.loads(cluster.say("n1", "cat", "/etc/pve/.members"))
    cluster.until("n1", "qm status 100")
    assert cluster.say("n1", "cat", "/etc/pve/qemu-server/100.conf") == before
    assert cluster.lives("n1", pid) and cluster.status("n1", 100) == "running"
    cluster.say("n1", "qm", "set", "100", "--name", "alone-again")
    cluster.say("n1", "qm", "stop", "100")
    assert not cluster.lives("n1", pid)
