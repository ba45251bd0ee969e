"""prometheus-pve-exporter, as people run it, finds all it looks for on a real cluster."""

from __future__ import annotations

import re
import time

import pytest
from lab_cluster import Cluster, Maker, address
from pve_exporter.collector import CollectorsOptions, collect_pve

EVERYTHING = CollectorsOptions(*(True for _ in CollectorsOptions._fields))
NODES = {"node/n1", "node/n2", "node/n3"}
TOLD_S = 40.0
"""What nodes tell of themselves and of their guests comes with their first records."""
_SAY = """
import socket
said = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
said.sendto(b"x" * 1000, ("ff02::1", 9, 0, socket.if_nametoindex("vmbr0")))
"""


def ids(text: str, metric: str) -> set[str]:
    """The objects that a metric was told of."""
    return set(re.findall(rf'^{metric}{{.*?\bid="([^"]+)"', text, re.MULTILINE))


def lacking(text: str, machine: str, storages: set[str]) -> dict[str, set[str]]:
    """The metrics that do not tell of all they should, and what they lack."""
    wanted = {
        "pve_up": NODES | storages | {machine},
        "pve_node_info": NODES,
        "pve_guest_info": {machine},
        "pve_storage_info": storages,
        "pve_not_backed_up_info": {machine},
        "pve_uptime_seconds": NODES | {machine},
        **{
            f"pve_{name}": NODES | {machine}
            for name in ("cpu_usage_ratio", "cpu_usage_limit", "memory_usage_bytes", "memory_size_bytes")
        },
        **{f"pve_{name}": NODES | storages for name in ("disk_usage_bytes", "disk_size_bytes")},
        **{
            f"pve_{name}_bytes_total": {machine}
            for name in ("network_transmit", "network_receive", "disk_written", "disk_read")
        },
    }
    return {name: some - ids(text, name) for name, some in wanted.items() if some - ids(text, name)}


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_every_collector_finds_nodes_guests_and_storages(
    cluster: Cluster, guest: Maker, clients_in_the_lab: None, node: str
) -> None:
    vmid = guest(
        "n2", "--memory", "32", "--onboot", "1", "--scsi0", "local:0.01", "--net0", "virtio,bridge=vmbr0"
    )
    cluster.say("n2", "qm", "start", str(vmid))
    cluster.say("n2", "python3", "-c", _SAY)
    began = cluster.say(node, "date", "+%s").strip()
    login = {"user": "root@pam", "password": cluster.lab.password, "verify_ssl": False, "timeout": 30}
    machine, storages = f"qemu/{vmid}", {f"storage/{name}/local" for name in ("n1", "n2", "n3")}
    received, end = rf'^pve_network_receive_bytes_total{{id="{machine}".*}} [1-9]', time.monotonic() + TOLD_S
    text = ""
    while not text or lacking(text, machine, storages) or not re.search(received, text, re.MULTILINE):
        assert time.monotonic() < end, lacking(text, machine, storages) or text
        text = collect_pve(login, address(cluster.lab, node, 0), True, True, EVERYTHING).decode()
    assert ids(text, "pve_node_info") == NODES
    assert re.search(r'^pve_cluster_info{.*quorate="1".*} 1\.0$', text, re.MULTILINE)
    assert re.search(r'^pve_version_info{.*version="', text, re.MULTILINE)
    assert re.search(r"^pve_not_backed_up_total{.*} \d", text, re.MULTILINE)
    assert ids(text, "pve_subscription_info") == {f"node/{node}"}
    if node == "n2":
        assert ids(text, "pve_onboot_status") >= {machine}
    for name in ("n1", "n2", "n3"):
        said = cluster.say(
            name, "journalctl", "-q", "-u", "pveproxy", "-u", "pvedaemon", "-p", "err", "-S", f"@{began}"
        )
        assert said.strip() == "", said
