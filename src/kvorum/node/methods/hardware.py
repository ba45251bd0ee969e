"""The devices of a node that guests could be given: what is there, from sysfs."""

from __future__ import annotations

import asyncio

from pydantic import Field

from kvorum.interface import Boolean, Context, LoggedIn, Privilege, TextList, Where, method
from kvorum.node import hardware
from kvorum.node.methods.models import NodePath, Row

_LOOK = Privilege("/", "Sys.Audit", "Sys.Modify", any_of=True)


class PciFilter(NodePath):
    pci_class_blacklist: TextList = Field(
        ("05", "06", "0b"),
        alias="pci-class-blacklist",
        description="Class codes that are left out: memory, bridges and processors, unless told otherwise.",
    )
    verbose: Boolean = Field(True, description="With vendors and names, not the addresses alone.")


@method("GET", "/nodes/{node}/hardware", permission=LoggedIn(), where=Where.NODE)
async def index(ctx: Context, p: NodePath) -> list[Row]:
    """Index of hardware types."""
    return [{"type": "pci"}, {"type": "usb"}]


@method(
    "GET", "/nodes/{node}/hardware/usb", permission=Privilege("/", "Sys.Modify"),
    where=Where.NODE, protected=True,
)  # fmt: skip
async def usb(ctx: Context, p: NodePath) -> list[Row]:
    """List local USB devices."""
    return await asyncio.to_thread(hardware.usb_devices)


@method("GET", "/nodes/{node}/hardware/pci", permission=_LOOK, where=Where.NODE, protected=True)
async def pci(ctx: Context, p: PciFilter) -> list[Row]:
    """List local PCI devices."""
    return await asyncio.to_thread(hardware.pci_devices, p.pci_class_blacklist, verbose=p.verbose)
