"""The storage room's methods."""

from kvorum.storage.methods import prune, storages, transfer, volumes

__all__ = ["prune", "storages", "transfer", "volumes"]
