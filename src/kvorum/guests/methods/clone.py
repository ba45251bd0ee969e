"""Guests cloned and made templates, and what a guest can be asked for of this kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.guests.config import GuestConfig, options
from kvorum.guests.copies import plan
from kvorum.guests.copies.clone import Clones
from kvorum.guests.copies.plan import Wish
from kvorum.guests.copies.template import Templates
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.cluster_options import mac_prefix
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.methods.rate import rate_kib_s
from kvorum.guests.snapshots import tree
from kvorum.guests.snapshots.disks import Disks
from kvorum.interface import (
    AllOf,
    AnyOf,
    Boolean,
    Command,
    Context,
    NodeName,
    Privilege,
    StorageName,
    TaskLog,
    Vmid,
    Where,
    Work,
    method,
)
from kvorum.storage import Storages

_BASE = "/nodes/{node}/qemu/{vmid}"
_MAY_CLONE = AllOf((
    Privilege("/vms/{vmid}", "VM.Clone"),
    AnyOf((Privilege("/vms/{newid}", "VM.Allocate"), Privilege("/pool/{pool}", "VM.Allocate"))),
))  # fmt: skip


class CloneParameters(GuestPath):
    newid: Vmid = Field(description="VMID for the clone.")
    name: str | None = Field(None, description="Set a name for the new VM.")
    description: str | None = Field(None, max_length=8 << 10, description="Description for the new VM.")
    pool: str | None = Field(None, description="Add the new VM to the specified pool.")
    snapname: str | None = Field(None, max_length=40, description="The name of the snapshot.")
    storage: StorageName | None = Field(None, description="Target storage for full clone.")
    format: Literal["raw", "qcow2", "vmdk"] | None = Field(
        None, description="Target format for file storage. Only valid for full clone."
    )
    full: Boolean | None = Field(
        None,
        description="Create a full copy of all disks. This is always done when you clone a normal VM. For VM "
        "templates, we try to create a linked clone by default.",
    )
    target: NodeName | None = Field(
        None, description="Target node. Only allowed if the original VM is on shared storage."
    )
    bwlimit: int | None = Field(None, ge=0, description="Override I/O bandwidth limit (in KiB/s).")


class TemplateParameters(GuestPath):
    disk: str | None = Field(
        None,
        pattern=r"(ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0",
        description="If you want to convert only 1 disk to base image.",
    )


class FeatureParameters(GuestPath):
    feature: Literal["snapshot", "clone", "copy"] = Field(description="Feature to check.")
    snapname: str | None = Field(None, max_length=40, description="The name of the snapshot.")


@method("POST", f"{_BASE}/clone", permission=_MAY_CLONE, where=Where.NODE, protected=True, task=True,
        commands=(Command("qm clone", "vmid", "newid"),))  # fmt: skip
async def clone(ctx: Context, p: CloneParameters) -> Work:
    """Create a copy of virtual machine/template."""
    if p.name is not None:
        try:
            options.check("name", p.name)
        except ValueError as error:
            raise ParameterError({"name": str(error)}) from None
    wish = Wish(
        vmid=p.vmid,
        newid=p.newid,
        name=p.name or "",
        description=p.description or "",
        full=p.full,
        snapshot=p.snapname or "",
        node=p.target or "",
        storage=p.storage or "",
        format=p.format or "",
        pool=p.pool or "",
        mac_prefix=mac_prefix(ctx),
    )
    clones, who = ctx.service(Clones), ctx.identity.name
    _, copies = clones.check(wish)
    touched = [kind.id for copy in copies for kind in (copy.source, copy.target)]
    wish = replace(wish, rate_kib_s=rate_kib_s(ctx, "clone", p.bwlimit, touched))
    for copy in copies:
        path = f"/storage/{copy.target.id}"
        if not ctx.allowed(path, "Datastore.AllocateSpace"):
            raise PermissionDenied(f"Permission check failed ({path}, Datastore.AllocateSpace)")

    async def run(log: TaskLog) -> None:
        await clones.make(wish, who=who, log=log)

    return Work("qmclone", str(p.vmid), run)


@method("POST", f"{_BASE}/template", permission=Privilege("/vms/{vmid}", "VM.Allocate"), where=Where.NODE,
        protected=True, task=True, commands=(Command("qm template", "vmid"),))  # fmt: skip
async def template(ctx: Context, p: TemplateParameters) -> Work:
    """Create a Template."""
    templates, who = ctx.service(Templates), ctx.identity.name
    templates.check(p.vmid, p.disk or "")

    async def run(log: TaskLog) -> None:
        await templates.make(p.vmid, p.disk or "", who=who, log=log)

    return Work("qmtemplate", str(p.vmid), run)


@method("GET", f"{_BASE}/feature", permission=Privilege("/vms/{vmid}", "VM.Audit"), where=Where.NODE,
        protected=True)  # fmt: skip
async def feature(ctx: Context, p: FeatureParameters) -> dict[str, object]:
    """Check if feature for virtual machine is available."""
    manager, storages = ctx.service(GuestManager), ctx.service(Storages)
    config = manager.registry.config(p.vmid)
    nodes = _nodes(ctx, config, storages)
    return {"hasFeature": _has(storages, config, p.feature, p.snapname or ""), "nodes": nodes}


def _has(storages: Storages, config: GuestConfig, feature: str, snapshot: str) -> bool:
    try:
        if feature == "snapshot":
            Disks(storages, config.vmid, None).check(tree.disks(config))
            return not config.template
        drives = plan.drives(config, snapshot)
        if feature == "copy":
            return True
        Wish(config.vmid, 0, full=False, snapshot=snapshot).check(config)
        for disk in drives.values():
            assert disk.volume is not None
            kind = storages.of(disk.volume)
            able = kind.capabilities
            if kind.format(disk.volume) not in able.clones or (snapshot and not able.snapshot_clones):
                return False
    except KvorumError:
        return False
    return True


def _nodes(ctx: Context, config: GuestConfig, storages: Storages) -> list[str]:
    """The nodes that see all storages of the guest's drives."""
    here = ctx.store.node
    used = {disk.volume.storage for disk in config.disks.values() if disk.volume is not None}
    entries = {entry.id: entry for entry in storages.config().entries}
    return sorted(
        member.name
        for member in ctx.store.membership.members
        if member.name == here
        or all(
            name in entries and entries[name].shared and entries[name].available_on(member.name)
            for name in used
        )
    )
