"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from kvorum.guests import GuestRecord
from kvorum.guests.statistics import KEY as GUESTS
from kvorum.node import record
from kvorum.node.methods.index import own_snapshot
from kvorum.node.metrics import text
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Snapshot
from kvorum.storage import StorageRecord
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

RECORD = NodeRecord(cpu=0.25, maxcpu=4, mem=1, maxmem=2, disk=3, maxdisk=4, uptime=5, version="1", wait=0.1)
MEMBERS = (Member("n1", 1, "192.0.2.1", True), Member("n2", 2, "192.0.2.2", False))


def samples(shown: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }


def test_a_node_tells_its_own_and_the_quorum_in_a_form_that_parses() -> None:
    guest = GuestRecord(vmid=100, name='we"b\n', status="running", cpus=2, cpu=0.5, diskread=7)
    moved = GuestRecord(vmid=101, name="moved", status="running")
    snapshot = Snapshot(
        Membership("lab", MEMBERS, quorate=True, version=1),
        {"n1": RECORD, "n2": RECORD},
        {"n1": [guest, moved], "n2": []},
        {100: "n1", 101: "n2"},
        {"n1": [StorageRecord(storage="local", plugintype="dir", available=True, disk=3, maxdisk=4)]},
    )
    found = samples(text(snapshot, "n1"))
    assert found["kvorum_quorate", ()] == 1
    assert found["kvorum_member_online", ("n2",)] == 0
    assert found["kvorum_node_cpu_usage_ratio", ("n1",)] == 0.25
    assert found["kvorum_guest_up", ('we"b\n', "n1", "100")] == 1
    assert found["kvorum_guest_disk_read_bytes_total", ('we"b\n', "n1", "100")] == 7
    assert found["kvorum_storage_used_bytes", ("n1", "local")] == 3
    assert not any("n2" in labels for name, labels in found if name.startswith("kvorum_node_"))
    assert not any("101" in labels for _, labels in found), "the node it moved to speaks for it"


def test_a_node_that_has_published_nothing_still_tells_the_quorum() -> None:
    found = samples(text(Snapshot(Membership(None, MEMBERS[:1], False, 1), {}, {}, {}), "n1"))
    assert found["kvorum_quorate", ()] == 0
    assert not any(name.startswith("kvorum_node_") for name, _ in found)


class BesideOthers(MemoryStore):
    """A store in which another node talks nonsense."""

    def published(self, key: str) -> Mapping[str, bytes]:
        return {**super().published(key), "n2": b"\xc1 no message of ours"}


async def test_a_node_tells_its_own_guests_whatever_the_others_say() -> None:
    store = BesideOthers("n1", Membership("lab", MEMBERS, quorate=True, version=1))
    await store.write("nodes/n1/qemu-server/100.conf", "name: web\n")
    await store.publish(record.KEY, msgspec.msgpack.encode(RECORD))
    guest = GuestRecord(vmid=100, name="web", status="running", netin=7, netout=9)
    await store.publish(GUESTS, msgspec.msgpack.encode([guest]))
    found = samples(text(own_snapshot(store), "n1"))
    assert found["kvorum_guest_up", ("web", "n1", "100")] == 1
    assert found["kvorum_guest_network_receive_bytes_total", ("web", "n1", "100")] == 7
    assert found["kvorum_guest_network_transmit_bytes_total", ("web", "n1", "100")] == 9
    assert found["kvorum_node_cpus", ("n1",)] == 4
