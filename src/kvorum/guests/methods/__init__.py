"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import bulk, cluster_bulk, configuration, migrate, status

__all__ = ["bulk", "cluster_bulk", "configuration", "migrate", "status"]
