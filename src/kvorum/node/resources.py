"""The rows of ``/nodes`` and ``/cluster/resources``, made from the membership and from what nodes publish.

Pure: a snapshot in, rows out; ``resource_rows`` keeps them between requests. Nothing is left out because
somebody is silent: a guest whose node has published nothing lately is ``unknown``, so is a storage; a node
that is no member is ``offline``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, UnsetType

from kvorum.core.ids import VMID_MIN
from kvorum.guests import GuestRecord
from kvorum.node.record import NodeRecord
from kvorum.storage import StorageEntry, StorageRecord
from kvorum.store import Membership

Row = dict[str, object]

NEXT_ID_END = 1_000_000


class GuestRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A guest's row; of one that is silent only the first five are set, and perhaps its name."""

    id: str
    type: str = "qemu"
    vmid: int
    node: str
    status: str = "unknown"
    name: str | UnsetType = UNSET
    cpu: float | UnsetType = UNSET
    maxcpu: int | UnsetType = UNSET
    mem: int | UnsetType = UNSET
    maxmem: int | UnsetType = UNSET
    disk: int | UnsetType = UNSET
    maxdisk: int | UnsetType = UNSET
    uptime: int | UnsetType = UNSET
    template: int | UnsetType = UNSET
    netin: int | UnsetType = UNSET
    netout: int | UnsetType = UNSET
    diskread: int | UnsetType = UNSET
    diskwrite: int | UnsetType = UNSET
    tags: str | UnsetType = UNSET
    lock: str | UnsetType = UNSET
    pool: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the cluster looked like at one moment."""

    membership: Membership
    nodes: Mapping[str, NodeRecord]
    """The fresh record of each node that has published one."""
    guests: Mapping[str, Iterable[GuestRecord]]
    """The fresh records of each node's guests."""
    owners: Mapping[int, str]
    """Every VM id and the node whose directory holds its configuration."""
    storages: Mapping[str, Iterable[StorageRecord]] = field(default_factory=dict)
    """The fresh records of each node's storages."""
    configured: Iterable[StorageEntry] = ()
    """The storages that storage.cfg lists."""


def node_rows(snapshot: Snapshot) -> list[Row]:
    """The rows of ``GET /nodes``, sorted by name."""
    online = _online(snapshot)
    return [
        {
            "id": f"node/{name}",
            "type": "node",
            "node": name,
            "level": "",
            **_node_values(snapshot.nodes.get(name), name in online),
        }
        for name in _node_names(snapshot)
    ]


def bare_node_row(row: Row) -> Row:
    """What of a node's row everybody sees who has logged in: its name and whether it is there."""
    return {name: row[name] for name in ("id", "type", "node", "level", "status")}


def guest_row(record: GuestRecord, node: str, pool: str | UnsetType = UNSET) -> GuestRow:
    """The row of a guest that its node speaks of."""
    return GuestRow(
        id=f"qemu/{record.vmid}",
        vmid=record.vmid,
        node=node,
        status=record.status,
        name=record.name,
        cpu=record.cpu,
        maxcpu=record.cpus,
        mem=record.mem,
        maxmem=record.maxmem,
        disk=record.disk,
        maxdisk=record.maxdisk,
        uptime=record.uptime,
        template=int(record.template),
        netin=record.netin,
        netout=record.netout,
        diskread=record.diskread,
        diskwrite=record.diskwrite,
        tags=record.tags or UNSET,
        lock=record.lock or UNSET,
        pool=pool,
    )


def silent_guest_row(
    vmid: int, node: str, name: str | UnsetType = UNSET, pool: str | UnsetType = UNSET
) -> GuestRow:
    """The row of a guest that its node does not speak of: ``unknown``.

    One that has just moved keeps its ``name``, as the node that it left had it, until its new node speaks.
    """
    return GuestRow(id=f"qemu/{vmid}", vmid=vmid, node=node, name=name, pool=pool)


def storage_rows(snapshot: Snapshot) -> list[Row]:
    """One row per storage and node that has it, by node and name: ``unknown`` where nobody vouches for it."""
    rows: dict[tuple[str, str], Row] = {}
    online = _online(snapshot)
    for node in _node_names(snapshot):
        for entry in snapshot.configured:
            if entry.available_on(node):
                silent = StorageRecord(
                    storage=entry.id,
                    plugintype=entry.type,
                    content=",".join(entry.content),
                    shared=entry.shared,
                )
                rows[node, entry.id] = _storage_row(node, silent)
        if node in online:
            for record in snapshot.storages.get(node, ()):
                rows[node, record.storage] = _storage_row(node, record)
    return [rows[key] for key in sorted(rows)]


def next_id(taken: Iterable[int], lower: int = VMID_MIN, upper: int = NEXT_ID_END) -> int | None:
    """The lowest free VM id from ``lower`` to below ``upper``, or ``None`` when all are taken."""
    used = set(taken)
    return next((vmid for vmid in range(lower, upper) if vmid not in used), None)


def _node_names(snapshot: Snapshot) -> list[str]:
    return sorted(member.name for member in snapshot.membership.members)


def _online(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(member.name for member in snapshot.membership.members if member.online)


def _node_values(record: NodeRecord | None, online: bool) -> Row:
    if not online:
        return {"status": "offline"}
    if record is None:
        return {"status": "unknown"}
    return {
        "status": "online",
        "cpu": record.cpu,
        "maxcpu": record.maxcpu,
        "mem": record.mem,
        "maxmem": record.maxmem,
        "disk": record.disk,
        "maxdisk": record.maxdisk,
        "uptime": record.uptime,
    }


def _storage_row(node: str, record: StorageRecord) -> Row:
    row: Row = {
        "id": f"storage/{node}/{record.storage}",
        "type": "storage",
        "storage": record.storage,
        "node": node,
        "plugintype": record.plugintype,
        "content": record.content,
        "shared": record.shared,
        "status": "available" if record.available else "unknown",
    }
    return row | ({"disk": record.disk, "maxdisk": record.maxdisk} if record.maxdisk else {})
