"""The rows of ``/nodes`` and ``/cluster/resources``, made from the membership and from what nodes publish.

Pure: a snapshot in, rows out. Nothing is left out because somebody is silent: a guest whose node has
published nothing lately is ``unknown``, so is a storage; a node that is no member is ``offline``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kvorum.core.ids import VMID_MIN
from kvorum.guests import GuestRecord
from kvorum.node.record import NodeRecord
from kvorum.storage import StorageEntry, StorageRecord
from kvorum.store import Membership

Row = dict[str, object]

NEXT_ID_END = 1_000_000
_GUEST_FILE = re.compile(r"(\d+)\.conf")


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


def owners(names: Callable[[str], tuple[str, ...]]) -> dict[int, str]:
    """Every VM id and its node, from the store's directories; ``names`` lists one directory."""
    found: dict[int, str] = {}
    for node in names("nodes"):
        for name in names(f"nodes/{node}/qemu-server"):
            if match := _GUEST_FILE.fullmatch(name):
                found[int(match[1])] = node
    return found


def node_rows(snapshot: Snapshot) -> list[Row]:
    """The rows of ``GET /nodes``, sorted by name."""
    return [
        {"id": f"node/{name}", "type": "node", "node": name, "level": "", **_node_values(snapshot, name)}
        for name in _node_names(snapshot)
    ]


def guest_rows(snapshot: Snapshot) -> list[Row]:
    """One row per guest in the whole cluster, sorted by id; silent ones are ``unknown``.

    A guest that has just moved keeps its name until its new node speaks of it.
    """
    fresh = {(node, guest.vmid): guest for node, guests in snapshot.guests.items() for guest in guests}
    names = {guest.vmid: guest.name for guest in fresh.values()}
    rows = []
    for vmid, node in sorted(snapshot.owners.items()):
        row: Row = {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "node": node}
        if record := fresh.get((node, vmid)):
            row |= _guest_values(record)
        else:
            row |= {"status": "unknown"} | ({"name": names[vmid]} if vmid in names else {})
        rows.append(row)
    return rows


def storage_rows(snapshot: Snapshot) -> list[Row]:
    """One row per storage and node that has it, by node and name: ``unknown`` where nobody vouches for it."""
    rows: dict[tuple[str, str], Row] = {}
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
        if _online(snapshot, node):
            for record in snapshot.storages.get(node, ()):
                rows[node, record.storage] = _storage_row(node, record)
    return [rows[key] for key in sorted(rows)]


def next_id(taken: Iterable[int], lower: int = VMID_MIN, upper: int = NEXT_ID_END) -> int | None:
    """The lowest free VM id from ``lower`` to below ``upper``, or ``None`` when all are taken."""
    used = set(taken)
    return next((vmid for vmid in range(lower, upper) if vmid not in used), None)


def _node_names(snapshot: Snapshot) -> list[str]:
    return sorted(member.name for member in snapshot.membership.members)


def _online(snapshot: Snapshot, name: str) -> bool:
    return any(member.online for member in snapshot.membership.members if member.name == name)


def _node_values(snapshot: Snapshot, name: str) -> Row:
    record = snapshot.nodes.get(name)
    if not _online(snapshot, name):
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


def _guest_values(record: GuestRecord) -> Row:
    values: Row = {
        "name": record.name,
        "status": record.status,
        "cpu": record.cpu,
        "maxcpu": record.cpus,
        "mem": record.mem,
        "maxmem": record.maxmem,
        "disk": record.disk,
        "maxdisk": record.maxdisk,
        "uptime": record.uptime,
        "template": record.template,
        "netin": record.netin,
        "netout": record.netout,
        "diskread": record.diskread,
        "diskwrite": record.diskwrite,
    }
    return values | {key: value for key in ("tags", "lock") if (value := getattr(record, key))}


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
