"""The API's methods about nodes and about everything in the cluster at once."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from pydantic import Field

import kvorum
from kvorum.core.errors import DeadlineExceeded, KvorumError, ParameterError
from kvorum.guests import read_records as read_guests
from kvorum.interface import (
    Context,
    LoggedIn,
    NodeName,
    NoParameters,
    Parameters,
    Privilege,
    Vmid,
    Where,
    method,
)
from kvorum.node import facts, network, record, resources
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Row, Snapshot
from kvorum.storage import StorageConfig, StorageEntry, StorageError
from kvorum.storage import read_records as read_storages
from kvorum.storage.config import FILE as STORAGE_CONFIG
from kvorum.store import Store


class NodePath(Parameters):
    node: NodeName = Field(description="The node's name.")


class ResourceFilter(Parameters):
    type: Literal["vm", "storage", "node", "sdn"] | None = Field(None, description="Only rows of this type.")


class NetworkFilter(NodePath):
    type: (
        Literal[
            "bridge",
            "bond",
            "eth",
            "alias",
            "vlan",
            "fabric",
            "OVSBridge",
            "OVSBond",
            "OVSPort",
            "OVSIntPort",
            "vnet",
            "any_bridge",
            "any_local_bridge",
            "include_sdn",
        ]
        | None
    ) = Field(None, description="Only interfaces of this type.")


class InterfacePath(NodePath):
    iface: str = Field(min_length=2, max_length=20, description="The interface's name.")


class NextId(Parameters):
    vmid: Vmid | None = Field(None, description="Only check whether this id is free.")


@method("GET", "/nodes", permission=LoggedIn())
async def list_nodes(ctx: Context, p: NoParameters) -> list[Row]:
    """Cluster node index."""
    return resources.node_rows(snapshot(ctx.store))


@method(
    "GET",
    "/nodes/{node}/status",
    permission=Privilege("/nodes/{node}", "Sys.Audit"),
    where=Where.NODE,
)
async def node_status(ctx: Context, p: NodePath) -> Row:
    """Read node status."""
    published = record.decode(ctx.store.published(record.KEY).get(ctx.store.node, b""))
    return facts.status(published or facts.Sampler().record)


@method("GET", "/nodes/{node}/version", permission=LoggedIn(), where=Where.NODE)
async def node_version(ctx: Context, p: NodePath) -> Row:
    """API version details."""
    return {"version": kvorum.__version__, "release": kvorum.__version__, "repoid": "00000000"}


@method("GET", "/nodes/{node}/time", permission=Privilege("/nodes/{node}", "Sys.Audit"), where=Where.NODE)
async def node_time(ctx: Context, p: NodePath) -> Row:
    """Read server time and time zone settings."""
    now = time.time()
    local = time.localtime(now)
    return {"time": int(now), "localtime": int(now) + local.tm_gmtoff, "timezone": local.tm_zone}


@method("GET", "/nodes/{node}/network", permission=LoggedIn(), where=Where.NODE)
async def network_index(ctx: Context, p: NetworkFilter) -> list[Row]:
    """List available networks."""
    return [row for row in await _network() if network.wanted(row, p.type)]


@method(
    "GET",
    "/nodes/{node}/network/{iface}",
    permission=Privilege("/nodes/{node}", "Sys.Audit"),
    where=Where.NODE,
)
async def network_interface(ctx: Context, p: InterfacePath) -> Row:
    """Read network device configuration."""
    for row in await _network():
        if row["iface"] == p.iface:
            return row
    raise ParameterError({"iface": f"node '{p.node}' has no interface '{p.iface}'"})


@method("GET", "/cluster/resources", permission=LoggedIn())
async def cluster_resources(ctx: Context, p: ResourceFilter) -> list[Row]:
    """Resources index (cluster wide)."""
    now, rows = snapshot(ctx.store), []
    if p.type in (None, "vm"):
        rows += [row for row in resources.guest_rows(now) if ctx.allowed(f"/vms/{row['vmid']}", "VM.Audit")]
    if p.type in (None, "node"):
        rows += resources.node_rows(now)
    if p.type in (None, "storage"):
        rows += [row for row in resources.storage_rows(now) if _may_see(ctx, f"/storage/{row['storage']}")]
    return rows


@method("GET", "/cluster/nextid", permission=LoggedIn())
async def cluster_nextid(ctx: Context, p: NextId) -> str:
    """Get next free VMID. Pass a VMID to assert that it is free (at time of check)."""
    taken = resources.owners(ctx.store.names)
    if p.vmid is not None:
        if p.vmid in taken:
            raise ParameterError({"vmid": f"VM {p.vmid} already exists"})
        return str(p.vmid)
    free = resources.next_id(taken)
    if free is None:
        raise ParameterError({"vmid": "no VM id is free: remove a guest first"})
    return str(free)


async def _network() -> list[Row]:
    """The node's interfaces; raises ``KvorumError`` when the kernel does not tell them."""
    try:
        async with asyncio.timeout(network.DEADLINE_S):
            return network.rows(await asyncio.to_thread(network.read))
    except TimeoutError:
        raise DeadlineExceeded(
            f"the kernel did not list the interfaces within {network.DEADLINE_S:g} s"
        ) from None
    except OSError as error:
        raise KvorumError(f"the interfaces can't be listed: {error.strerror}") from error


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


def _may_see(ctx: Context, path: str) -> bool:
    return ctx.allowed(path, "Datastore.Audit") or ctx.allowed(path, "Datastore.AllocateSpace")
