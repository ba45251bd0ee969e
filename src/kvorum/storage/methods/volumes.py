"""What is done with volumes beside making and freeing them: notes and protection, a copy of a disk."""

from __future__ import annotations

import asyncio

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.ids import VolumeId
from kvorum.interface import (
    Boolean,
    Context,
    LoggedIn,
    NodeName,
    Parameters,
    RootOnly,
    StorageName,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.storage import images
from kvorum.storage.errors import StorageError
from kvorum.storage.half_made import HalfMade
from kvorum.storage.storages import Storages

_VOLUME = "/nodes/{node}/storage/{storage}/content/{volume}"


class VolumePath(Parameters):
    node: NodeName
    volume: str = Field(description="Volume identifier.")
    storage: StorageName | None = None

    def volume_id(self) -> VolumeId:
        """The volume that is meant; raises ``ParameterError`` when the text is none."""
        try:
            return VolumeId.parse(self.volume if ":" in self.volume else f"{self.storage}:{self.volume}")
        except ValueError as error:
            raise ParameterError({"volume": str(error)}) from None


class AttributeParameters(VolumePath):
    notes: str | None = Field(None, max_length=64 << 10, description="The new notes; empty removes them.")
    protected: Boolean | None = Field(None, description="Whether a backup is kept from being removed.")


class CopyParameters(VolumePath):
    target: str = Field(description="Target volume identifier.")
    target_node: NodeName | None = Field(None, description="Target node; the node itself.")


@method("PUT", _VOLUME, permission=LoggedIn(), where=Where.NODE, protected=True)
async def update(ctx: Context, p: AttributeParameters) -> None:
    """Update volume attributes."""
    volume = p.volume_id()
    if not ctx.allowed(f"/storage/{volume.storage}", "Datastore.Allocate"):
        raise PermissionDenied(f"Permission check failed (/storage/{volume.storage}, Datastore.Allocate)")
    kind = ctx.service(Storages).of(volume)
    await kind.annotate(volume, p.notes, p.protected)


@method("POST", _VOLUME, permission=RootOnly(), where=Where.NODE, protected=True, task=True)
async def copy(ctx: Context, p: CopyParameters) -> Work:
    """Copy a volume to another one on this node. This is experimental code - do not use."""
    if p.target_node not in (None, p.node):
        raise ParameterError({"target_node": f"a copy stays on node '{p.node}'; move the guest instead"})
    source = p.volume_id()
    storages = ctx.service(Storages)
    text = p.target if ":" in p.target else f"{source.storage}:{p.target}"
    try:
        target = VolumeId.parse(text)
        owner, _, name = target.name.rpartition("/")
        vmid = int(owner)
    except ValueError:
        raise ParameterError(
            {"target": f"'{p.target[:80]}' is no disk: write STORAGE:VMID/vm-VMID-NAME.FORMAT"}
        ) from None
    there, here = storages.of(target), storages.of(source)
    there.path(target)
    size = await here.size(source)

    half_made = ctx.service(HalfMade)

    async def run(log: TaskLog) -> None:
        async with here.reading(source) as read, half_made.making() as reserving:
            made = await there.allocate(vmid, size, there.format(target), name, reserving)
            await images.convert(
                read.path,
                read.format,
                ("-n", "-O", there.format(target), str(there.path(made))),
                progress=log.progress,
            )
            await asyncio.to_thread(images.make_last, there.path(made))
        log.line(f"copied '{source}' to '{made}'")

    if there.format(target) not in there.capabilities.formats:
        raise StorageError(f"storage '{there.id}' can't keep the format '{there.format(target)}'")
    return Work("imgcopy", str(source), run)
