"""Guests: their configurations, their QEMUs, their way between nodes."""

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError, GuestError, GuestLocked, MigrationFailed, StartFailed
from kvorum.guests.manager import GuestManager
from kvorum.guests.registry import Registry, config_path, owners
from kvorum.guests.statistics import GuestRecord, read_records

__all__ = [
    "GuestConfig",
    "GuestConfigError",
    "GuestError",
    "GuestLocked",
    "GuestManager",
    "GuestRecord",
    "MigrationFailed",
    "Registry",
    "StartFailed",
    "config_path",
    "owners",
    "read_records",
]
