"""prometheus-pve-exporter against ``kvorum serve``: every collector finds its metrics, no error is logged."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import urllib3
from proxmoxer import ProxmoxAPI
from pve_exporter.collector import CollectorsOptions, collect_pve

if TYPE_CHECKING:
    from conftest import Served

EVERYTHING = CollectorsOptions(*(True for _ in CollectorsOptions._fields))
pytestmark = pytest.mark.slow


@pytest.fixture
def login(served: Served) -> Iterator[dict[str, object]]:
    """How to log in. The node's log must have no error at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        yield {"user": "root@pam", "password": served.password, "verify_ssl": False, "timeout": 30}
    said = served.log.read_text().splitlines()
    # The store's own errors tell of a machine under load, not of what was asked.
    assert not [line for line in said if "ERROR: " in line and "kvorum.store" not in line]


def ids(text: str, metric: str) -> set[str]:
    """The objects that a metric was told of."""
    return set(re.findall(rf'^{metric}{{.*?\bid="([^"]+)"', text, re.MULTILINE))


def test_every_collector_finds_what_it_looks_for(served: Served, login: dict[str, object]) -> None:
    host = served.host
    client = ProxmoxAPI(host, **login)
    name = client.nodes.get()[0]["node"]
    client.nodes(name).qemu.post(vmid=100, name="web", memory=32, onboot=1)
    node, machine, storage = f"node/{name}", "qemu/100", f"storage/{name}/local"
    text, deadline = "", time.monotonic() + 40
    while not (  # what a node tells of itself comes with its first records
        {node, machine} <= ids(text, "pve_cpu_usage_ratio") and storage in ids(text, "pve_disk_size_bytes")
    ):
        assert time.monotonic() < deadline, text
        text = collect_pve(login, host, True, True, EVERYTHING).decode()
    assert {node, machine, storage} <= ids(text, "pve_up")
    assert ids(text, "pve_node_info") == {node}
    assert ids(text, "pve_guest_info") == {machine} and storage in ids(text, "pve_storage_info")
    for metric in ("cpu_usage_ratio", "cpu_usage_limit", "memory_usage_bytes", "memory_size_bytes"):
        assert {node, machine} <= ids(text, f"pve_{metric}"), metric
    for metric in ("disk_usage_bytes", "disk_size_bytes"):
        assert {node, storage} <= ids(text, f"pve_{metric}"), metric
    for metric in ("network_transmit", "network_receive", "disk_written", "disk_read"):
        assert machine in ids(text, f"pve_{metric}_bytes_total"), metric
    assert re.search(r'^pve_version_info{.*version="', text, re.MULTILINE)
    assert re.search(r"^pve_not_backed_up_total{.*} 1\.0$", text, re.MULTILINE)
    assert machine in ids(text, "pve_not_backed_up_info") and ids(text, "pve_onboot_status") == {machine}
    assert node in ids(text, "pve_subscription_info")
    assert "qemu/100" in ids(text, "pve_uptime_seconds")
