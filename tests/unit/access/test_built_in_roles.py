"""The built-in roles against what the manual, pveum(1), says of each; its words stand beside them."""

import pytest

from kvorum.access.rights.privileges import PRIVILEGES
from kvorum.access.rights.roles import BUILT_IN

MUST = {
    "PVEAuditor": {"Sys.Audit", "VM.Audit", "Datastore.Audit", "Pool.Audit", "SDN.Audit", "Mapping.Audit"},
    "PVEDatastoreAdmin": {"Datastore.AllocateSpace", "Datastore.AllocateTemplate"},  # backup space, templates
    "PVEDatastoreUser": {"Datastore.AllocateSpace", "Datastore.Audit"},  # allocate space, view storage
    "PVEMappingAdmin": {"Mapping.Modify"},  # manage resource mappings
    "PVEMappingUser": {"Mapping.Audit", "Mapping.Use"},  # view and use
    "PVEPoolAdmin": {"Pool.Allocate"},
    "PVEPoolUser": {"Pool.Audit"},  # view pools
    "PVESDNAdmin": {"SDN.Allocate"},
    "PVESDNUser": {"SDN.Use"},  # access to bridges and vnets
    "PVESysAdmin": {"Sys.Audit", "Sys.Console", "Sys.Syslog"},  # audit, system console and system logs
    "PVETemplateUser": {"VM.Audit", "VM.Clone"},  # view and clone templates
    "PVEUserAdmin": {"User.Modify"},  # manage users
    "PVEVMAdmin": {name for name in PRIVILEGES if name.startswith("VM.")},  # fully administer VMs
    "PVEVMUser": {"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Console", "VM.PowerMgmt"},
}


def test_the_roles_are_those_of_the_manual() -> None:
    assert set(BUILT_IN) == {*MUST, "Administrator", "NoAccess", "PVEAdmin"}
    assert BUILT_IN["Administrator"] == PRIVILEGES and not BUILT_IN["NoAccess"]


def test_the_admin_role_changes_neither_the_system_nor_rights() -> None:
    kept_back = {"Sys.PowerMgmt", "Sys.Modify", "Realm.Allocate", "Permissions.Modify"}
    assert not BUILT_IN["PVEAdmin"] & kept_back
    assert BUILT_IN["PVEAdmin"] >= PRIVILEGES - kept_back - {"Sys.Incoming", "Sys.AccessNetwork"}


@pytest.mark.parametrize("role", sorted(MUST))
def test_a_role_has_what_the_manual_says_and_nothing_of_another_area(role: str) -> None:
    assert BUILT_IN[role] >= MUST[role]
    if role != "PVEUserAdmin":  # users are in groups and realms
        areas = {name.split(".")[0] for name in MUST[role]}
        assert {name.split(".")[0] for name in BUILT_IN[role]} <= areas
