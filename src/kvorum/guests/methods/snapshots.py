"""Snapshots of guests: listed, taken, gone back to, deleted."""

from __future__ import annotations

from pydantic import Field

from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.registry import Registry
from kvorum.guests.snapshots import tree
from kvorum.guests.snapshots.snapshots import Snapshots
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    LoggedIn,
    Privilege,
    TaskLog,
    Where,
    Work,
    method,
)

_BASE = "/nodes/{node}/qemu/{vmid}/snapshot"
_ONE = f"{_BASE}/{{snapname}}"
_VM = "/vms/{vmid}"
_NOTES_BYTES = 8 << 10


class SnapshotPath(GuestPath):
    snapname: str = Field(max_length=40, description="The name of the snapshot.")


class TakeParameters(SnapshotPath):
    description: str | None = Field(
        None, max_length=_NOTES_BYTES, description="A textual description or comment."
    )
    vmstate: Boolean = Field(False, description="Save the vmstate (the memory of a running guest).")


class RollbackParameters(SnapshotPath):
    start: Boolean = Field(False, description="Whether the VM should get started after rolling back.")


class DeleteParameters(SnapshotPath):
    force: Boolean = Field(
        False, description="For removal from config file, even if removing disk snapshots fails."
    )


class DescribeParameters(SnapshotPath):
    description: str | None = Field(
        None, max_length=_NOTES_BYTES, description="A textual description or comment."
    )


@method("GET", _BASE, permission=Privilege(_VM, "VM.Audit"), where=Where.NODE, protected=True,
        commands=(Command("qm listsnapshot", "vmid"),))  # fmt: skip
async def listed(ctx: Context, p: GuestPath) -> list[tree.Row]:
    """List all snapshots, and the guest's present state as the last."""
    manager = ctx.service(GuestManager)
    file = manager.registry.file(p.vmid)
    return tree.rows(manager.registry.config(p.vmid), file.digest, manager.running(p.vmid) is not None)


@method("POST", _BASE, permission=Privilege(_VM, "VM.Snapshot"), where=Where.NODE, protected=True, task=True,
        commands=(Command("qm snapshot", "vmid", "snapname"),))  # fmt: skip
async def take(ctx: Context, p: TakeParameters) -> Work:
    """Snapshot a VM."""
    snapshots, who = ctx.service(Snapshots), ctx.identity.name
    snapshots.check_taking(p.vmid, p.snapname)

    async def run(log: TaskLog) -> None:
        await snapshots.take(
            p.vmid, p.snapname, description=p.description or "", with_memory=p.vmstate, who=who, log=log
        )

    return Work("qmsnapshot", str(p.vmid), run)


@method("GET", _ONE, permission=LoggedIn())
async def directory(ctx: Context, p: SnapshotPath) -> list[dict[str, str]]:
    """What there is of a snapshot."""
    return [{"cmd": name} for name in ("config", "rollback")]


@method("DELETE", _ONE, permission=Privilege(_VM, "VM.Snapshot"), where=Where.NODE, protected=True, task=True,
        commands=(Command("qm delsnapshot", "vmid", "snapname"),))  # fmt: skip
async def delete(ctx: Context, p: DeleteParameters) -> Work:
    """Delete a VM snapshot."""
    snapshots, who = ctx.service(Snapshots), ctx.identity.name
    snapshots.check_deleting(p.vmid, p.snapname)

    async def run(log: TaskLog) -> None:
        await snapshots.delete(p.vmid, p.snapname, force=p.force, who=who, log=log)

    return Work("qmdelsnapshot", str(p.vmid), run)


@method("POST", f"{_ONE}/rollback", where=Where.NODE, protected=True, task=True,
        permission=Privilege(_VM, "VM.Snapshot", "VM.Snapshot.Rollback", any_of=True),
        commands=(Command("qm rollback", "vmid", "snapname"),))  # fmt: skip
async def rollback(ctx: Context, p: RollbackParameters) -> Work:
    """Rollback VM state to specified snapshot."""
    snapshots, who = ctx.service(Snapshots), ctx.identity.name
    await snapshots.check_rollback(p.vmid, p.snapname)

    async def run(log: TaskLog) -> None:
        await snapshots.roll_back(p.vmid, p.snapname, start=p.start, who=who, log=log)

    return Work("qmrollback", str(p.vmid), run)


@method("GET", f"{_ONE}/config", where=Where.NODE,
        permission=Privilege(_VM, "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit",
                             any_of=True))  # fmt: skip
async def read(ctx: Context, p: SnapshotPath) -> dict[str, str]:
    """Get snapshot configuration."""
    found = tree.snapshot(Registry(ctx.store).config(p.vmid), p.snapname)
    return {**found.settings, **({"description": found.description} if found.description else {})}


@method("PUT", f"{_ONE}/config", permission=Privilege(_VM, "VM.Snapshot"), where=Where.NODE, protected=True)
async def describe(ctx: Context, p: DescribeParameters) -> None:
    """Update snapshot metadata."""
    if p.description is not None:
        who = ctx.identity.name
        await ctx.service(Snapshots).describe(p.vmid, p.snapname, p.description, who=who)
