"""Guests migrated: what users ask for, and what nodes say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from pydantic import Field

from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath, storage_map
from kvorum.guests.methods.rate import rate_kib_s
from kvorum.guests.methods.transport import transport
from kvorum.guests.migration.request import Request
from kvorum.guests.migration.wish import Wish
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    NodeOnly,
    Peers,
    Privilege,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.storage import StorageError, Storages

if TYPE_CHECKING:
    from kvorum.guests.migration.source import Migration
    from kvorum.guests.migration.target import Incoming

_PATH = "/nodes/{node}/qemu/{vmid}/migrate"
_INCOMING = "/kvorum/nodes/{node}/incoming/{vmid}"
_MIGRATE = Privilege("/vms/{vmid}", "VM.Migrate")


class PreconditionParameters(GuestPath):
    target: NodeName | None = None


class MigrateParameters(GuestPath):
    target: NodeName
    online: Boolean = False
    with_local_disks: Boolean = Field(default=False, alias="with-local-disks")
    targetstorage: str | None = None
    bwlimit: int | None = Field(default=None, ge=0)
    """KiB/s; 0 or none: as fast as it goes."""
    force: Boolean = False
    migration_network: str | None = None
    """CIDR: the target's address in it takes memory and disks. None: as the cluster's options say."""
    migration_type: Literal["secure", "insecure"] | None = None
    """``insecure`` sends the memory without TLS: several times as fast, for a network that is private."""


class RequestParameters(GuestPath):
    request: str
    """A ``Request`` as JSON."""


class TokenParameters(GuestPath):
    token: str


@method("GET", _PATH, permission=_MIGRATE, where=Where.NODE, protected=True)
async def preconditions(ctx: Context, p: PreconditionParameters) -> dict[str, object]:
    """Get preconditions for migration."""
    manager, storages = ctx.service(GuestManager), ctx.service(Storages)
    config = manager.registry.config(p.vmid)
    local, needed = [], set()
    for key, disk in {**config.disks, **config.unused}.items():
        if (volume := disk.volume) is None:
            continue
        entry = storages.config().get(volume.storage)
        needed.add(volume.storage)
        if not entry.shared:
            unused = key.startswith("unused")
            size = disk.size_bytes or 0
            local.append({"volid": str(volume), "cdrom": disk.is_cdrom, "is_unused": unused, "size": size})
    allowed, refused = [], {}
    for member in ctx.store.membership.members:
        if member.name == ctx.store.node or not member.online:
            continue
        missing = sorted(name for name in needed if not _available(storages, name, member.name))
        if missing:
            refused[member.name] = {"unavailable_storages": missing}
        else:
            allowed.append(member.name)
    answer: dict[str, object] = {"running": manager.running(p.vmid) is not None, "local_disks": local}
    answer |= {
        "local_resources": [*config.host_usbs],
        "mapped-resources": [],
        "mapped-resource-info": {},
        "has-dbus-vmstate": False,
    }
    return {**answer, "allowed_nodes": allowed, "not_allowed_nodes": refused}


@method("POST", _PATH, permission=_MIGRATE, where=Where.NODE, protected=True, task=True,
        commands=(Command("qm migrate", "vmid", "target"),))  # fmt: skip
async def migrate(ctx: Context, p: MigrateParameters) -> Work:
    """Migrate virtual machine. Creates a new migration task."""
    manager = ctx.service(GuestManager)
    manager.check_quorum()
    wish = Wish(
        vmid=p.vmid,
        target=p.target,
        online=p.online,
        with_local_disks=p.with_local_disks,
        storages=storage_map(p.targetstorage),
        rate_kib_s=migration_rate(ctx, p.vmid, p.bwlimit),
        **transport(ctx, p.migration_type, p.migration_network),
        who=ctx.identity.name,
    )
    if p.target == ctx.store.node:
        raise GuestError(f"VM {p.vmid} is on node '{p.target}' already; choose another target")
    if p.target not in {member.name for member in ctx.store.membership.members}:
        raise GuestError(f"target node '{p.target}' is not in the cluster")
    if manager.running(p.vmid) is not None and not p.online:
        raise GuestError(f"can't migrate running VM {p.vmid} without --online")
    manager.check_unlocked(manager.registry.config(p.vmid))

    async def run(log: TaskLog) -> None:
        log.line(f"starting migration of VM {p.vmid} to node '{p.target}'")
        await migration_of(ctx, wish, log).run()

    return Work("qmigrate", str(p.vmid), run)


def migration_of(ctx: Context, wish: Wish, log: TaskLog) -> Migration:
    """One migration, with what this daemon holds."""
    from kvorum.guests.migration.source import Migration, Services  # pveproxy declares it and makes none

    services = Services(
        ctx.service(GuestManager), ctx.service(Storages), ctx.service(Peers), ctx.service(Unfinished)
    )
    return Migration(services, wish, log)


def _incoming(ctx: Context) -> Incoming:
    from kvorum.guests.migration.target import Incoming  # as above

    return ctx.service(Incoming)


@method("POST", f"{_INCOMING}/check", permission=NodeOnly(), where=Where.NODE, protected=True)
async def incoming_check(ctx: Context, p: RequestParameters) -> list[str]:
    """Everything that stands against a guest's coming to this node."""
    return await _incoming(ctx).check(_request(p))


@method("POST", f"{_INCOMING}/prepare", permission=NodeOnly(), where=Where.NODE, protected=True)
async def incoming_prepare(ctx: Context, p: RequestParameters) -> dict[str, object]:
    """Make disks and begin a QEMU that waits for a guest."""
    answer: dict[str, object] = msgspec.to_builtins(await _incoming(ctx).prepare(_request(p)))
    return answer


@method("POST", f"{_INCOMING}/resume", permission=NodeOnly(), where=Where.NODE, protected=True)
async def incoming_resume(ctx: Context, p: TokenParameters) -> None:
    """The guest is ours: let it run."""
    await _incoming(ctx).resume(p.vmid, p.token)


@method("POST", f"{_INCOMING}/abort", permission=NodeOnly(), where=Where.NODE, protected=True)
async def incoming_abort(ctx: Context, p: TokenParameters) -> None:
    """The guest doesn't come: take everything back."""
    await _incoming(ctx).abort(p.vmid, p.token)


def _request(p: RequestParameters) -> Request:
    try:
        request = msgspec.json.decode(p.request, type=Request)
    except msgspec.MsgspecError as error:
        raise GuestError(f"VM {p.vmid}: the other node's request is not understood: {error}") from error
    if request.vmid != p.vmid:
        raise GuestError(f"VM {p.vmid}: the other node's request is about VM {request.vmid}")
    return request


def migration_rate(ctx: Context, vmid: int, asked: int | None) -> int:
    """How fast a guest's memory and volumes may go, in KiB/s; 0: as fast as it goes. Raises ``KvorumError``.

    The storages of this node alone count, whose volumes are copied.
    """
    config, storages = ctx.service(GuestManager).registry.config(vmid), ctx.service(Storages).config()
    used = {disk.volume.storage for disk in (config.disks | config.unused).values() if disk.volume}
    copied = [name for name in used if not storages.get(name).shared]
    return rate_kib_s(ctx, "migration", asked, copied)


def _available(storages: Storages, name: str, node: str) -> bool:
    try:
        return storages.config().get(name).available_on(node)
    except StorageError:
        return False
