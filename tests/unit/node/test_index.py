"""Who sees what of the cluster's nodes."""

from __future__ import annotations

import msgspec
import pytest
from node_world import Rights

from kvorum.interface import Caller, Identity, Router, Services, plain
from kvorum.node import record
from kvorum.node.record import NodeRecord
from kvorum.node.resource_rows import ResourceRows
from kvorum.server import rooms
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

RECORD = NodeRecord(cpu=0.25, maxcpu=4, mem=1, maxmem=2, disk=3, maxdisk=4, uptime=5, version="1")
MEMBERS = (Member("n1", 1, "192.0.2.1", True), Member("n2", 2, "192.0.2.2", False))
FIGURES = {"cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime"}
ROUTER = Router(rooms.methods())


async def rows(path: str, *granted: str) -> dict[str, dict[str, object]]:
    """The nodes' rows as somebody with just these rights sees them."""
    store, services = MemoryStore("n1", Membership("lab", MEMBERS, quorate=True, version=1)), Services()
    await store.publish(record.KEY, msgspec.msgpack.encode(RECORD))
    services.add(ResourceRows, ResourceRows(store))
    caller, who = Caller(store, services, Rights(*granted)), Identity("user@pve")
    found = plain(await caller.call(ROUTER.match("GET", path), who, ()))
    assert isinstance(found, list)
    return {row["node"]: row for row in found if row["type"] == "node"}


@pytest.mark.parametrize("path", ["/nodes", "/cluster/resources"])
async def test_figures_of_a_node_are_for_those_who_may_audit_it(path: str) -> None:
    stranger = await rows(path, "/vms/100 VM.Audit")
    assert {name: row["status"] for name, row in stranger.items()} == {"n1": "online", "n2": "offline"}
    assert not FIGURES & stranger["n1"].keys()
    assert (await rows(path, "/nodes/n1 Sys.Audit"))["n1"].keys() >= FIGURES
    assert not FIGURES & (await rows(path, "/nodes/n2 Sys.Audit"))["n1"].keys()
