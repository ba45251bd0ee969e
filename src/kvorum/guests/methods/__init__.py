"""The API of guests; importing it declares the methods."""

from kvorum.guests.methods import configuration, migrate, status

__all__ = ["configuration", "migrate", "status"]
