"""Guests listed, started, stopped and looked at."""

from __future__ import annotations

import contextlib

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.row import Row, guest_row
from kvorum.guests.snapshots.state_volume import place as place_of_memory
from kvorum.guests.suspend.state import SUSPENDED
from kvorum.guests.suspend.suspension import Suspensions
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    Encoded,
    LoggedIn,
    NodeName,
    Parameters,
    Privilege,
    StorageName,
    TaskLog,
    Where,
    Work,
    method,
)

_AUDIT = Privilege("/vms/{vmid}", "VM.Audit")
_POWER = Privilege("/vms/{vmid}", "VM.PowerMgmt")
_BASE = "/nodes/{node}/qemu/{vmid}"


class ListParameters(Parameters):
    node: NodeName
    full: Boolean = False


class StartParameters(GuestPath):
    skiplock: Boolean = False
    timeout: int | None = Field(default=None, ge=0)


class StopParameters(GuestPath):
    skiplock: Boolean = False
    timeout: int | None = Field(default=None, ge=0)
    keepActive: Boolean = False
    overrule_shutdown: Boolean = Field(default=False, alias="overrule-shutdown")


class ShutdownParameters(GuestPath):
    skiplock: Boolean = False
    timeout: int | None = Field(default=None, ge=0)
    forceStop: Boolean = False
    keepActive: Boolean = False


class RebootParameters(GuestPath):
    timeout: int | None = Field(default=None, ge=0)


class ResetParameters(GuestPath):
    skiplock: Boolean = False


class SuspendParameters(GuestPath):
    skiplock: Boolean = False
    todisk: Boolean = Field(default=False, description="Write the memory to disk and end QEMU.")
    statestorage: StorageName | None = Field(default=None, description="Where to, with 'todisk'.")


class ResumeParameters(GuestPath):
    skiplock: Boolean = False
    nocheck: Boolean = False


@method(
    "GET",
    "/nodes/{node}/qemu",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
    commands=(Command("qm list", output="qm_list"),),
)
async def index(ctx: Context, p: ListParameters) -> Encoded[list[Row]]:
    """Virtual machine index (per node)."""
    rows, may = ctx.service(GuestManager).rows(), ctx.rights()
    return Encoded.rows(row for vmid, row in rows if may(f"/vms/{vmid}", "VM.Audit"))


@method("GET", _BASE, permission=LoggedIn())
async def directory(ctx: Context, p: GuestPath) -> list[Row]:
    """Directory index of a virtual machine."""
    names = (
        *("agent", "cloudinit", "config", "migrate", "monitor", "pending", "resize", "sendkey"),
        *("spiceproxy", "status", "termproxy", "unlink", "vncproxy", "vncwebsocket"),
    )
    return [{"subdir": name} for name in names]


@method("GET", f"{_BASE}/status", permission=LoggedIn())
async def status_directory(ctx: Context, p: GuestPath) -> list[Row]:
    """Directory index of a virtual machine's status."""
    names = ("current", "reboot", "reset", "resume", "shutdown", "start", "stop", "suspend")
    return [{"subdir": name} for name in names]


@method(
    "GET",
    f"{_BASE}/status/current",
    permission=_AUDIT,
    where=Where.NODE,
    protected=True,
    commands=(Command("qm status", "vmid", output="qm_status"),),
)
async def current(ctx: Context, p: GuestPath) -> Row:
    """Get virtual machine status."""
    manager = ctx.service(GuestManager)
    row = guest_row(manager.record(p.vmid))
    with contextlib.suppress(GuestError):
        config = manager.registry.config(p.vmid)
        row["agent"] = config.agent.enabled
        row["serial"] = bool(config.serials)
        if lacking := manager.workshop.launcher.unlimited(config):
            row["kvorum-limits"] = lacking
        guest = manager.running(p.vmid)
        if guest is not None and guest.trouble:
            row["kvorum-trouble"] = guest.trouble
    return {**row, "ha": {"managed": 0}}


