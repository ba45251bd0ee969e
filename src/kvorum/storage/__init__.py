"""Storages and their volumes: storage.cfg, the kinds of storage, disk images."""

from kvorum.storage.bandwidth import Touched, rate_kib_s
from kvorum.storage.config import StorageConfig
from kvorum.storage.direct_io import takes_direct_io
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import NoSpace, NotADiskImage, StorageConfigError, StorageError
from kvorum.storage.half_made import HalfMade
from kvorum.storage.images import Progress, convert, inspect, make_last
from kvorum.storage.kind import (
    Capabilities,
    SnapshotBy,
    Source,
    StorageKind,
    StorageStatus,
    Volume,
    snapshot_name,
)
from kvorum.storage.ova import Part, part
from kvorum.storage.ova import read as read_appliance
from kvorum.storage.ovf import Appliance, NotAnAppliance
from kvorum.storage.ovf import settings as machine_settings
from kvorum.storage.statistics import StorageRecord, read_records
from kvorum.storage.storages import Storages, StorageState

__all__ = [
    "Appliance",
    "Capabilities",
    "HalfMade",
    "NoSpace",
    "NotADiskImage",
    "NotAnAppliance",
    "Part",
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
    "Touched",
    "Volume",
    "convert",
    "inspect",
    "machine_settings",
    "make_last",
    "part",
    "rate_kib_s",
    "read_appliance",
    "read_records",
    "snapshot_name",
    "takes_direct_io",
]
