import pytest

from kvorum.core.errors import AuthenticationError, PermissionDenied
from kvorum.interface import (
    AllOf,
    AnyOf,
    Anyone,
    GroupsGiven,
    Identity,
    LoggedIn,
    NodeOnly,
    OwnUser,
    Privilege,
    RealmPrivilege,
    Requirement,
    RightsOn,
    RootOnly,
    UserPrivilege,
    authorise,
)


class Table:
    def __init__(self, *granted: tuple[str, str, str]) -> None:
        self._granted = set(granted)

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return (identity.user, path, privilege) in self._granted

    def groups(self, user: str) -> frozenset[str] | None:
        return {"ann@pve": frozenset({"sales"}), "joe@pve": frozenset[str]()}.get(user)


USER = Identity("joe@pve")
ROOT = Identity("root@pam")
TOKEN = Identity("root@pam", token="t")
NODE = Identity("root@pam", node="n2")
TABLE = Table(("joe@pve", "/vms/100", "VM.Audit"), ("joe@pve", "/vms/100", "VM.Console"))
VALUES = {"vmid": "100"}


def lacks(
    requirement: Requirement,
    identity: Identity,
    values: dict[str, str] | None = None,
    table: Table = TABLE,
) -> str:
    with pytest.raises(PermissionDenied) as caught:
        authorise(requirement, identity, table, VALUES if values is None else values)
    return str(caught.value)


def test_nobody_may_only_what_asks_for_no_login() -> None:
    authorise(Anyone(), None, TABLE, {})
    for requirement in (LoggedIn(), RootOnly(), NodeOnly(), Privilege("/", "Sys.Audit")):
        with pytest.raises(AuthenticationError, match="No ticket"):
            authorise(requirement, None, TABLE, {})


def test_a_privilege_is_asked_for_on_the_filled_path() -> None:
    authorise(Privilege("/vms/{vmid}", "VM.Audit"), USER, TABLE, VALUES)
    authorise(Privilege("/vms/{vmid}", "VM.Migrate", "VM.Console", any_of=True), USER, TABLE, VALUES)
    assert lacks(Privilege("/vms/{vmid}", "VM.Migrate"), USER) == (
        "Permission check failed (/vms/100, VM.Migrate)"
    )
    lacks(Privilege("/vms/{vmid}", "VM.Audit", "VM.Migrate"), USER)
    lacks(Privilege("/vms/{vmid}"), USER)


@pytest.mark.parametrize("value", ["101", "", "100/../100", "x/100"])
def test_another_or_a_strange_value_grants_nothing(value: str) -> None:
    lacks(Privilege("/vms/{vmid}", "VM.Audit"), USER, {"vmid": value})
    lacks(Privilege("/vms/{vmid}", "VM.Audit"), USER, {"other": value})


def test_root_only_means_root_in_person() -> None:
    authorise(RootOnly(), ROOT, TABLE, {})
    for identity in (USER, TOKEN, NODE):
        lacks(RootOnly(), identity)


def test_a_node_may_what_is_for_nodes_and_nothing_else() -> None:
    authorise(NodeOnly(), NODE, TABLE, {})
    lacks(NodeOnly(), ROOT)
    lacks(LoggedIn(), NODE)
    lacks(Privilege("/vms/{vmid}", "VM.Audit"), Identity("joe@pve", node="n2"))


def test_all_of_and_any_of_combine() -> None:
    audit, migrate = Privilege("/vms/{vmid}", "VM.Audit"), Privilege("/vms/{vmid}", "VM.Migrate")
    authorise(AnyOf((migrate, audit)), USER, TABLE, VALUES)
    lacks(AllOf((audit, migrate)), USER)
    assert " or " in lacks(AnyOf((migrate, RootOnly())), USER)
    lacks(AnyOf(()), USER)


def test_an_unknown_requirement_is_denied() -> None:
    lacks(Requirement(), ROOT)


