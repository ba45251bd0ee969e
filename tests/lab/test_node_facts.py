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


AVAILABLE = """
import json, sys
told = {row["id"] for row in json.load(sys.stdin) if row["status"] == "available"}
sys.exit(not told.issuperset(sys.argv[1:]))
"""


def test_all_nodes_storages_are_listed_with_their_room(cluster: Cluster) -> None:
    wanted = [f"storage/{node}/{name}" for node in NODES for name in ("local", SHARED)]
    asked = "pvesh get /cluster/resources --type storage --output-format json"
    for node in NODES:
        cluster.until(node, f"{asked} | python3 -c '{AVAILABLE}' {' '.join(wanted)}")
        rows = cluster.get(node, "/cluster/resources")
        assert isinstance(rows, list)
        storages = {row["id"]: row for row in rows if row["type"] == "storage"}
        for row in (storages[name] for name in wanted):
            assert row["plugintype"] == "dir"
            assert 0 < row["disk"] < row["maxdisk"]
            assert row["shared"] == int(row["storage"] == SHARED)
