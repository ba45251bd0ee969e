"""A guest made from an OVF descriptor, or an OVA, on the node's disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from pydantic import Field

from kvorum.core.errors import ParameterError
from kvorum.guests.methods import configuration
from kvorum.guests.methods.parameters import GuestPath
from kvorum.interface import Boolean, Command, Context, RootOnly, StorageName, TaskLog, Where, Work, method
from kvorum.storage import Appliance, machine_settings, read_appliance


class OvfParameters(GuestPath):
    manifest: str = Field(description="Path to the OVF file, or to an OVA.")
    storage: StorageName = Field(description="Target storage ID.")
    format: Literal["raw", "qcow2", "vmdk"] | None = Field(None, description="Target format.")
    dryrun: Boolean = Field(False, description="Print what the guest would be, and make none.")


@method("POST", "/kvorum/nodes/{node}/qemu/{vmid}/import-ovf", permission=RootOnly(), where=Where.NODE,
        protected=True, task=True,
        commands=(Command("qm importovf", "vmid", "manifest", "storage"),))  # fmt: skip
async def import_ovf(ctx: Context, p: OvfParameters) -> Work:
    """Create a new VM using parameters read from an OVF manifest."""
    manifest = Path(p.manifest)
    if not manifest.is_absolute() or manifest.suffix not in (".ovf", ".ova"):
        raise ParameterError({"manifest": f"'{p.manifest[:80]}' is no absolute path of an .ovf or .ova file"})
    machine = await asyncio.to_thread(read_appliance, manifest)
    settings = wanted(machine, manifest, p.storage, p.format)
    if p.dryrun:

        async def show(log: TaskLog) -> None:
            for key, value in settings.items():
                log.line(f"{key}: {value}")

        return Work("qmimport", str(p.vmid), show)
    values = {"node": p.node, "vmid": p.vmid, **settings}
    work: Work = await configuration.create(ctx, configuration.CreateParameters.model_validate(values))
    return work


def wanted(machine: Appliance, manifest: Path, storage: str, format: str | None) -> dict[str, str]:
    """The settings of the new guest, its disks imported from beside or inside the manifest."""
    place = manifest if manifest.suffix == ".ova" else manifest.parent
    settings = {key: str(value) for key, value in machine_settings(machine).items()}
    for disk in machine.disks:
        kept = f",format={format}" if format else ""
        settings[disk.key] = f"{storage}:0,import-from={place / disk.file}{kept}"
    for number, model in enumerate(machine.nics):
        settings[f"net{number}"] = f"model={model}"
    return settings
