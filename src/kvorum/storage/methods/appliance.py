"""What an appliance among a storage's content describes: the settings of the guest that it can become."""

from __future__ import annotations

import asyncio
from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.ids import VolumeId
from kvorum.interface import Context, LoggedIn, NodeName, Parameters, StorageName, Where, method
from kvorum.storage import ova, ovf
from kvorum.storage.storages import Storages


class MetadataParameters(Parameters):
    node: NodeName
    storage: StorageName
    volume: str = Field(description="Volume identifier for the guest archive/entry.")


class Warned(TypedDict):
    """What of an appliance is not taken in."""

    type: str
    key: NotRequired[str]


Metadata = TypedDict(  # in this form since some of its keys are no names
    "Metadata",
    {
        "type": str,
        "source": str,
        "create-args": dict[str, object],
        "disks": dict[str, str],
        "net": dict[str, dict[str, str]],
        "warnings": list[Warned],
    },
)


@method("GET", "/nodes/{node}/storage/{storage}/import-metadata", permission=LoggedIn(), where=Where.NODE,
        protected=True)  # fmt: skip
async def metadata(ctx: Context, p: MetadataParameters) -> Metadata:
    """Get the base parameters for creating a guest which imports data from a foreign importable guest, like
    an ESXi VM."""
    place = f"/storage/{p.storage}"
    if not (ctx.allowed(place, "Datastore.AllocateSpace") or ctx.allowed(place, "Datastore.Audit")):
        raise PermissionDenied(f"Permission check failed ({place}, Datastore.Audit)")
    try:
        volume = VolumeId.parse(p.volume if ":" in p.volume else f"{p.storage}:{p.volume}")
    except ValueError as error:
        raise ParameterError({"volume": str(error)}) from None
    folder, _, name = volume.name.partition("/")
    if volume.storage != p.storage or folder != "import" or not name.endswith((".ova", ".ovf")):
        raise ParameterError(
            {"volume": f"'{p.volume[:80]}' is no appliance: write {p.storage}:import/NAME.ova"}
        )
    path = ctx.service(Storages).of(volume).path(volume)
    machine = await asyncio.to_thread(ova.read, path)
    beside = f"{volume}/" if name.endswith(".ova") else f"{p.storage}:import/"
    return {
        "type": "vm",
        "source": "esxi",  # the one word that the schema has
        "create-args": ovf.settings(machine),
        "disks": {disk.key: f"{beside}{disk.file}" for disk in machine.disks},
        "net": {f"net{number}": {"model": model} for number, model in enumerate(machine.nics)},
        "warnings": _warnings(machine),
    }


def _warnings(machine: ovf.Appliance) -> list[Warned]:
    found: list[Warned] = [{"type": "cdrom-image-ignored"}] if machine.cdroms else []
    if machine.uefi:
        found.append({"type": "efi-state-lost", "key": "bios"})
    return found
