"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import agent, bulk, cluster_bulk, configuration, console, migrate, status

__all__ = ["agent", "bulk", "cluster_bulk", "configuration", "console", "migrate", "status"]
