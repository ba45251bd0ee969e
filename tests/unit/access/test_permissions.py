"""The rules by which user.cfg gives rights, one test each."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.access import AccessAuthority
from kvorum.access.files.user_cfg import Grant, Group, Pool, Role, Token, User, UserConfig
from kvorum.access.rights.permissions import EVERYTHING, Permissions
from kvorum.access.rights.privileges import PRIVILEGES
from kvorum.access.rights.roles import BUILT_IN, all_roles
from kvorum.interface import Identity
from kvorum.store.memory import MemoryStore

NOW = 1_800_000_000.0
JOE = "joe@pve"
CI = f"{JOE}!ci"


def config(
    *acl: tuple[str, str, str] | tuple[str, str, str, bool],
    user: User | None = None,
    token: Token | None = None,
    pools: dict[str, Pool] | None = None,
) -> UserConfig:
    owner = user or User(tokens={"ci": token or Token()})
    return UserConfig(
        users={"root@pam": User(tokens={"full": Token(privsep=False), "sep": Token()}), JOE: owner},
        groups={"ops": Group(frozenset({JOE})), "dev": Group(frozenset({JOE})), "others": Group()},
        pools=pools or {},
        roles={"Start": Role(frozenset({"VM.PowerMgmt", "Not.Known"}))},
        grants=frozenset(Grant(*entry) for entry in acl),
    )


def names(given: UserConfig, path: str, who: str = JOE) -> set[str]:
    return set(Permissions(given).of(who, NOW).permissions(path))


def test_nothing_granted_is_nothing_allowed() -> None:
    assert names(config(), "/") == names(config(), "/vms/100") == set()


def test_rights_propagate_to_what_lies_below() -> None:
    given = config(("/vms", JOE, "PVETemplateUser"))
    assert names(given, "/vms/100") == names(given, "/vms") == {"VM.Audit", "VM.Clone"}
    assert names(given, "/") == names(given, "/vmsx") == names(given, "/storage/vms") == set()


def test_without_propagation_they_hold_on_their_own_path_only() -> None:
    given = config(("/vms", JOE, "PVETemplateUser", False))
    assert names(given, "/vms") == {"VM.Audit", "VM.Clone"}
    assert names(given, "/vms/100") == set()
    held = Permissions(given).of(JOE, NOW).permissions("/vms")
    assert set(held.values()) == {False}


def test_what_stands_nearer_replaces_what_is_inherited() -> None:
    given = config(("/", JOE, "Administrator"), ("/vms/100", JOE, "PVEPoolUser"))
    assert names(given, "/vms/100") == {"Pool.Audit"}
    assert names(given, "/vms/101") == set(PRIVILEGES)


def test_a_nearer_entry_that_does_not_propagate_lets_the_farther_through() -> None:
    given = config(("/", JOE, "PVEPoolUser"), ("/vms", JOE, "PVETemplateUser", False))
    assert names(given, "/vms") == {"VM.Audit", "VM.Clone"}
    assert names(given, "/vms/100") == {"Pool.Audit"}


def test_groups_add_up() -> None:
    given = config(
        ("/vms", "@ops", "PVETemplateUser"), ("/vms", "@dev", "Start"), ("/vms", "@others", "PVEAdmin")
    )
    assert names(given, "/vms/100") == {"VM.Audit", "VM.Clone", "VM.PowerMgmt"}


def test_a_users_own_entries_replace_its_groups_on_the_same_path_only() -> None:
    given = config(
        ("/vms", "@ops", "PVEVMAdmin"), ("/vms", JOE, "PVETemplateUser"), ("/vms/7", "@ops", "Start")
    )
    assert names(given, "/vms/100") == {"VM.Audit", "VM.Clone"}
    assert names(given, "/vms/7") == {"VM.PowerMgmt"}


def test_a_groups_entry_counts_where_the_users_own_does_not_propagate() -> None:
    given = config(("/vms", "@ops", "Start"), ("/vms", JOE, "PVETemplateUser", False))
    assert names(given, "/vms/100") == {"VM.PowerMgmt"}
    assert names(given, "/vms") == {"VM.Audit", "VM.Clone"}


def test_no_access_cancels_all_other_roles_on_its_path() -> None:
    given = config(
        ("/", JOE, "Administrator"),
        ("/vms", JOE, "PVEVMAdmin"),
        ("/vms", JOE, "NoAccess"),
        ("/vms/7", JOE, "Start"),
    )
    assert names(given, "/vms") == names(given, "/vms/100") == set()
    assert names(given, "/vms/7") == {"VM.PowerMgmt"}
    assert names(given, "/nodes/n1") == set(PRIVILEGES)


def test_no_access_of_one_group_cancels_another_groups_rights() -> None:
    assert names(config(("/vms", "@ops", "NoAccess"), ("/vms", "@dev", "PVEVMAdmin")), "/vms/1") == set()


POOLS = {
    "web": Pool(vms=frozenset({100}), storages=frozenset({"fast"})),
    "web/test": Pool(vms=frozenset({200})),
    "shared": Pool(storages=frozenset({"fast"})),
}


def test_a_pools_rights_are_its_members_too() -> None:
    given = config(("/pool/web", JOE, "PVEVMUser"), ("/pool/shared", JOE, "PVEDatastoreUser"), pools=POOLS)
    assert names(given, "/vms/100") == set(BUILT_IN["PVEVMUser"])
    assert names(given, "/vms/300") == names(given, "/vms") == set()
    assert names(given, "/vms/200") == set(BUILT_IN["PVEVMUser"]), "a pool in a pool inherits"
    assert names(given, "/storage/fast") == BUILT_IN["PVEVMUser"] | BUILT_IN["PVEDatastoreUser"]


def test_a_pools_rights_come_beside_the_members_own_unless_it_has_no_access() -> None:
    given = config(("/pool/web", JOE, "Start"), ("/vms/100", JOE, "PVETemplateUser"), pools=POOLS)
    assert names(given, "/vms/100") == {"VM.PowerMgmt", "VM.Audit", "VM.Clone"}
    denied = config(("/pool/web", JOE, "Start"), ("/vms/100", JOE, "NoAccess"), pools=POOLS)
    assert names(denied, "/vms/100") == set()


def test_a_separated_token_has_its_own_rights_and_of_those_only_its_users() -> None:
    given = config(("/vms", JOE, "PVETemplateUser"), ("/vms/100", CI, "PVEVMAdmin"))
    assert names(given, "/vms/100", CI) == {"VM.Audit", "VM.Clone"}
    assert names(given, "/vms/101", CI) == set()
    assert names(given, "/vms/101") == {"VM.Audit", "VM.Clone"}


def test_a_token_that_is_not_separated_is_as_its_user() -> None:
    given = config(("/vms", "@ops", "PVETemplateUser"), token=Token(privsep=False))
    assert names(given, "/vms/100", CI) == {"VM.Audit", "VM.Clone"}


def test_a_tokens_rights_propagate_no_farther_than_its_users() -> None:
    given = config(("/vms", JOE, "Start", False), ("/vms", CI, "Start"))
    assert Permissions(given).of(CI, NOW).permissions("/vms") == {"VM.PowerMgmt": False}
    assert names(given, "/vms/100", CI) == set()


def test_root_has_everything_and_its_tokens_as_they_are_made() -> None:
    given = config(("/vms", "root@pam!sep", "Start"), ("/", "root@pam", "NoAccess"))
    assert Permissions(given).of("root@pam", NOW).permissions("/vms/100") is EVERYTHING
    assert names(given, "/vms/100", "root@pam!full") == set(PRIVILEGES)
    assert names(given, "/vms/100", "root@pam!sep") == {"VM.PowerMgmt"}


@pytest.mark.parametrize(
    ("user", "who"),
    [
        (User(enable=False, tokens={"ci": Token(privsep=False)}), JOE),
        (User(enable=False, tokens={"ci": Token(privsep=False)}), CI),
        (User(expire=int(NOW)), JOE),
        (User(expire=int(NOW), tokens={"ci": Token(privsep=False)}), CI),
        (User(tokens={"ci": Token(expire=int(NOW) - 1, privsep=False)}), CI),
        (User(), CI),
        (User(), "stranger@pve"),
        (User(), "@ops"),
        (User(), ""),
    ],
)
def test_who_is_gone_disabled_or_expired_has_nothing(user: User, who: str) -> None:
    assert (
        names(config(("/", JOE, "Administrator"), ("/", "@ops", "Administrator"), user=user), "/", who)
        == set()
    )


def test_what_is_cached_ends_when_a_user_expires() -> None:
    permissions = Permissions(config(("/", JOE, "PVEAuditor"), user=User(expire=int(NOW) + 1)))
    assert permissions.of(JOE, NOW).permissions("/")
    assert not permissions.of(JOE, NOW + 1).permissions("/")


def test_an_own_role_cannot_take_a_built_in_ones_place_or_hold_unknown_privileges() -> None:
    given = UserConfig(roles={"PVEAuditor": Role(PRIVILEGES), "Mine": Role(frozenset({"Sys.Audit", "X"}))})
    assert all_roles(given)["PVEAuditor"] == BUILT_IN["PVEAuditor"]
    assert all_roles(given)["Mine"] == {"Sys.Audit"}


def test_a_role_there_is_not_grants_nothing() -> None:
    assert names(config(("/", JOE, "Vanished")), "/") == set()


PATHS = st.sampled_from(["/", "/vms", "/vms/100", "/vms/200", "/pool", "/pool/web", "/pool/web/test"])
ENTRY = st.tuples(
    PATHS,
    st.sampled_from([JOE, "@ops", "@dev", CI]),
    st.sampled_from(["Start", "PVETemplateUser", "NoAccess", "PVEAuditor"]),
    st.booleans(),
)


@given(st.lists(ENTRY, max_size=8), st.booleans())
def test_a_token_never_has_more_than_its_user(
    entries: list[tuple[str, str, str, bool]], privsep: bool
) -> None:
    permissions = Permissions(config(*entries, token=Token(privsep=privsep), pools=POOLS))
    for path in ("/", "/vms", "/vms/100", "/vms/200", "/pool/web", "/storage/fast"):
        owner = permissions.of(JOE, NOW).permissions(path)
        token = permissions.of(CI, NOW).permissions(path)
        assert set(token) <= set(owner)
        assert all(owner[name] or not stays for name, stays in token.items())


@given(st.lists(ENTRY, max_size=8))
def test_the_order_of_questions_does_not_change_the_answers(
    entries: list[tuple[str, str, str, bool]],
) -> None:
    given = config(*entries, pools=POOLS)
    paths = ["/", "/vms", "/vms/100", "/vms/200", "/pool/web/test", "/storage/fast"]
    forwards, backwards = Permissions(given).of(JOE, NOW), Permissions(given).of(JOE, NOW)
    one = {path: dict(forwards.permissions(path)) for path in paths}
    other = {path: dict(backwards.permissions(path)) for path in reversed(paths)}
    assert one == other


def test_the_authority_follows_user_cfg_at_once() -> None:
    store = MemoryStore()
    authority = AccessAuthority(store)
    joe = Identity(JOE)
    assert not authority.allowed(joe, "/vms/1", "VM.PowerMgmt")
    asyncio.run(store.write("user.cfg", config(("/vms", JOE, "Start")).render()))
    assert authority.allowed(joe, "/vms/1", "VM.PowerMgmt")
    assert authority.groups(JOE) == {"ops", "dev"} and authority.groups("stranger@pve") is None
    asyncio.run(store.write("user.cfg", config().render()))
    assert not authority.allowed(joe, "/vms/1", "VM.PowerMgmt")


def test_the_authority_gives_a_node_nothing_whatever_it_is_called() -> None:
    authority = AccessAuthority(MemoryStore())
    assert not authority.allowed(Identity("root@pam", node="n2"), "/", "Sys.Audit")
