"""The roles that are always there, and what each contains (the admin guide's chapter on user management)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kvorum.access.files.user_cfg import UserConfig
from kvorum.access.rights.privileges import PRIVILEGES

NO_ACCESS = "NoAccess"
ADMINISTRATOR = "Administrator"


def _of(*prefixes: str) -> frozenset[str]:
    return frozenset(name for name in PRIVILEGES if name.startswith(prefixes))


_SYSTEM_ONLY = frozenset(
    (
        "Sys.PowerMgmt",
        "Sys.Modify",
        "Sys.Incoming",
        "Sys.AccessNetwork",
        "Realm.Allocate",
        "Permissions.Modify",
    )
)
"""What changes the system itself or who may do what: no role but Administrator has it."""

BUILT_IN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        ADMINISTRATOR: PRIVILEGES,
        NO_ACCESS: frozenset(),
        "PVEAdmin": PRIVILEGES - _SYSTEM_ONLY,
        "PVEAuditor": frozenset(name for name in PRIVILEGES if name.endswith(".Audit")),
        "PVEDatastoreAdmin": _of("Datastore."),
        "PVEDatastoreUser": frozenset(("Datastore.AllocateSpace", "Datastore.Audit")),
        "PVEMappingAdmin": _of("Mapping."),
        "PVEMappingUser": frozenset(("Mapping.Audit", "Mapping.Use")),
        "PVEPoolAdmin": _of("Pool."),
        "PVEPoolUser": frozenset(("Pool.Audit",)),
        "PVESDNAdmin": _of("SDN."),
        "PVESDNUser": frozenset(("SDN.Audit", "SDN.Use")),
        "PVESysAdmin": frozenset(("Sys.Audit", "Sys.Console", "Sys.Syslog")),
        "PVETemplateUser": frozenset(("VM.Audit", "VM.Clone")),
        "PVEUserAdmin": frozenset(("Group.Allocate", "Realm.AllocateUser", "User.Modify")),
        "PVEVMAdmin": _of("VM."),
        "PVEVMUser": frozenset(
            (
                "VM.Audit",
                "VM.Backup",
                "VM.Config.CDROM",
                "VM.Config.Cloudinit",
                "VM.Console",
                "VM.GuestAgent.Audit",
                "VM.PowerMgmt",
            )
        ),
    }
)


def all_roles(config: UserConfig) -> Mapping[str, frozenset[str]]:
    """Every role and its privileges; one of user.cfg can't replace a built-in one."""
    own = {name: role.privileges & PRIVILEGES for name, role in config.roles.items()}
    return {**own, **BUILT_IN}
