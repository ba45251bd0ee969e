"""Storages and their volumes: storage.cfg, the kinds of storage, disk images."""

from kvorum.storage.config import StorageConfig
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import NoSpace, NotADiskImage, StorageConfigError, StorageError
from kvorum.storage.half_made import HalfMade
from kvorum.storage.images import Progress, convert, inspect
from kvorum.storage.kind import (
    Capabilities,
    SnapshotBy,
    Source,
    StorageKind,
    StorageStatus,
    Volume,
    snapshot_name,
)
from kvorum.storage.statistics import StorageRecord, read_records
from kvorum.storage.storages import Storages, StorageState

__all__ = [
    "Capabilities",
    "HalfMade",
    "NoSpace",
    "NotADiskImage",
    "Progress",
    "SnapshotBy",
    "Source",
    "StorageConfig",
    "StorageConfigError",
    "StorageEntry",
    "StorageError",
    "StorageKind",
    "StorageRecord",
    "StorageState",
    "StorageStatus",
    "Storages",
    "Volume",
    "convert",
    "inspect",
    "read_records",
    "snapshot_name",
]
