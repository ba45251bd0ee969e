"""The rows of nodes and guests."""

from __future__ import annotations

from kvorum.guests import GuestRecord
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Snapshot, guest_rows, next_id, node_rows, owners
from kvorum.store import MakeDirectory, Member, Membership, Write
from kvorum.store.memory import MemoryStore

RECORD = NodeRecord(cpu=0.25, maxcpu=4, mem=1, maxmem=2, disk=3, maxdisk=4, uptime=5, version="1")


def snapshot(
    online: tuple[str, ...] = ("n1", "n2"),
    nodes: dict[str, NodeRecord] | None = None,
    guests: dict[str, list[GuestRecord]] | None = None,
    owners: dict[int, str] | None = None,
) -> Snapshot:
    members = tuple(
        Member(name=name, nodeid=number, address=f"198.18.10.{number}", online=name in online)
        for number, name in enumerate(("n2", "n1"), 1)
    )
    membership = Membership("lab", members, quorate=True, version=1)
    return Snapshot(membership, nodes or {}, guests or {}, owners or {})


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


def test_a_guest_of_a_silent_node_stays_in_the_list() -> None:
    (row,) = guest_rows(snapshot(owners={100: "n2"}))
    assert row == {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "n2", "status": "unknown"}


def test_the_owner_speaks_for_a_guest_not_the_node_it_left() -> None:
    record = GuestRecord(vmid=100, name="web", status="running", cpus=2)
    rows = guest_rows(snapshot(guests={"n1": [record]}, owners={100: "n2"}))
    assert rows[0]["status"] == "unknown"
    rows = guest_rows(snapshot(guests={"n1": [record]}, owners={100: "n1"}))
    assert (rows[0]["status"], rows[0]["name"], rows[0]["maxcpu"]) == ("running", "web", 2)
    assert "tags" not in rows[0]


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
    assert owners(store.names) == {100: "n1", 101: "n2"}


def test_the_next_id_is_the_lowest_free_one() -> None:
    assert next_id([]) == 100
    assert next_id([100, 102]) == 101
    assert next_id(range(100, 1_000_000)) is None