@method(
    "POST", f"{_BASE}/status/start", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm start", "vmid"),),
)  # fmt: skip
async def start(ctx: Context, p: StartParameters) -> Work:
    """Start virtual machine."""
    manager = ctx.service(GuestManager)
    manager.registry.file(p.vmid)
    manager.check_quorum()

    async def run(log: TaskLog) -> None:
        await manager.start(p.vmid, skiplock=p.skiplock, say=log.line)

    return Work("qmstart", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/stop", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm stop", "vmid"),),
)  # fmt: skip
async def stop(ctx: Context, p: StopParameters) -> Work:
    """Stop virtual machine. The qemu process will exit immediately."""
    manager = ctx.service(GuestManager)
    manager.registry.file(p.vmid)
    manager.check_quorum()

    async def run(log: TaskLog) -> None:
        await manager.stop(p.vmid, skiplock=p.skiplock, say=log.line)

    return Work("qmstop", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/shutdown", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm shutdown", "vmid"),),
)  # fmt: skip
async def shutdown(ctx: Context, p: ShutdownParameters) -> Work:
    """Shutdown virtual machine: press the power button, wait, and stop it hard only if asked to."""
    manager = ctx.service(GuestManager)
    manager.registry.file(p.vmid)
    manager.check_quorum()

    async def run(log: TaskLog) -> None:
        await manager.shutdown(
            p.vmid, timeout=p.timeout, force=p.forceStop, skiplock=p.skiplock, say=log.line
        )

    return Work("qmshutdown", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/reset", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm reset", "vmid"),),
)  # fmt: skip
async def reset(ctx: Context, p: ResetParameters) -> Work:
    """Reset virtual machine."""
    manager = ctx.service(GuestManager)
    manager.need_running(p.vmid)

    async def run(log: TaskLog) -> None:
        await manager.reset(p.vmid, skiplock=p.skiplock)

    return Work("qmreset", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/reboot", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm reboot", "vmid"),),
)  # fmt: skip
async def reboot(ctx: Context, p: RebootParameters) -> Work:
    """Reboot the VM by shutting it down, and starting it again. Applies pending changes."""
    manager = ctx.service(GuestManager)
    manager.need_running(p.vmid)
    manager.check_quorum()

    async def run(log: TaskLog) -> None:
        await manager.shutdown(p.vmid, timeout=p.timeout, say=log.line)
        await manager.start(p.vmid, say=log.line)

    return Work("qmreboot", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/suspend", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm suspend", "vmid"),),
)  # fmt: skip
async def suspend(ctx: Context, p: SuspendParameters) -> Work:
    """Suspend virtual machine: it stands still, its memory kept in QEMU, or on disk with ``todisk``."""
    require_right_to_disk(ctx, p.vmid, "todisk", p.todisk, "statestorage", p.statestorage)
    manager, who = ctx.service(GuestManager), ctx.identity.name
    manager.need_running(p.vmid)
    if p.todisk:
        suspensions, storage = ctx.service(Suspensions), p.statestorage or ""
        suspensions.check(p.vmid, storage, skiplock=p.skiplock)

        async def to_disk(log: TaskLog) -> None:
            await suspensions.suspend(p.vmid, storage=storage, skiplock=p.skiplock, who=who, log=log)

        return Work("qmsuspend", str(p.vmid), to_disk)

    async def run(log: TaskLog) -> None:
        await manager.suspend(p.vmid, skiplock=p.skiplock)

    return Work("qmsuspend", str(p.vmid), run)


@method(
    "POST", f"{_BASE}/status/resume", permission=_POWER, where=Where.NODE, protected=True, task=True,
    commands=(Command("qm resume", "vmid"),),
)  # fmt: skip
async def resume(ctx: Context, p: ResumeParameters) -> Work:
    """Resume virtual machine, from its memory in QEMU or on disk."""
    manager = ctx.service(GuestManager)
    if manager.registry.config(p.vmid).lock == SUSPENDED and manager.running(p.vmid) is None:
        manager.check_quorum()
        return Work("qmresume", str(p.vmid), lambda log: manager.start(p.vmid, say=log.line))
    manager.need_running(p.vmid)

    async def run(log: TaskLog) -> None:
        await manager.resume(p.vmid, skiplock=p.skiplock)

    return Work("qmresume", str(p.vmid), run)


def require_right_to_disk(
    ctx: Context, vmid: int, flag: str, to_disk: bool, place: str, storage: str | None
) -> None:
    """Raise ``PermissionDenied`` for who may not write a guest's memory to disk there, and
    ``ParameterError`` for a place without the flag."""
    if not to_disk:
        if storage is not None:
            raise ParameterError({place: f"has a meaning with '{flag}' alone"})
        return
    chosen = storage or place_of_memory(ctx.service(GuestManager).registry.config(vmid))
    wanted = [(f"/vms/{vmid}", "VM.Config.Disk"), (f"/storage/{chosen}", "Datastore.AllocateSpace")]
    for path, privilege in wanted:
        if not ctx.allowed(path, privilege):
            raise PermissionDenied(f"Permission check failed ({path}, {privilege})")
