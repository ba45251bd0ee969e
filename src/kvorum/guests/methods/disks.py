"""Disks moved to other storages and other guests, and found again."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.guests.config.drives import is_disk_key
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.methods.rate import rate_kib_s
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    Parameters,
    Privilege,
    RootOnly,
    StorageName,
    TaskLog,
    Vmid,
    Where,
    Work,
    method,
)
from kvorum.storage import Storages


class MoveParameters(GuestPath):
    disk: str = Field(description="The disk you want to move.")
    storage: StorageName | None = Field(None, description="Target storage.")
    format: Literal["raw", "qcow2", "vmdk"] | None = Field(None, description="Target Format.")
    delete: Boolean = Field(False, description="Delete the original disk after successful copy.")
    digest: str | None = Field(None, max_length=40, description="Refuse when the configuration is another.")
    bwlimit: int | None = Field(None, ge=0, description="I/O bandwidth limit (in KiB/s); 0: none.")
    target_vmid: Vmid | None = Field(None, alias="target-vmid", description="Give the disk to this VM.")
    target_disk: str | None = Field(
        None, alias="target-disk", description="What the disk is there; as here where nothing is said."
    )
    target_digest: str | None = Field(None, alias="target-digest", max_length=40)


class RescanParameters(Parameters):
    node: NodeName
    vmid: Vmid | None = Field(None, description="Look at this VM alone.")
    dryrun: Boolean = Field(False, description="Change nothing, only say what would be.")


@method("POST", "/nodes/{node}/qemu/{vmid}/move_disk", where=Where.NODE, protected=True, task=True,
        permission=Privilege("/vms/{vmid}", "VM.Config.Disk"),
        commands=(
            Command("qm disk move", "vmid", "disk", "storage", aliases=("qm move-disk", "qm move_disk")),
        ))  # fmt: skip
async def move(ctx: Context, p: MoveParameters) -> Work:
    """Move volume to different storage or to a different VM."""
    for name, key in (("disk", p.disk), ("target-disk", p.target_disk or p.disk)):
        if not _is_volume_key(key):
            raise ParameterError(
                {name: f"'{key[:40]}' is no disk; write keys such as scsi1, virtio0, unused0"}
            )
    if (p.storage is None) == (p.target_vmid is None):
        raise ParameterError({"storage": "give either a storage, or --target-vmid to give the disk away"})
    return _reassign(ctx, p) if p.target_vmid is not None else _move(ctx, p)


def _move(ctx: Context, p: MoveParameters) -> Work:
    from kvorum.guests.move.move import Mover, Wish  # here, since pveproxy moves none

    assert p.storage is not None
    path = f"/storage/{p.storage}"
    if not ctx.allowed(path, "Datastore.AllocateSpace"):
        raise PermissionDenied(f"Permission check failed ({path}, Datastore.AllocateSpace)")
    wish = Wish(
        vmid=p.vmid,
        key=p.disk,
        storage=p.storage,
        format=p.format,
        delete=p.delete,
        digest=p.digest or "",
        rate_kib_s=rate_kib_s(ctx, "move", p.bwlimit, _storages(ctx, p)),
        who=ctx.identity.name,
    )
    mover = Mover(ctx.service(GuestManager), ctx.service(Storages), ctx.service(Unfinished))
    mover.check(wish)

    async def run(log: TaskLog) -> None:
        await mover.move(wish, log)

    return Work("qmmove", str(p.vmid), run)


def _storages(ctx: Context, p: MoveParameters) -> list[str]:
    """Those that a move touches."""
    config = ctx.service(GuestManager).registry.config(p.vmid)
    disk = {**config.disks, **config.unused}.get(p.disk)
    source = [disk.volume.storage] if disk and disk.volume else []
    return [*source, *([p.storage] if p.storage else [])]


def _reassign(ctx: Context, p: MoveParameters) -> Work:
    from kvorum.guests.move.reassign import Gift, Giver

    assert p.target_vmid is not None
    if not ctx.allowed(f"/vms/{p.target_vmid}", "VM.Config.Disk"):
        raise PermissionDenied(f"Permission check failed (/vms/{p.target_vmid}, VM.Config.Disk)")
    if p.delete or p.format or p.bwlimit:
        raise ParameterError(
            {"target-vmid": "a disk that is given away is not copied: no delete, format, bwlimit"}
        )
    gift = Gift(
        vmid=p.vmid,
        key=p.disk,
        target_vmid=p.target_vmid,
        target_key=p.target_disk or p.disk,
        digest=p.digest or "",
        target_digest=p.target_digest or "",
        who=ctx.identity.name,
    )
    giver = Giver(ctx.service(GuestManager), ctx.service(Storages), ctx.service(Unfinished))
    volume = giver.check(gift)
    path = f"/storage/{volume.storage}"
    if not ctx.allowed(path, "Datastore.AllocateSpace"):
        raise PermissionDenied(f"Permission check failed ({path}, Datastore.AllocateSpace)")

    async def run(log: TaskLog) -> None:
        await giver.give(gift, log)

    return Work("qmmove", str(p.vmid), run)


class LeftoversParameters(Parameters):
    node: NodeName


class CleanupParameters(LeftoversParameters):
    orphans: Boolean = Field(False, description="Remove the volumes of VMs that don't exist, too.")


@method("GET", "/kvorum/nodes/{node}/leftovers", permission=Privilege("/", "Sys.Audit"), where=Where.NODE,
        protected=True, commands=(Command("qm disk leftovers"),))  # fmt: skip
async def leftovers(ctx: Context, p: LeftoversParameters) -> list[dict[str, object]]:
    """What changes of guests have left on this node: what is noted and not settled yet, volumes that no guest
    has, locks that nothing holds."""
    from kvorum.guests.leftovers import Leftovers

    return [msgspec.to_builtins(left) for left in await ctx.service(Leftovers).found()]


@method("POST", "/kvorum/nodes/{node}/leftovers", permission=RootOnly(), where=Where.NODE, protected=True,
        task=True, commands=(Command("qm disk cleanup"),))  # fmt: skip
async def cleanup(ctx: Context, p: CleanupParameters) -> Work:
    """Settle now what changes of guests have left on this node."""
    from kvorum.guests.leftovers import Leftovers

    left = ctx.service(Leftovers)
    ctx.service(GuestManager).check_quorum()

    async def run(log: TaskLog) -> None:
        await left.clean(log, orphans=p.orphans)

    return Work("qmcleanup", "", run)


@method("POST", "/kvorum/nodes/{node}/rescan", permission=RootOnly(), where=Where.NODE, protected=True,
        task=True, commands=(Command("qm disk rescan", aliases=("qm rescan",)),))  # fmt: skip
async def rescan(ctx: Context, p: RescanParameters) -> Work:
    """Rescan all storages and update disk sizes and unused disk images."""
    from kvorum.guests.move.rescan import Rescan

    manager, who = ctx.service(GuestManager), ctx.identity.name
    manager.check_quorum()
    vmids = manager.registry.vmids()
    if p.vmid is not None and p.vmid not in vmids:
        raise GuestError(f"VM {p.vmid} is not on node '{ctx.store.node}'")
    looking = Rescan(manager, ctx.service(Storages))

    async def run(log: TaskLog) -> None:
        if p.dryrun:
            log.line("NOTE: running in dry-run mode, won't write changes out!")
        await looking.run([p.vmid] if p.vmid is not None else vmids, log, who, dry_run=p.dryrun)

    return Work("qmrescan", str(p.vmid or ""), run)


def _is_volume_key(key: str) -> bool:
    number = key.removeprefix("unused")
    return is_disk_key(key) or (key.startswith("unused") and number.isdigit() and int(number) < 256)
