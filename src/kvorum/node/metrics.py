"""What Prometheus reads of a node: itself, its guests, its storages, and the quorum as it sees it.

Each node answers for its own, from what it has published: whoever scrapes all nodes has everything once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kvorum.node.resources import Snapshot

_NODE = (
    ("cpu_usage_ratio", "cpu", "Share of all cores in use."),
    ("cpu_wait_ratio", "wait", "Share of time in which cores stood idle for disks."),
    ("cpus", "maxcpu", "Cores of the node."),
    ("memory_used_bytes", "mem", "Memory in use."),
    ("memory_size_bytes", "maxmem", "Memory of the node."),
    ("root_used_bytes", "disk", "Space in use on the root file system."),
    ("root_size_bytes", "maxdisk", "Size of the root file system."),
    ("uptime_seconds", "uptime", "Seconds since the node booted."),
)
_GUEST = (
    ("cpu_usage_ratio", "cpu", "Share of the guest's own CPUs in use."),
    ("cpus", "cpus", "CPUs of the guest."),
    ("memory_used_bytes", "mem", "Memory in use."),
    ("memory_size_bytes", "maxmem", "Memory of the guest."),
    ("disk_size_bytes", "maxdisk", "Size of the guest's disks."),
    ("uptime_seconds", "uptime", "Seconds since the guest was started."),
)
_GUEST_COUNTERS = (
    ("disk_read_bytes", "diskread", "Read from disks since the guest was started."),
    ("disk_written_bytes", "diskwrite", "Written to disks since the guest was started."),
    ("network_receive_bytes", "netin", "Received since the guest was started."),
    ("network_transmit_bytes", "netout", "Sent since the guest was started."),
)


class _Told(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def text(snapshot: Snapshot, node: str) -> str:
    """The metrics of ``node`` in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told([*_cluster(snapshot), *_node(snapshot, node), *_own(snapshot, node)]))
    return generate_latest(registry).decode()


def _cluster(snapshot: Snapshot) -> Iterator[Metric]:
    membership = snapshot.membership
    quorate = GaugeMetricFamily("kvorum_quorate", "Whether changes are possible here.")
    quorate.add_metric([], int(membership.quorate))
    yield quorate
    online = GaugeMetricFamily("kvorum_member_online", "Whether a node is a member now.", labels=["node"])
    votes = GaugeMetricFamily("kvorum_member_votes", "Votes of a node.", labels=["node"])
    for member in membership.members:
        online.add_metric([member.name], int(member.online))
        votes.add_metric([member.name], member.votes)
    yield online
    yield votes


def _node(snapshot: Snapshot, node: str) -> Iterator[Metric]:
    record = snapshot.nodes.get(node)
    if record is None:
        return
    for name, field, help in _NODE:
        metric = GaugeMetricFamily(f"kvorum_node_{name}", help, labels=["node"])
        metric.add_metric([node], getattr(record, field))
        yield metric
    version = GaugeMetricFamily("kvorum_node_info", "The version that runs.", labels=["node", "version"])
    version.add_metric([node, record.version], 1)
    yield version


def _own(snapshot: Snapshot, node: str) -> Iterator[Metric]:
    guests = [guest for guest in snapshot.guests.get(node, ()) if snapshot.owners.get(guest.vmid) == node]
    labels = ["node", "vmid", "name"]
    up = GaugeMetricFamily("kvorum_guest_up", "Whether the guest runs.", labels=labels)
    for guest in guests:
        up.add_metric([node, str(guest.vmid), guest.name], int(guest.status == "running"))
    yield up
    for kind, table in ((GaugeMetricFamily, _GUEST), (CounterMetricFamily, _GUEST_COUNTERS)):
        for name, field, help in table:
            metric = kind(f"kvorum_guest_{name}", help, labels=labels)
            for guest in guests:
                metric.add_metric([node, str(guest.vmid), guest.name], getattr(guest, field))
            yield metric
    storages = list(snapshot.storages.get(node, ()))
    for name, field, help in (
        ("up", "available", "Whether the storage answers."),
        ("used_bytes", "disk", "Space in use."),
        ("size_bytes", "maxdisk", "Space in all."),
    ):
        metric = GaugeMetricFamily(f"kvorum_storage_{name}", help, labels=["node", "storage"])
        for storage in storages:
            metric.add_metric([node, storage.storage], int(getattr(storage, field)))
        yield metric
