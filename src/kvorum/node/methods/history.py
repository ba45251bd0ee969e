"""The past of nodes, guests and storages, as graphs ask for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvorum.interface import Context, NodeName, Parameters, Privilege, StorageName, Vmid, Where, method
from kvorum.node.history import GUEST, NODE, STORAGE, Recorder
from kvorum.node.methods.models import AUDIT, Row

_STORAGE = Privilege("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", any_of=True)
_GUEST = Privilege("/vms/{vmid}", "VM.Audit")


class _Question(Parameters):
    node: NodeName
    cf: Literal["AVERAGE", "MAX"] | None = Field(None, description="The RRD consolidation function.")


class NodeQuestion(_Question):
    timeframe: Literal["hour", "day", "week", "month", "year", "decade"] = Field(
        description="Specify the time frame you are interested in."
    )


class GuestQuestion(_Question):
    vmid: Vmid
    timeframe: Literal["hour", "day", "week", "month", "year"] = Field(
        description="Specify the time frame you are interested in."
    )


class StorageQuestion(_Question):
    storage: StorageName
    timeframe: Literal["hour", "day", "week", "month", "year"] = Field(
        description="Specify the time frame you are interested in."
    )


@method("GET", "/nodes/{node}/rrddata", permission=AUDIT, where=Where.NODE, protected=True)
async def node(ctx: Context, p: NodeQuestion) -> list[Row]:
    """Read node RRD statistics."""
    return await ctx.service(Recorder).rows(NODE, p.node, p.timeframe, p.cf)


@method("GET", "/nodes/{node}/qemu/{vmid}/rrddata", permission=_GUEST, where=Where.NODE, protected=True)
async def guest(ctx: Context, p: GuestQuestion) -> list[Row]:
    """Read VM RRD statistics."""
    return await ctx.service(Recorder).rows(GUEST, str(p.vmid), p.timeframe, p.cf)


@method(
    "GET", "/nodes/{node}/storage/{storage}/rrddata", permission=_STORAGE, where=Where.NODE, protected=True
)
async def storage(ctx: Context, p: StorageQuestion) -> list[Row]:
    """Read storage RRD statistics."""
    return await ctx.service(Recorder).rows(STORAGE, f"{p.node}/{p.storage}", p.timeframe, p.cf)
