"""Nodes go and come again, on real nodes: removed, leaving, dead and back with their old state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from lab_cluster import FINGERPRINT, Cluster, address, form, join

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

# Keys are random text, in which a name may stand by chance.
_TRACES = (
    "grep -rIl --exclude-dir=n3 --exclude=removed-nodes.json --exclude='*.key' -w n3 "
    "/etc/pve/corosync.conf /etc/pve/*.cfg /etc/pve/priv /etc/corosync/corosync.conf; "
    "find /etc/pve/nodes/n3 /etc/pve/ha -name '*n3*' 2>/dev/null; grep -o n3 /etc/pve/.members; true"
)

_PAGE = (
    "import ssl, urllib.request as u; "
    "u.urlopen('https://127.0.0.1:8006/', context=ssl._create_unverified_context(), timeout=2)"
)


@pytest.fixture
def three(make_lab: Callable[[Plan], Lab]) -> Cluster:
    """A cluster of the test's own, since nodes leave it."""
    return form(make_lab(Plan(3)))


def nowhere(cluster: Cluster, node: str) -> None:
    """Wait until nothing of n3 is left in what a node sees of the cluster."""
    looped = (
        f'n=0; while left=$({_TRACES}); test -n "$left" && test $n -lt 200; do sleep 0.1; n=$((n+1)); done'
    )
    assert cluster.say(node, "sh", "-c", f'{looped}; echo "$left"').strip() == ""


def standalone(cluster: Cluster, node: str) -> None:
    """Wait until a node is one of its own: writable, with a page, and in no cluster."""
    cluster.until(node, "touch /etc/pve/alone 2>/dev/null && ! test -e /etc/pve/corosync.conf", 40)
    cluster.until(node, f'python3 -c "{_PAGE}" 2>/dev/null', 20)
    assert cluster.run(node, "systemctl", "is-active", "corosync").stdout.strip() == "inactive"
    assert not cluster.say(node, "ls", "/etc/corosync").count("authkey")
    rows = cluster.get(node, "/cluster/status")
    assert isinstance(rows, list) and [row["type"] for row in rows] == ["node"]


@pytest.mark.timeout(400)
def test_a_node_leaves_by_itself_and_joins_again(three: Cluster) -> None:
    three.create("n3", 300)
    assert "this node has guests: VM 300" in three.fails("n3", "pvecm", "leave")
    three.say("n3", "qm", "destroy", "300")
    three.say("n1", "pvesm", "add", "dir", "only3", "--path", "/mnt/only3", "--nodes", "n3")
    three.say("n1", "pvesm", "add", "dir", "both", "--path", "/mnt/both", "--nodes", "n2,n3")

    assert "run 'pvecm leave' on it, or shut it down first" in three.fails("n1", "pvecm", "delnode", "n3")
    assert "Cannot delete myself from cluster!" in three.fails("n1", "pvecm", "delnode", "n1")
    assert "the cluster has no node 'n9'" in three.fails("n1", "pvecm", "delnode", "n9")

    said = three.say("n3", "pvecm", "leave")
    assert "storage 'only3' was on node 'n3' alone" in said
    standalone(three, "n3")
    three.settled(("n1", "n2"))
    for node in ("n1", "n2"):
        nowhere(three, node)
        assert "Total votes:      2" in three.say(node, "pvecm", "status")
    assert three.say("n1", "pvesm", "status").count("only3") == 0
    assert "nodes n2\n" in three.say("n1", "cat", "/etc/pve/storage.cfg")

    join(three, "n3", address(three.lab, "n1", 0))
    three.settled()
    assert "Total votes:      3" in three.say("n1", "pvecm", "status")


@pytest.mark.timeout(400)
def test_a_dead_node_is_removed_and_does_not_disturb_when_it_comes_back(three: Cluster) -> None:
    three.create("n3", 300)
    three.lab.cut("n3")
    three.settled(("n1", "n2"))
    assert "node 'n3' has guests: VM 300" in three.fails("n1", "pvecm", "delnode", "n3")
    three.say("n1", "pvecm", "delnode", "n3", "--force", "1")
    three.settled(("n1", "n2"))
    for node in ("n1", "n2"):
        nowhere(three, node)

    three.lab.power("n3")
    three.until("n3", "test -s /var/lib/pve-cluster/removed-from-cluster", 90)
    three.until("n3", "! systemctl is-active -q corosync", 20)
    status = json.loads(three.say("n3", "cat", "/etc/pve/.members"))
    assert status["cluster"]["quorate"] == 0
    assert "was removed from cluster 'walk' by root@pam" in three.fails("n3", "qm", "start", "300")
    three.settled(("n1", "n2"))

    three.say("n3", "pvecm", "leave")
    standalone(three, "n3")
    assert three.say("n3", "qm", "list") == ""
    join(three, "n3", address(three.lab, "n2", 0))
    three.settled()


@pytest.mark.timeout(300)
def test_the_last_two_go_and_the_last_one_keeps_its_files(three: Cluster) -> None:
    three.create("n1", 300)
    three.say("n3", "pvecm", "leave")
    three.settled(("n1", "n2"))
    three.say("n2", "pvecm", "leave")
    three.settled(("n1",))
    three.say("n1", "pvecm", "leave")
    for node in ("n1", "n2", "n3"):
        standalone(three, node)
    assert "300" in three.say("n1", "qm", "list")
    three.say("n2", "pvecm", "create", "other", "--link0", address(three.lab, "n2", 0))
    asked = three.run("n3", "pvecm", "add", address(three.lab, "n2", 0), input=f"{three.lab.password}\n")
    shown = FINGERPRINT.search(asked.stdout + asked.stderr)
    assert shown, asked
    peer, link = address(three.lab, "n2", 0), address(three.lab, "n3", 0)
    argv = ("pvecm", "add", peer, "--fingerprint", shown[0], "--link0", link)
    three.say("n3", *argv, input=f"{three.lab.password}\n")
    three.settled(("n2", "n3"))
