"""Votes are changed by hand, as the how-to does, on real nodes (mission W18)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from lab_cluster import Cluster, address, join

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

CONF = "/etc/pve/corosync.conf"
EDIT = """
import re, sys
path, node, votes, grow = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
text = open(path).read()
text = re.sub(rf"(name: {node}\\n.*?quorum_votes: )\\d+", rf"\\g<1>{votes}", text, flags=re.S)
text = re.sub(r"(config_version: )(\\d+)", lambda m: m[1] + str(int(m[2]) + grow), text)
with open(path, "w") as file:
    file.write(text)
"""


# vim: the old file becomes the backup by a rename, the new one is made beside it and synced
VIM = """
import os, re, sys
path, node, votes = sys.argv[1:4]
text = open(path).read()
text = re.sub(rf"(name: {node}\\n.*?quorum_votes: )\\d+", rf"\\g<1>{votes}", text, flags=re.S)
text = re.sub(r"(config_version: )(\\d+)", lambda m: m[1] + str(int(m[2]) + 1), text)
os.rename(path, path + "~")
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
os.write(file, text.encode())
os.fsync(file)
os.close(file)
os.unlink(path + "~")
"""


def edit(node: str, votes: int, grow: int = 1) -> tuple[str, ...]:
    """An edit in place, as nano does it."""
    return ("python3", "-c", EDIT, CONF, node, str(votes), str(grow))


def formed(lab: Lab, *nodes: str) -> Cluster:
    cluster = Cluster(lab)
    first, *others = nodes
    links = [word for n in (0, 1) for word in (f"--link{n}", address(lab, first, n))]
    cluster.say(first, "pvecm", "create", "votes", *links)
    for node in others:
        join(cluster, node, address(lab, first, 0))
    cluster.settled(nodes)
    return cluster


def shows(cluster: Cluster, node: str, total: int, quorum: int, timeout_s: float = 10.0) -> None:
    """Wait until a node's own corosync counts so."""
    said = f"^Total votes: *{total}$|^Quorum: *{quorum} "
    cluster.until(node, f"test $(corosync-quorumtool -s | grep -Ec '{said}') = 2", timeout_s)


def version(cluster: Cluster, node: str, path: str = "/etc/corosync/corosync.conf") -> int:
    found = re.search(r"config_version: (\d+)", cluster.say(node, "cat", path))
    assert found is not None
    return int(found[1])


@pytest.mark.timeout(400)
def test_two_nodes_with_votes_two_and_one(make_lab: Callable[[Plan], Lab]) -> None:
    lab = make_lab(Plan(2))
    cluster = formed(lab, "n1", "n2")
    assert "Two nodes without a third vote" in cluster.say("n1", "pvecm", "status")

    # W18: what is wrong is refused where the editor closes it, with the reason, and nothing changes
    cluster.say("n1", "cp", CONF, f"{CONF}.bak")
    before = version(cluster, "n1")
    assert "Invalid argument" in cluster.fails("n1", *edit("n1", 2, grow=0))
    assert "Invalid argument" in cluster.fails(
        "n1", "sh", "-c", f"echo 'totem {{' > /tmp/x; cp /tmp/x {CONF}"
    )
    assert "Invalid argument" in cluster.fails("n1", "sed", "-i", "s/quorum_votes: 1/quorum_votes: 2/", CONF)
    assert cluster.say("n1", "cat", CONF) == cluster.say("n1", "cat", f"{CONF}.bak")
    cluster.until("n2", "pvecm status | grep -q 'n1: corosync.conf: config_version is'")
    shows(cluster, "n1", 2, 2)

    # and what is right takes effect at once, on both
    cluster.say("n1", *edit("n1", 2))
    for node in ("n1", "n2"):
        shows(cluster, node, 3, 2, timeout_s=5)
        assert version(cluster, node) == before + 1
    said = cluster.say("n2", "pvecm", "status")
    assert "without it the others are read-only" in said and "the cluster keeps" not in said

    # the line is named, and a file of the editor's own beside it is no trouble
    cluster.fails("n1", "sed", "-i", "s/  secauth: on/  secauth on/", CONF)
    cluster.until("n1", r"pvecm status | grep -Eq 'corosync.conf.* line [0-9]+: .secauth on.'")

    # the node of two votes goes on alone
    lab.cut("n2")
    cluster.settled(["n1"])
    cluster.say("n1", "touch", "/etc/pve/alone")

    # ... changes them again meanwhile, and who was off for that catches up when it is back
    cluster.say("n1", "pvecm", "votes", "n1", "3")
    shows(cluster, "n1", 3, 3)  # of those that are here
    lab.power("n2")
    cluster.settled(["n1", "n2"])
    assert version(cluster, "n2") == version(cluster, "n1") == before + 2
    said = cluster.say("n2", "journalctl", "-b", "-u", "pvedaemon")
    assert f"has version {before + 1} of corosync.conf, the cluster {before + 2}: it is started" in said
    shows(cluster, "n2", 4, 3)

    # as vim and sed -i write it
    cluster.say("n2", "python3", "-c", VIM, CONF, "n1", "2")
    for node in ("n1", "n2"):
        shows(cluster, node, 3, 2)
    grown = before + 4
    both = f"s/quorum_votes: 2/quorum_votes: 1/; s/config_version: {grown - 1}/config_version: {grown}/"
    cluster.say("n1", "sed", "-i", both, CONF)
    for node in ("n1", "n2"):
        shows(cluster, node, 2, 2)

    # the other node dies before that has held: what costs the quorum is taken back by itself
    lab.cut("n2")
    cluster.until("n1", f"grep -q 'config_version: {grown + 1}' /etc/corosync/corosync.conf", 60)
    shows(cluster, "n1", 2, 2)
    cluster.settled(["n1"])
    cluster.until("n1", f"pvecm status | grep -q 'version {grown} of corosync.conf was taken back'")
    lab.power("n2")
    cluster.settled(["n1", "n2"])
    for node in ("n1", "n2"):
        shows(cluster, node, 3, 2)


@pytest.mark.skipif(not os.environ.get("KVORUM_SOAK"), reason="six nodes of the lab: with KVORUM_SOAK=1")
@pytest.mark.timeout(600)
def test_six_nodes_need_what_the_table_says(make_lab: Callable[[Plan], Lab]) -> None:
    """W14, on nodes that join; the rings of ``test_votes_ring.py`` show the same in every run."""
    cluster = formed(make_lab(Plan(6)), "n1")
    names = ["n1"]
    for count, quorum in ((2, 2), (3, 2), (4, 3), (5, 3), (6, 4)):
        join(cluster, f"n{count}", address(cluster.lab, "n1", 0))
        names.append(f"n{count}")
        cluster.settled(names)
        for node in names:
            shows(cluster, node, count, quorum)
        assert f"Quorum:           {quorum}" in cluster.say("n1", "pvecm", "status")
    for node in ("n6", "n5"):  # two of six may fail
        cluster.lab.cut(node)
    cluster.settled(names[:4])
    cluster.say("n1", "touch", "/etc/pve/four-of-six")
    cluster.lab.cut("n4")
    cluster.without_quorum("n1")
    assert "Read-only file system" in cluster.fails("n1", "touch", "/etc/pve/three-of-six")
