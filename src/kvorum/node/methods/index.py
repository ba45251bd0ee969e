"""What there is in the cluster: nodes, guests, storages, and the next free id."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvorum.access import read_users
from kvorum.cluster import node_fingerprint
from kvorum.core.errors import ParameterError
from kvorum.guests import read_records as read_guests
from kvorum.interface import Context, LoggedIn, NoParameters, Parameters, Vmid, method
from kvorum.node import datacenter, pools, record, resources
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Row, Snapshot
from kvorum.storage import StorageConfig, StorageEntry, StorageError
from kvorum.storage import read_records as read_storages
from kvorum.storage.config import FILE as STORAGE_CONFIG
from kvorum.store import Store


class ResourceFilter(Parameters):
    type: Literal["vm", "storage", "node", "sdn"] | None = Field(None, description="Only rows of this type.")


class NextId(Parameters):
    vmid: Vmid | None = Field(None, description="Only check whether this id is free.")


@method("GET", "/nodes", permission=LoggedIn())
async def list_nodes(ctx: Context, p: NoParameters) -> list[Row]:
    """Cluster node index."""
    rows = resources.node_rows(snapshot(ctx.store))
    for row in rows:
        if fingerprint := node_fingerprint(ctx.store, str(row["node"])):
            row["ssl_fingerprint"] = fingerprint
    return rows


@method("GET", "/cluster/resources", permission=LoggedIn())
async def cluster_resources(ctx: Context, p: ResourceFilter) -> list[Row]:
    """Resources index (cluster wide)."""
    now, rows, known = snapshot(ctx.store), list[Row](), read_users(ctx.store).pools
    if p.type in (None, "vm"):
        guests = resources.guest_rows(now)
        seen = (row for row in guests if ctx.allowed(f"/vms/{row['vmid']}", "VM.Audit"))
        rows += pools.with_pools(seen, known)
    if p.type in (None, "node"):
        rows += resources.node_rows(now)
    if p.type in (None, "storage"):
        rows += [row for row in resources.storage_rows(now) if may_see_storage(ctx, str(row["storage"]))]
    if p.type is None:
        rows += pools.pool_rows(known, lambda path: ctx.allowed(path, "Pool.Audit"))
    return rows


@method("GET", "/cluster/nextid", permission=LoggedIn())
async def cluster_nextid(ctx: Context, p: NextId) -> str:
    """Get next free VMID. Pass a VMID to assert that it is free (at time of check)."""
    taken = resources.owners(ctx.store.names)
    if p.vmid is not None:
        if p.vmid in taken:
            raise ParameterError({"vmid": f"VM {p.vmid} already exists"})
        return str(p.vmid)
    file = ctx.store.read(datacenter.FILE)
    free = resources.next_id(taken, *datacenter.next_ids(file.text if file else ""))
    if free is None:
        raise ParameterError({"vmid": "no VM id is free: remove a guest, or widen next-id in datacenter.cfg"})
    return str(free)


def snapshot(store: Store) -> Snapshot:
    """What the store and the published records say now."""
    nodes: dict[str, NodeRecord] = {}
    for name, data in store.published(record.KEY).items():
        if (decoded := record.decode(data)) is not None:
            nodes[name] = decoded
    return Snapshot(
        store.membership,
        nodes,
        read_guests(store),
        resources.owners(store.names),
        read_storages(store),
        _configured(store),
    )


def _configured(store: Store) -> tuple[StorageEntry, ...]:
    """The storages of storage.cfg; none where it can't be read, which its own methods say."""
    file = store.read(STORAGE_CONFIG)
    try:
        return StorageConfig.parse(file.text).entries if file is not None else ()
    except StorageError:
        return ()


def may_see_storage(ctx: Context, storage: str) -> bool:
    """Whether the caller may know of a storage."""
    path = f"/storage/{storage}"
    return ctx.allowed(path, "Datastore.Audit") or ctx.allowed(path, "Datastore.AllocateSpace")
