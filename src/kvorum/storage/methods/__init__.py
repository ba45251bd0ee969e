"""The storage room's methods."""

from kvorum.storage.methods import appliance, prune, storages, transfer, volumes

__all__ = ["appliance", "prune", "storages", "transfer", "volumes"]
