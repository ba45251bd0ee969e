"""The privileges there are, by the area of the page they show up in."""

from __future__ import annotations

from collections.abc import Mapping

_GUESTS = (
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
)
_STORAGE = ("Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit")
_SYSTEM = (
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
)
_ACCESS = ("Group.Allocate", "Permissions.Modify", "Realm.Allocate", "Realm.AllocateUser", "User.Modify")
_POOL = ("Pool.Allocate", "Pool.Audit")
_SDN = ("SDN.Allocate", "SDN.Audit", "SDN.Use")
_MAPPING = ("Mapping.Audit", "Mapping.Modify", "Mapping.Use")

PRIVILEGES: frozenset[str] = frozenset((*_GUESTS, *_STORAGE, *_SYSTEM, *_ACCESS, *_POOL, *_SDN, *_MAPPING))

AREAS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "dc": ("/", (*_SYSTEM, *_SDN)),
    "nodes": ("/nodes", _SYSTEM),
    "vms": ("/vms", _GUESTS),
    "storage": ("/storage", _STORAGE),
    "access": ("/access", _ACCESS),
    "sdn": ("/sdn", _SDN),
    "mapping": ("/mapping", _MAPPING),
}
"""Area to its path and the privileges that matter there: what a login is told, for what the page offers."""
