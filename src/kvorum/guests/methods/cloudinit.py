"""What a guest's cloud-init is told: shown, compared with what its drive says, and written there anew."""

from __future__ import annotations

from typing import Literal

from kvorum.guests.change import Changes
from kvorum.guests.cloudinit import CloudInit
from kvorum.guests.cloudinit.drive import Row, pending_rows
from kvorum.guests.cloudinit.settings import masked
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.registry import Registry
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Command, Context, Privilege, Where, method
from kvorum.storage import Storages

_PATH = "/nodes/{node}/qemu/{vmid}/cloudinit"
_AUDIT = Privilege("/vms/{vmid}", "VM.Audit")


class DumpParameters(GuestPath):
    type: Literal["user", "network", "meta"]


@method("GET", _PATH, permission=_AUDIT, where=Where.NODE,
        commands=(Command("qm cloudinit pending", "vmid", output="qm_pending"),))  # fmt: skip
async def read_pending(ctx: Context, p: GuestPath) -> list[Row]:
    """Get the cloudinit configuration with both current and pending values."""
    return pending_rows(Registry(ctx.store).config(p.vmid))


@method("PUT", _PATH, permission=Privilege("/vms/{vmid}", "VM.Config.Cloudinit"), where=Where.NODE,
        protected=True, commands=(Command("qm cloudinit update", "vmid"),))  # fmt: skip
async def update(ctx: Context, p: GuestPath) -> None:
    """Regenerate and change cloudinit config drive."""
    changes = Changes(ctx.service(GuestManager), ctx.service(Storages), ctx.service(Unfinished))
    await changes.renew_cloudinit(p.vmid, who=ctx.identity.name)


@method("GET", f"{_PATH}/dump", permission=_AUDIT, where=Where.NODE, protected=True,
        commands=(Command("qm cloudinit dump", "vmid", "type", output="text"),))  # fmt: skip
async def dump(ctx: Context, p: DumpParameters) -> str:
    """Get automatically generated cloudinit config. A password's hash is not shown."""
    config = masked(ctx.service(GuestManager).registry.config(p.vmid))
    return (await CloudInit(ctx.service(Storages)).texts(config))[p.type]
