"""A guest's keyboard, and QEMU's own monitor."""

from __future__ import annotations

from kvorum.core.errors import PermissionDenied
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.interface import Boolean, Command, Context, Privilege, Where, method

_BASE = "/nodes/{node}/qemu/{vmid}"


class KeyParameters(GuestPath):
    key: str
    skiplock: Boolean = False


class MonitorParameters(GuestPath):
    command: str


@method("PUT", f"{_BASE}/sendkey", permission=Privilege("/vms/{vmid}", "VM.Console"), where=Where.NODE,
        protected=True, commands=(Command("qm sendkey", "vmid", "key"),))  # fmt: skip
async def sendkey(ctx: Context, p: KeyParameters) -> None:
    """Send a key event to the virtual machine, such as ``ctrl-alt-delete``."""
    keys = [{"type": "qcode", "data": name} for name in p.key.split("-") if name]
    await ctx.service(GuestManager).need_running(p.vmid).monitor.execute("send-key", {"keys": keys})


@method("POST", f"{_BASE}/monitor", where=Where.NODE, protected=True,
        permission=Privilege("/vms/{vmid}", "Sys.Audit", "Sys.Modify", any_of=True),
        commands=(Command("qm monitor", "vmid", "command..."),))  # fmt: skip
async def monitor(ctx: Context, p: MonitorParameters) -> str:
    """Execute a command of QEMU's human monitor. Who may only look, may only ask ``info`` and ``help``."""
    word = p.command.split()[:1]
    if word not in (["info"], ["help"]) and not ctx.allowed(f"/vms/{p.vmid}", "Sys.Modify"):
        raise PermissionDenied(f"Permission check failed (/vms/{p.vmid}, Sys.Modify)")
    guest = ctx.service(GuestManager).need_running(p.vmid)
    return str(await guest.monitor.execute("human-monitor-command", {"command-line": p.command}))