def test_a_privilege_that_requires_a_parameter_is_not_met_without_it() -> None:
    table = Table(("joe@pve", "/pool/{pool}", "VM.Allocate"), ("joe@pve", "/pool/dev", "VM.Allocate"))
    requirement = Privilege("/pool/{pool}", "VM.Allocate", require_param="pool")
    authorise(requirement, USER, table, {"pool": "dev"})
    lacks(requirement, USER, {}, table)


def test_pools_may_lie_in_pools_and_nothing_else_has_slashes() -> None:
    table = Table(("joe@pve", "/pool/a/b", "Pool.Audit"), ("joe@pve", "/vms/a/b", "VM.Audit"))
    authorise(Privilege("/pool/{poolid}", "Pool.Audit"), USER, table, {"poolid": "a/b"})
    for value in ("a/../a/b", "a//b", "/a/b", "a/b/"):
        lacks(Privilege("/pool/{poolid}", "Pool.Audit"), USER, {"poolid": value}, table)
    lacks(Privilege("/vms/{vmid}", "VM.Audit"), USER, {"vmid": "a/b"}, table)


def test_one_is_oneself_and_not_ones_token_or_another() -> None:
    authorise(OwnUser(), USER, TABLE, {"userid": "joe@pve"})
    lacks(OwnUser(), USER, {"userid": "ann@pve"})
    lacks(OwnUser(), USER, {})
    lacks(OwnUser(), Identity("joe@pve", token="t"), {"userid": "joe@pve"})
    lacks(OwnUser(), NODE, {"userid": "root@pam"})


def test_a_realms_privilege_is_asked_for_where_the_named_user_is() -> None:
    table = Table(("joe@pve", "/access/realm/pve", "Realm.AllocateUser"))
    requirement = RealmPrivilege("Realm.AllocateUser")
    authorise(requirement, USER, table, {"userid": "new@pve"})
    for values in ({"userid": "new@pam"}, {"userid": "new"}, {"userid": "x@../pve"}, {}):
        lacks(requirement, USER, values, table)


def test_a_user_is_looked_after_by_its_group_or_as_a_whole() -> None:
    group = Table(("joe@pve", "/access/groups/sales", "User.Modify"))
    whole = Table(("joe@pve", "/access/groups", "User.Modify"))
    requirement = UserPrivilege("Sys.Audit", "User.Modify")
    authorise(requirement, USER, group, {"userid": "ann@pve"})
    authorise(requirement, USER, whole, {"userid": "nobody@pve"})
    for user in ("joe@pve", "nobody@pve", ""):
        lacks(requirement, USER, {"userid": user}, group)


def test_groups_that_are_given_must_all_be_the_callers_to_look_after() -> None:
    group = Table(("joe@pve", "/access/groups/sales", "User.Modify"))
    create = UserPrivilege("User.Modify", groups=GroupsGiven.CREATE)
    update = UserPrivilege("User.Modify", groups=GroupsGiven.UPDATE)
    authorise(create, USER, group, {"userid": "new@pve", "groups": "sales"})
    authorise(update, USER, group, {"userid": "ann@pve"})
    authorise(update, USER, group, {"userid": "ann@pve", "groups": "sales"})
    for values in ({}, {"groups": ""}, {"groups": "sales,admins"}, {"groups": "sales/../admins"}):
        lacks(create, USER, {"userid": "new@pve"} | values, group)
    lacks(update, USER, {"userid": "ann@pve", "groups": "sales;admins"}, group)
    lacks(update, USER, {"userid": "joe@pve", "groups": "sales"}, group)


def test_rights_are_given_by_who_may_change_or_allocate_what_lies_there() -> None:
    table = Table(
        ("joe@pve", "/vms/100", "VM.Allocate"),
        ("joe@pve", "/nodes/n1", "Permissions.Modify"),
        ("joe@pve", "/vms", "VM.Allocate"),
    )
    for path in ("/vms/100", "vms//100/", "/nodes/n1"):
        authorise(RightsOn("path"), USER, table, {"path": path})
    for path in ("/vms/101", "/vms", "/nodes/n2", "/", "", "/storage/local"):
        lacks(RightsOn("path"), USER, {"path": path}, table)
