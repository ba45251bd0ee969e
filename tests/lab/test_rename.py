"""A node joins under its guests' other ids; links move, go and come; it is renamed while its guest runs on.

One story on one lab, since each part needs what the one before has made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from lab_cluster import FINGERPRINT, Cluster, address, join

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

DISK = ("--scsi0", "local:0.01,format=qcow2")
SNAPSHOT = "\\n[before]\\nmemory: 32\\nscsi0: local:100/vm-100-disk-0.qcow2,size=10M\\nsnaptime: 1\\n"
MOVED = "198.18.11.33"
MOVED_0 = "198.18.10.33"


def linked(cluster: Cluster, node: str, peer: str, link: int) -> str:
    """The script that holds when a node's own corosync says that the link to a peer's address is up."""
    return f"corosync-cfgtool -n | grep -q 'LINK: {link} .*->{peer}) enabled connected'"


@pytest.mark.timeout(600)
def test_a_node_comes_with_renumbered_guests_moves_its_links_and_takes_another_name(
    make_lab: Callable[[Plan], Lab],
) -> None:
    lab = make_lab(Plan(3))
    cluster = Cluster(lab)
    links = [word for n in (0, 1) for word in (f"--link{n}", address(lab, "n1", n))]
    cluster.say("n1", "pvecm", "create", "walk", *links)
    join(cluster, "n2", address(lab, "n1", 0))
    cluster.create("n1", 100)
    comes_with_its_guests(cluster)
    cluster.say("n3", "qm", "start", "101")
    pid = cluster.pid("n3", 101)

    moves_its_links(cluster)
    stands_aside_for_link_0(cluster)
    clocks_and_loss_are_seen(cluster)
    takes_another_name(cluster)
    assert cluster.lives("n3", pid), "the guest ran through all of it"
    cluster.say("n3", "qm", "stop", "101")


def comes_with_its_guests(cluster: Cluster) -> None:
    """``--keep-guests`` lists the clash; ``--renumber`` gives way, with disk and snapshot."""
    lab, peer = cluster.lab, address(cluster.lab, "n1", 0)
    cluster.create("n3", 100, *DISK)
    cluster.create("n3", 200, *DISK)
    cluster.say("n3", "sh", "-c", f"printf '{SNAPSHOT}' >> /etc/pve/qemu-server/100.conf")
    secret = f"{lab.password}\n"
    links = [word for n in (0, 1) for word in (f"--link{n}", address(lab, "n3", n))]
    asked = cluster.run("n3", "pvecm", "add", peer, *links, "--keep-guests", "1", input=secret)
    shown = FINGERPRINT.search(asked.stdout + asked.stderr)
    assert shown is not None
    argv = ("pvecm", "add", peer, "--fingerprint", shown[0], *links)
    refused = cluster.run("n3", *argv, "--keep-guests", "1", input=secret)
    assert refused.returncode != 0
    assert "VM 100 (node n1 has one)" in refused.stdout + refused.stderr, refused
    assert "VM 200" not in refused.stdout + refused.stderr
    said = cluster.run("n3", *argv, "--renumber", "1", input=secret, timeout_s=180)
    assert said.returncode == 0 and "VM 100 is to be VM 101" in said.stdout, said
    cluster.settled()
    assert cluster.owner(101) == ["n3"] and cluster.owner(200) == ["n3"] and cluster.owner(100) == ["n1"]
    text = cluster.say("n3", "cat", "/etc/pve/qemu-server/101.conf")
    assert text.count("local:101/vm-101-disk-0.qcow2") == 2 and "vm-100" not in text
    cluster.say("n3", "sh", "-c", "cd /var/lib/vz/images && test -f 101/vm-101-disk-0.qcow2 && ! test -e 100")


def moves_its_links(cluster: Cluster) -> None:
    """Another address on link 1; the link goes and comes; what can't be is refused."""
    lab = cluster.lab
    nowhere = cluster.fails("n1", "pvecm", "link", "set", "n3", "--link1", MOVED)
    assert f"address '{MOVED}' is not configured on node 'n3'" in nowhere
    cluster.say("n3", "ip", "addr", "add", f"{MOVED}/25", "dev", "eth1")
    cluster.say("n1", "pvecm", "link", "set", "n3", "--link1", MOVED)
    for node in ("n1", "n2"):
        cluster.until(node, linked(cluster, node, MOVED, 1))
    cluster.say("n3", "ip", "addr", "del", f"{address(lab, 'n3', 1)}/24", "dev", "eth1")

    cluster.say("n2", "touch", "/etc/pve/after-the-move")

    assert "link 0 can't be dropped" in cluster.fails("n2", "pvecm", "link", "remove", "0")
    without = "sed 's/ring0_addr/ring7_addr/; s/config_version: ./config_version: 99/' /etc/pve/corosync.conf"
    assert "Invalid argument" in cluster.fails(
        "n2", "sh", "-c", f"{without} > /tmp/c; cp /tmp/c /etc/pve/corosync.conf"
    )
    cluster.say("n2", "pvecm", "link", "remove", "1")
    cluster.say("n1", "pvecm", "link", "add", "1", "198.18.11.0/24", "--priority", "3")
    for node, peer in (("n1", MOVED), ("n3", address(lab, "n1", 1)), ("n2", MOVED)):
        cluster.until(node, linked(cluster, node, peer, 1))
    assert "knet_link_priority: 3" in cluster.say("n3", "cat", "/etc/corosync/corosync.conf")
    assert cluster.run("n1", "test", "-e", "/etc/pve/link-change.json").returncode != 0


