"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import agent, bulk, cluster_bulk, configuration, console, disks, migrate, status

__all__ = ["agent", "bulk", "cluster_bulk", "configuration", "console", "disks", "migrate", "status"]
