"""The past of nodes, guests and storages: as rows for graphs, and drawn as pictures."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from kvorum.core.errors import ParameterError
from kvorum.interface import (
    Context,
    Download,
    NodeName,
    Parameters,
    Privilege,
    StorageName,
    TextList,
    Vmid,
    Where,
    method,
)
from kvorum.node.history import GUEST, NODE, STORAGE, Recorder, Schema
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


_DS = Field(min_length=1, description="The list of datasources you want to display.")


class NodePicture(NodeQuestion):
    ds: TextList = _DS


class GuestPicture(GuestQuestion):
    ds: TextList = _DS


class StoragePicture(StorageQuestion):
    ds: TextList = _DS


class Picture(TypedDict):
    """Where the picture lies on its node; the format ``png`` answers with the picture itself."""

    filename: str


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


@method("GET", "/nodes/{node}/rrd", permission=AUDIT, where=Where.NODE, protected=True)
async def node_picture(ctx: Context, p: NodePicture) -> Download[Picture]:
    """Read node RRD statistics (returns PNG)."""
    return await _picture(ctx, NODE, p.node, p)


@method("GET", "/nodes/{node}/qemu/{vmid}/rrd", permission=_GUEST, where=Where.NODE, protected=True)
async def guest_picture(ctx: Context, p: GuestPicture) -> Download[Picture]:
    """Read VM RRD statistics (returns PNG)."""
    return await _picture(ctx, GUEST, str(p.vmid), p)


@method("GET", "/nodes/{node}/storage/{storage}/rrd", permission=_STORAGE, where=Where.NODE, protected=True)
async def storage_picture(ctx: Context, p: StoragePicture) -> Download[Picture]:
    """Read storage RRD statistics (returns a PNG)."""
    return await _picture(ctx, STORAGE, f"{p.node}/{p.storage}", p)


async def _picture(
    ctx: Context, schema: Schema, name: str, p: NodePicture | GuestPicture | StoragePicture
) -> Download[Picture]:
    if unknown := [column for column in p.ds if column not in schema.columns]:
        raise ParameterError({"ds": f"'{unknown[0]}' is not recorded; known: {', '.join(schema.columns)}"})
    columns = tuple(dict.fromkeys(p.ds))
    file = await ctx.service(Recorder).picture(schema, name, p.timeframe, p.cf, columns)
    return Download(file, "image/png", file.name, Picture(filename=str(file)))
