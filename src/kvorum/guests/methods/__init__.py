"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import bulk, configuration, migrate, status

__all__ = ["bulk", "configuration", "migrate", "status"]
