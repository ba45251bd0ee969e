"""A cluster is created and joined by the commands a reader types, on real nodes (mission W7 to W11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_cluster import NODES, address

if TYPE_CHECKING:
    from lab_cluster import Cluster


def test_every_node_sees_all_nodes_and_quorum(cluster: Cluster) -> None:
    for node in NODES:
        rows = cluster.get(node, "/cluster/status")
        assert isinstance(rows, list)
        assert rows[0]["type"] == "cluster" and rows[0]["quorate"] == 1 and rows[0]["nodes"] == 3
        assert sorted(row["name"] for row in rows[1:] if row["online"]) == ["n1", "n2", "n3"]
        text = cluster.say(node, "pvecm", "status")
        assert "Total votes:      3" in text and "Quorum:           2  " in text


def test_all_nodes_have_certificates_of_one_authority(cluster: Cluster) -> None:
    authority = "/etc/pve/pve-root-ca.pem"
    for node in NODES:
        certificate = f"/etc/pve/nodes/{node}/pve-ssl.pem"
        checked = cluster.say("n1", "openssl", "verify", "-CAfile", authority, certificate)
        assert checked.rstrip().endswith("OK")


def test_corosync_runs_the_configuration_of_the_store(cluster: Cluster) -> None:
    copies = {
        cluster.say(node, "cat", path)
        for node in NODES
        for path in ("/etc/corosync/corosync.conf", "/etc/pve/corosync.conf")
    }
    assert len(copies) == 1
    text = copies.pop()
    assert all(address(cluster.lab, node, link) in text for node in NODES for link in (0, 1))


def test_a_second_create_and_a_second_join_are_refused_with_all_reasons(cluster: Cluster) -> None:
    again = cluster.fails("n1", "pvecm", "create", "other")
    assert "cluster config '/etc/pve/corosync.conf' already exists" in again
    joined = cluster.run("n2", "pvecm", "add", address(cluster.lab, "n1", 0), input="x\n")
    assert joined.returncode != 0
    said = joined.stdout + joined.stderr
    assert "Check if node may join a cluster failed!" in said
    assert "authentication key '/etc/corosync/authkey' already exists" in said
