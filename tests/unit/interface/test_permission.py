import pytest

from kvorum.core.errors import AuthenticationError, PermissionDenied
from kvorum.interface import (
    AllOf,
    AnyOf,
    Anyone,
    Identity,
    LoggedIn,
    NodeOnly,
    Privilege,
    Requirement,
    RootOnly,
    authorise,
)


class Table:
    def __init__(self, *granted: tuple[str, str, str]) -> None:
        self._granted = set(granted)

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return (identity.user, path, privilege) in self._granted


USER = Identity("joe@pve")
ROOT = Identity("root@pam")
TOKEN = Identity("root@pam", token="t")
NODE = Identity("root@pam", node="n2")
TABLE = Table(("joe@pve", "/vms/100", "VM.Audit"), ("joe@pve", "/vms/100", "VM.Console"))
VALUES = {"vmid": "100"}


def lacks(requirement: Requirement, identity: Identity, values: dict[str, str] | None = None) -> str:
    with pytest.raises(PermissionDenied) as caught:
        authorise(requirement, identity, TABLE, values or VALUES)
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
