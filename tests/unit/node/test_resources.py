"""The rows of nodes and guests."""

from __future__ import annotations

from dataclasses import replace

from kvorum.guests import owners
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Snapshot, next_id, node_rows, storage_rows
from kvorum.storage import StorageEntry, StorageRecord
from kvorum.store import MakeDirectory, Member, Membership, Write
from kvorum.store.memory import MemoryStore

RECORD = NodeRecord(cpu=0.25, maxcpu=4, mem=1, maxmem=2, disk=3, maxdisk=4, uptime=5, version="1")


def snapshot(
    online: tuple[str, ...] = ("n1", "n2"),
    nodes: dict[str, NodeRecord] | None = None,
) -> Snapshot:
    members = tuple(
        Member(name=name, nodeid=number, address=f"198.18.10.{number}", online=name in online)
        for number, name in enumerate(("n2", "n1"), 1)
    )
    membership = Membership("lab", members, quorate=True, version=1)
    return Snapshot(membership, nodes or {}, {}, {})


def test_nodes_stand_sorted_with_their_figures() -> None:
    rows = node_rows(snapshot(nodes={"n1": RECORD, "n2": RECORD}))
    assert [row["node"] for row in rows] == ["n1", "n2"]
    assert rows[0]["status"] == "online"
    assert rows[0]["cpu"] == 0.25


def test_a_node_that_left_is_offline_whatever_it_said_last() -> None:
    rows = node_rows(snapshot(online=("n1",), nodes={"n1": RECORD, "n2": RECORD}))
    assert rows[1] == {"id": "node/n2", "type": "node", "node": "n2", "level": "", "status": "offline"}


def test_a_member_that_says_nothing_is_unknown() -> None:
    assert [row["status"] for row in node_rows(snapshot())] == ["unknown", "unknown"]


async def test_owners_are_read_off_the_directories() -> None:
    store = MemoryStore()
    await store.transact(
        [
            Write("nodes/n1/qemu-server/100.conf", b""),
            Write("nodes/n2/qemu-server/101.conf", b""),
            Write("nodes/n2/qemu-server/notes.txt", b""),
            MakeDirectory("nodes/n3"),
        ]
    )
    assert owners(store.guests()) == {100: "n1", 101: "n2"}


def test_storages_stand_by_node_and_those_nobody_vouches_for_are_unknown() -> None:
    local = StorageRecord(
        storage="local", plugintype="dir", content="images", available=True, disk=1, maxdisk=4
    )
    seen = replace(
        snapshot(online=("n1",)),
        storages={"n1": [local], "n2": [local]},
        configured=[
            StorageEntry("dir", "local", {"content": "images"}),
            StorageEntry("dir", "there", {"nodes": "n1", "shared": "1"}),
            StorageEntry("dir", "off", {"disable": "1"}),
        ],
    )
    rows = storage_rows(seen)
    assert [(row["id"], row["status"]) for row in rows] == [
        ("storage/n1/local", "available"),
        ("storage/n1/there", "unknown"),
        ("storage/n2/local", "unknown"),
    ]
    assert rows[0]["maxdisk"] == 4 and rows[0]["plugintype"] == "dir" and rows[0]["shared"] is False
    assert rows[1]["shared"] is True and "maxdisk" not in rows[1]


def test_the_next_id_is_the_lowest_free_one() -> None:
    assert next_id([]) == 100
    assert next_id([100, 102]) == 101
    assert next_id(range(100, 1_000_000)) is None
