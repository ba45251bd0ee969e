"""The storage room's methods."""

from kvorum.storage.methods import storages, transfer, volumes

__all__ = ["storages", "transfer", "volumes"]
