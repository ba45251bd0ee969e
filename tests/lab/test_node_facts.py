"""What real nodes tell of themselves, whichever node is asked."""

from __future__ import annotations

from lab_cluster import NODES, SHARED, Cluster


def test_another_nodes_bridge_is_told_with_its_port_and_address(cluster: Cluster) -> None:
    rows = cluster.get("n1", "/nodes/n3/network")
    assert isinstance(rows, list)
    found = {row["iface"]: row for row in rows}
    bridge = found["vmbr0"]
    assert (bridge["type"], bridge["active"], bridge["bridge_ports"]) == ("bridge", 1, "eth2")
    assert bridge["cidr"] == "198.18.12.3/24"
    assert found["eth0"]["cidr"] == "198.18.10.3/24"
    assert "lo" not in found
    assert cluster.get("n1", "/nodes/n3/network/vmbr0") == bridge


def test_all_nodes_storages_are_listed_with_their_room(cluster: Cluster) -> None:
    for node in NODES:
        cluster.until(
            node, f"pvesh get /cluster/resources --type storage --noborder | grep -q 'storage/n3/{SHARED}'"
        )
        rows = cluster.get(node, "/cluster/resources")
        assert isinstance(rows, list)
        storages = {row["id"]: row for row in rows if row["type"] == "storage"}
        assert set(storages) == {f"storage/{n}/{name}" for n in NODES for name in ("local", SHARED)}
        for row in storages.values():
            assert (row["status"], row["plugintype"]) == ("available", "dir")
            assert 0 < row["disk"] < row["maxdisk"]
            assert row["shared"] == int(row["storage"] == SHARED)
