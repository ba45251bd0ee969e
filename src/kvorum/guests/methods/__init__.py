"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import (
    agent,
    appliance,
    bulk,
    cloudinit,
    cluster_bulk,
    configuration,
    console,
    disks,
    migrate,
    status,
)

__all__ = [
    "agent",
    "appliance",
    "bulk",
    "cloudinit",
    "cluster_bulk",
    "configuration",
    "console",
    "disks",
    "migrate",
    "status",
]
