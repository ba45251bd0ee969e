"""Votes are changed by hand, as the how-to does, on real nodes (mission W18)."""

from __future__ import annotations

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

    # the node of two votes goes on alone
    lab.cut("n2")
    cluster.settled(["n1"])
    cluster.say("n1", "touch", "/etc/pve/alone")
