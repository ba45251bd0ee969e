"""What is kept of /cluster/resources is never older than what it was made from."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from msgspec.structs import replace

from kvorum.guests import GuestRecord
from kvorum.guests.statistics import KEY as GUESTS
from kvorum.node import record
from kvorum.node.record import NodeRecord
from kvorum.node.resource_rows import ResourceRows
from kvorum.storage import StorageRecord
from kvorum.storage.statistics import KEY as STORAGES
from kvorum.store import Delete, MakeDirectory, Member, Membership, Rename, Write
from kvorum.store.memory import MemoryStore

NODES = ("n1", "n2", "n3")
MEMBERS = tuple(Member(name, number, f"198.18.10.{number}", True) for number, name in enumerate(NODES, 1))
WEB = GuestRecord(vmid=100, name="web", status="running", cpus=2, cpu=0.5, tags="a;b")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("n1", Membership("lab", MEMBERS, quorate=True, version=1))


async def publish(store: MemoryStore, node: str, key: str, value: object) -> None:
    own, store._node = store._node, node
    await store.publish(key, msgspec.msgpack.encode(value), 600)
    store._node = own


def guest(rows: ResourceRows, vmid: int = 100) -> dict[str, object]:
    found: dict[str, object] = json.loads(rows.guests()[vmid])
    return found


async def test_a_guest_of_a_silent_node_stays_in_the_list(store: MemoryStore) -> None:
    await store.write("nodes/n2/qemu-server/100.conf", "")
    assert guest(ResourceRows(store)) == {
        "id": "qemu/100", "type": "qemu", "vmid": 100, "node": "n2", "status": "unknown"
    }  # fmt: skip


async def test_a_guest_that_moves_is_shown_where_its_file_lies_and_keeps_its_name(store: MemoryStore) -> None:
    rows = ResourceRows(store)
    await store.write("nodes/n1/qemu-server/100.conf", "")
    await publish(store, "n1", GUESTS, [WEB])
    shown = guest(rows)
    assert (shown["node"], shown["status"], shown["maxcpu"], shown["template"]) == ("n1", "running", 2, 0)
    assert shown["tags"] == "a;b" and "lock" not in shown and "pool" not in shown
    await store.transact([MakeDirectory("nodes/n2/qemu-server")])
    await store.transact([Rename("nodes/n1/qemu-server/100.conf", "nodes/n2/qemu-server/100.conf")])
    shown = guest(rows)
    assert (shown["node"], shown["status"], shown["name"]) == ("n2", "unknown", "web")
    await publish(store, "n2", GUESTS, [replace(WEB, name="web2")])
    assert guest(rows)["name"] == "web2"
    await store.transact([Delete("nodes/n2/qemu-server/100.conf")])
    assert rows.guests() == {}


async def test_a_changed_record_a_pool_and_nonsense_are_seen_at_the_next_look(store: MemoryStore) -> None:
    rows = ResourceRows(store)
    await store.write("nodes/n1/qemu-server/100.conf", "")
    await publish(store, "n1", GUESTS, [WEB])
    assert guest(rows)["cpu"] == 0.5
    await publish(store, "n1", GUESTS, [replace(WEB, cpu=0.25)])
    assert guest(rows)["cpu"] == 0.25
    await store.write("user.cfg", "pool:dev::100::\n")
    assert guest(rows)["pool"] == "dev"
    await store.write("user.cfg", "pool:dev::::\n")
    assert "pool" not in guest(rows)
    await publish(store, "n1", GUESTS, "nonsense")
    assert guest(rows)["status"] == "unknown"


async def test_what_a_node_said_is_forgotten_when_its_time_is_over(store: MemoryStore) -> None:
    rows = ResourceRows(store)
    await store.write("nodes/n1/qemu-server/100.conf", "")
    await store.publish(GUESTS, msgspec.msgpack.encode([WEB]), 600)
    assert guest(rows)["status"] == "running"
    await store.publish(GUESTS, msgspec.msgpack.encode([WEB]), -1)
    assert guest(rows)["status"] == "unknown"
    assert rows._spoken == {}, "and nothing is kept of it"


async def test_after_any_changes_the_rows_are_those_made_from_nothing(store: MemoryStore) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    kept = ResourceRows(store)

    def path(node: str, vmid: int) -> str:
        return f"nodes/{node}/qemu-server/{vmid}.conf"

    await store.transact([MakeDirectory(f"nodes/{node}/qemu-server") for node in NODES])
    for _ in range(400):
        node, vmid = dice.choice(NODES), dice.randrange(100, 112)
        here = store.guests().get(str(vmid))
        match dice.randrange(8):
            case 0:
                await store.transact([Delete(here) if here else Write(path(node, vmid), b"")])
            case 1 if here:
                await store.transact([Rename(here, path(node, vmid))])
            case 2 | 3:
                known = dice.sample(range(100, 112), 6)
                told = [replace(WEB, vmid=one, cpu=dice.random()) for one in known]
                await publish(store, node, GUESTS, told)
            case 4:
                await publish(store, node, record.KEY, NodeRecord(dice.random(), 1, 2, 3, 4, 5, 6, "1"))
            case 5:
                told_s = StorageRecord(storage="local", plugintype="dir", available=dice.random() < 0.5)
                await publish(store, node, STORAGES, [told_s])
            case 6:
                await store.write("user.cfg", f"pool:p{dice.randrange(3)}::{vmid}::\n")
                await store.write("storage.cfg", f"dir: s{dice.randrange(3)}\n\tpath /srv\n")
            case _:
                members = tuple(replace(one, online=dice.random() < 0.8) for one in MEMBERS)
                store.set_membership(replace(store.membership, members=members))
        assert list(kept.all()) == list(ResourceRows(store).all())
        assert list(kept.guests()) == sorted(map(int, store.guests()))
