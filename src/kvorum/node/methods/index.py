"""What there is in the cluster: nodes, guests, storages, and the next free id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from kvorum.cluster import node_fingerprint
from kvorum.core.errors import ParameterError
from kvorum.guests import owners
from kvorum.guests import read_records as read_guests
from kvorum.interface import Context, Encoded, LoggedIn, NoParameters, Parameters, Vmid, method, to_json
from kvorum.node import datacenter, pools, record, resources
from kvorum.node.record import NodeRecord
from kvorum.node.resource_rows import ResourceRows
from kvorum.node.resources import Row, Snapshot
from kvorum.storage import read_records as read_storages
from kvorum.store import Store


class ResourceFilter(Parameters):
    type: Literal["vm", "storage", "node", "sdn"] | None = Field(None, description="Only rows of this type.")


class NextId(Parameters):
    vmid: Vmid | None = Field(None, description="Only check whether this id is free.")


@method("GET", "/nodes", permission=LoggedIn())
async def list_nodes(ctx: Context, p: NoParameters) -> list[Row]:
    """Cluster node index."""
    may = ctx.rights()
    rows = [
        row if may(f"/nodes/{row['node']}", "Sys.Audit") else resources.bare_node_row(row)
        for row in resources.node_rows(Snapshot(ctx.store.membership, _nodes(ctx.store), {}, {}))
    ]
    for row in rows:
        if fingerprint := node_fingerprint(ctx.store, str(row["node"])):
            row["ssl_fingerprint"] = fingerprint
    return rows


@method("GET", "/cluster/resources", permission=LoggedIn())
async def cluster_resources(ctx: Context, p: ResourceFilter) -> Encoded[list[Row]]:
    """Resources index (cluster wide)."""
    known, may, rows = ctx.service(ResourceRows), ctx.rights(), list[bytes]()
    if p.type in (None, "vm"):
        rows += [row for vmid, row in known.guests().items() if may(f"/vms/{vmid}", "VM.Audit")]
    if p.type in (None, "node"):
        bare = known.bare_nodes()
        rows += [
            row if may(f"/nodes/{name}", "Sys.Audit") else bare[name] for name, row in known.nodes().items()
        ]
    if p.type in (None, "storage"):
        rows += [row for (_, name), row in known.storages().items() if may_see_storage(may, name)]
    if p.type is None:
        rows += map(to_json, pools.pool_rows(known.pools(), lambda path: may(path, "Pool.Audit")))
    return Encoded.rows(rows)


@method("GET", "/cluster/nextid", permission=LoggedIn())
async def cluster_nextid(ctx: Context, p: NextId) -> str:
    """Get next free VMID. Pass a VMID to assert that it is free (at time of check)."""
    taken = owners(ctx.store.guests())
    if p.vmid is not None:
        if p.vmid in taken:
            raise ParameterError({"vmid": f"VM {p.vmid} already exists"})
        return str(p.vmid)
    file = ctx.store.read(datacenter.FILE)
    free = resources.next_id(taken, *datacenter.next_ids(file.text if file else ""))
    if free is None:
        raise ParameterError({"vmid": "no VM id is free: remove a guest, or widen next-id in datacenter.cfg"})
    return str(free)


def own_snapshot(store: Store) -> Snapshot:
    """What the store says now, and what this node has published of its own; others' records are not read."""
    own = record.decode(store.published(record.KEY).get(store.node, b""))
    return Snapshot(
        store.membership,
        {store.node: own} if own is not None else {},
        read_guests(store, store.node),
        owners(store.guests()),
        read_storages(store, store.node),
    )


def _nodes(store: Store) -> dict[str, NodeRecord]:
    told = store.published(record.KEY).items()
    return {name: decoded for name, data in told if (decoded := record.decode(data)) is not None}


def may_see_storage(may: Callable[[str, str], bool], storage: str) -> bool:
    """Whether the caller may know of a storage; ``may`` is ``Context.rights``."""
    path = f"/storage/{storage}"
    return may(path, "Datastore.Audit") or may(path, "Datastore.AllocateSpace")