def stands_aside_for_link_0(cluster: Cluster) -> None:
    """Another node gives it another address there; all know it by that one, and it has quorum again."""
    lab = cluster.lab
    assert "is not configured on node 'n3'" in cluster.fails(
        "n2", "pvecm", "link", "set", "n3", "--link0", MOVED_0
    )
    cluster.say("n3", "ip", "addr", "add", f"{MOVED_0}/25", "dev", "eth0")
    assert "on n1" in cluster.fails("n3", "pvecm", "link", "set", "n3", "--link0", MOVED_0)
    began = time.monotonic()
    said = cluster.say("n2", "pvecm", "link", "set", "n3", "--link0", MOVED_0, timeout_s=120)
    print(f"another address on link 0 within {time.monotonic() - began:.1f} s: {said}")
    for node in ("n1", "n2"):
        cluster.until(node, linked(cluster, node, MOVED_0, 0))
        cluster.until(node, f"grep -q {MOVED_0} /etc/pve/.members")
    cluster.say("n3", "ip", "addr", "del", f"{address(lab, 'n3', 0)}/24", "dev", "eth0")
    cluster.say("n3", "touch", "/etc/pve/after-standing-aside")
    cluster.until("n1", "test -e /etc/pve/after-standing-aside")
    cluster.until("n1", "pvesh get /nodes/n3/status >/dev/null 2>&1")
    assert cluster.run("n1", "test", "-e", "/etc/pve/link-change.json").returncode != 0


def clocks_and_loss_are_seen(cluster: Cluster) -> None:
    """Said on every node once, and no more when they are over."""
    lab = cluster.lab
    lab.clock("n3", 300)
    cluster.settled()
    lab.loss(25, 1)
    said = "The clock of n3 is 300 s ahead of the others"
    cluster.until("n1", f'pvecm status | grep -q "{said}"', 60)
    cluster.until("n2", "pvecm status | grep -Eq 'Link 1 between n. and n. (loses frames|is down)'", 90)
    rows = cluster.get("n2", "/kvorum/links")
    assert isinstance(rows, dict)
    assert {"clock-apart"} < {row["kind"] for row in rows["warnings"]}, rows["warnings"]
    assert {row["node"] for row in rows["links"]} == {"n1", "n2", "n3"}
    apart = {row["to"] for row in rows["clocks"] if 295_000 < abs(row["ahead_ms"]) < 305_000}
    assert apart, rows["clocks"]
    lab.heal()
    lab.clock("n3", 0)
    cluster.settled()
    cluster.until("n1", f'! pvecm status | grep -q "{said}"', 60)
    log = cluster.say("n1", "cat", "/etc/pve/.clusterlog")
    assert log.count(said) <= 1


def takes_another_name(cluster: Cluster) -> None:
    """Its folder, certificate, host name and guests follow; what has its former name finds it."""
    cluster.say("n1", "pvesm", "add", "dir", "own", "--path", "/mnt/own", "--nodes", "n3")
    assert "has a node 'n2' already" in cluster.fails("n3", "pvecm", "rename", "n3", "n2")
    began = time.monotonic()
    said = cluster.say("n1", "pvecm", "rename", "n3", "server3", timeout_s=180)
    print(f"renamed within {time.monotonic() - began:.1f} s: {said}")
    whole = 'test $(grep -Ec \'"online": 1|"quorate": 1|"server3"\' /etc/pve/.members) -ge 5'
    for machine in ("n1", "n2", "n3"):
        cluster.until(machine, f"{whole} && pvesh get /version >/dev/null 2>&1", 60)
    assert cluster.say("n3", "hostname").strip() == "server3"
    assert cluster.owner(101) == ["server3"]
    assert "n3" not in cluster.say("n2", "ls", "/etc/pve/nodes").split()
    assert "nodes server3" in cluster.say("n2", "cat", "/etc/pve/storage.cfg")
    cluster.until("n1", "pvesh get /nodes/server3/status --output-format json | grep -q uptime")
    cluster.until("n1", "pvesh get /nodes/n3/tasks --output-format json | grep -q noderename")
    cluster.until("n3", "qm status 101 | grep -q running")
    cluster.say("n1", "touch", "/etc/pve/after-the-rename")
    cluster.until("n2", 'pvesh get /cluster/resources --output-format json | grep -q \'"node":"server3"\'')
