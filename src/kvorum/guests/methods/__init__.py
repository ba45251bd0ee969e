"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import (
    agent,
    appliance,
    bulk,
    clone,
    cloudinit,
    cluster_bulk,
    configuration,
    console,
    disks,
    host,
    migrate,
    snapshots,
    spice,
    status,
)

__all__ = [
    "agent",
    "appliance",
    "bulk",
    "clone",
    "cloudinit",
    "cluster_bulk",
    "configuration",
    "console",
    "disks",
    "host",
    "migrate",
    "snapshots",
    "spice",
    "status",
]
