"""What this node's QEMU can do, as wizards ask."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvorum.guests import GuestManager
from kvorum.interface import Context, LoggedIn, Where, method
from kvorum.node import capabilities
from kvorum.node.methods.models import AUDIT, NodePath, Row


class OfArch(NodePath):
    arch: Literal["x86_64", "aarch64"] | None = Field(None, description="The guest's architecture.")


@method("GET", "/nodes/{node}/capabilities/qemu/cpu", permission=LoggedIn())
async def cpu_models(ctx: Context, p: OfArch) -> list[Row]:
    """List all custom and default CPU models."""
    if p.arch == "aarch64":
        return []
    return [
        {"name": name, "vendor": vendor, "custom": False} for name, vendor in capabilities.CPU_MODELS.items()
    ]


@method(
    "GET", "/nodes/{node}/capabilities/qemu/machines", permission=LoggedIn(), where=Where.NODE, protected=True
)
async def machines(ctx: Context, p: OfArch) -> list[Row]:
    """Get available QEMU/KVM machine types."""
    if p.arch == "aarch64":
        return []
    return capabilities.machine_rows(ctx.service(GuestManager).workshop.facts.machine_types)


@method("GET", "/nodes/{node}/capabilities/qemu/migration", permission=AUDIT, where=Where.NODE)
async def migration(ctx: Context, p: NodePath) -> Row:
    """Get node-specific QEMU migration capabilities of the node."""
    return {"has-dbus-vmstate": False}
