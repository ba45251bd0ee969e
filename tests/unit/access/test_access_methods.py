"""The methods of /access and the changes of /pools, on a store in memory."""

import asyncio
import json
from pathlib import Path

import pyotp
import pytest
from access_world import PASSWORD, World
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from kvorum.access import Credentials
from kvorum.access.second_factor import read_uri
from kvorum.core.errors import AuthenticationError, Conflict, KvorumError, ParameterError, PermissionDenied
from kvorum.interface import Identity
from kvorum.store import Membership
from kvorum.store.memory import MemoryStore

JOE = Identity("joe@pve", address="192.0.2.7")


@pytest.fixture
def world(store: MemoryStore, tmp_path: Path) -> World:
    return World(store, tmp_path / "audit.log")


def text(world: World, path: str) -> str:
    file = world.store.read(path)
    return file.text if file is not None else ""


async def test_a_user_is_made_with_password_and_groups_and_logs_in(world: World) -> None:
    await world.call("POST", "/access/groups", groupid="ops", comment="The ops: all")
    await world.call(
        "POST", "/access/users", userid="ann@pve", password="correct horse", groups="ops", email="a@b.org"
    )
    assert "correct horse" not in text(world, "priv/shadow.cfg")
    assert "$argon2id$" in text(world, "priv/shadow.cfg")
    answer = await world.login("ann@pve", "correct horse")
    assert world.authentication.ticket_user(str(answer["ticket"])) == "ann@pve"
    assert set(answer) >= {"username", "ticket", "CSRFPreventionToken", "cap"}
    with pytest.raises(AuthenticationError, match="authentication failure"):
        await world.login("ann@pve", "wrong horse")
    rows = await world.call("GET", "/access/users", full=1)
    assert {"userid": "ann@pve", "groups": "ops", "tokens": [], "email": "a@b.org"}.items() <= next(
        row.items()
        for row in rows
        if row["userid"] == "ann@pve"  # type: ignore[attr-defined, union-attr]
    )
    assert await world.call("GET", "/access/groups/ops") == {
        "members": ["ann@pve"],
        "comment": "The ops: all",
    }


async def test_a_ticket_renews_itself_and_not_another_users(world: World) -> None:
    first = await world.login("root@pam", PASSWORD)
    world.clock.now += 7000
    second = await world.login("root@pam", str(first["ticket"]))
    world.clock.now += 7000
    assert world.authentication.ticket_user(str(second["ticket"])) == "root@pam"
    assert world.authentication.ticket_user(str(first["ticket"])) is None
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", str(second["ticket"]))


async def test_roots_session_is_renewed_over_a_join_and_nobody_elses_is(world: World) -> None:
    """The node's store becomes the cluster's, with its keys and its users."""
    await world.call("PUT", "/access/password", userid="joe@pve", password="correct horse")
    root = str((await world.login("root@pam", PASSWORD))["ticket"])
    joe = str((await world.login("joe@pve", "correct horse"))["ticket"])
    world.authentication.bequeath()
    new = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    private = new.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = new.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    await world.store.write("priv/authkey.key", private)
    await world.store.write("authkey.pub", public)
    assert world.authentication.ticket_user(root) is None, "it opens nothing, it is only renewed"
    renewed = await world.login("root@pam", root)
    assert world.authentication.ticket_user(str(renewed["ticket"])) == "root@pam"
    for user, ticket in (("joe@pve", joe), ("joe@pve", root), ("root@pam", joe), ("root@pam", root + "x")):
        with pytest.raises(AuthenticationError):
            await world.login(user, ticket)
    world.clock.now += 901
    with pytest.raises(AuthenticationError):
        await world.login("root@pam", root)


@pytest.mark.parametrize("change", [{"enable": 0}, {"expire": 1_700_000_000}])
async def test_a_disabled_or_expired_user_is_refused_at_once(world: World, change: dict[str, int]) -> None:
    ticket, _ = world.authentication.issue("joe@pve")
    await world.call("PUT", "/access/password", userid="joe@pve", password="correct horse")
    token = await world.call("POST", "/access/users/joe@pve/token/ci", privsep=0)
    sent = f"joe@pve!ci={token['value']}"  # type: ignore[index]
    assert world.authentication.identify(Credentials(token=sent), changes=True) == Identity("joe@pve", "ci")
    await world.call("PUT", "/access/users/joe@pve", **change)
    for credentials in (Credentials(ticket=ticket), Credentials(token=sent)):
        with pytest.raises(AuthenticationError):
            world.authentication.identify(credentials, changes=False)
    with pytest.raises(AuthenticationError, match="authentication failure"):
        await world.login("joe@pve", "correct horse")


async def test_root_can_always_log_in(world: World) -> None:
    with pytest.raises(ParameterError) as caught:
        await world.call("PUT", "/access/users/root@pam", enable=0)
    assert "can't be disabled" in str(caught.value)
    with pytest.raises(Conflict):
        await world.call("DELETE", "/access/users/root@pam")
    await world.call("PUT", "/access/users/root@pam", email="root@example.org")


async def test_a_removed_user_leaves_nothing_behind(world: World) -> None:
    await world.call("POST", "/access/groups", groupid="ops")
    await world.call("POST", "/access/users", userid="ann@pve", password="correct horse", groups="ops")
    await world.call("POST", "/access/users/ann@pve/token/ci")
    await world.call("PUT", "/access/acl", path="/", roles="PVEAuditor", users="ann@pve", tokens="ann@pve!ci")
    await world.call("POST", "/access/tfa/ann@pve", type="recovery")
    ticket, _ = world.authentication.issue("ann@pve")
    await world.call("DELETE", "/access/users/ann@pve")
    for path in ("user.cfg", "priv/shadow.cfg", "priv/token.cfg", "priv/tfa.cfg"):
        assert "ann" not in text(world, path), path
    assert world.authentication.ticket_user(ticket) is None


async def test_a_tokens_value_is_shown_once_and_kept_as_a_hash(world: World) -> None:
    made = await world.call("POST", "/access/users/joe@pve/token/ci", comment="for ci", expire=1_900_000_000)
    assert isinstance(made, dict)
    assert made["full-tokenid"] == "joe@pve!ci"
    assert made["info"] == {"comment": "for ci", "expire": 1_900_000_000, "privsep": 1}
    everything = "".join(text(world, path) for path in ("user.cfg", "priv/token.cfg"))
    assert made["value"] not in everything
    with pytest.raises(Conflict):
        await world.call("POST", "/access/users/joe@pve/token/ci")
    changed = await world.call("PUT", "/access/users/joe@pve/token/ci", privsep=0, delete="comment,expire")
    assert changed == {"expire": 0, "privsep": 0}
    with pytest.raises(AuthenticationError, match="or its value is wrong"):
        world.authentication.identify(Credentials(token="joe@pve!ci=guess"), changes=False)
    await world.call("DELETE", "/access/users/joe@pve/token/ci")
    with pytest.raises(AuthenticationError):
        world.authentication.identify(Credentials(token=f"joe@pve!ci={made['value']}"), changes=False)


async def test_a_user_looks_after_its_own_tokens_and_nobody_elses(world: World) -> None:
    await world.call("POST", "/access/users", userid="ann@pve")
    await world.call("POST", "/access/users/joe@pve/token/mine", JOE)
    assert [row["tokenid"] for row in await world.call("GET", "/access/users/joe@pve/token", JOE)] == ["mine"]  # type: ignore[attr-defined]
    for path in ("/access/users/ann@pve/token/hers", "/access/users/root@pam/token/hers"):
        with pytest.raises(PermissionDenied):
            await world.call("POST", path, JOE)
    with pytest.raises(PermissionDenied):
        await world.call("GET", "/access/users/joe@pve/token", Identity("joe@pve", token="mine"))


@pytest.mark.parametrize(
    ("verb", "path", "parameters"),
    [
        ("POST", "/access/users/root@pam/token/mine", {"privsep": 0}),
        ("PUT", "/access/users/root@pam/token/old", {"privsep": 0}),
        ("DELETE", "/access/users/root@pam/token/old", {}),
        ("PUT", "/access/users/root@pam", {"keys": "abc"}),
        ("PUT", "/access/users/root@pam/unlock-tfa", {}),
        ("POST", "/access/tfa/root@pam", {"type": "recovery", "password": "correct horse"}),
        ("DELETE", "/access/tfa/root@pam/recovery", {"password": "correct horse"}),
        ("PUT", "/access/password", {"userid": "root@pam", "password": "battery staple"}),
    ],
)
async def test_who_looks_after_all_users_does_not_become_root_by_that(
    world: World, verb: str, path: str, parameters: dict[str, object]
) -> None:
    await world.call("PUT", "/access/password", userid="joe@pve", password="correct horse")
    await world.call("PUT", "/access/acl", path="/", roles="Administrator", users="joe@pve")
    await world.call("POST", "/access/users/root@pam/token/old")
    before = {name: text(world, name) for name in ("user.cfg", "priv/token.cfg", "priv/tfa.cfg")}
    with pytest.raises(PermissionDenied, match="only root@pam in person"):
        await world.call(verb, path, JOE, **parameters)
    assert {name: text(world, name) for name in before} == before


async def test_lists_show_only_what_the_caller_may_see(world: World) -> None:
    for group in ("ops", "dev"):
        await world.call("POST", "/access/groups", groupid=group)
    await world.call("POST", "/access/users", userid="ann@pve", groups="ops")
    await world.call("POST", "/access/users", userid="bob@pve", groups="dev")
    users = lambda rows: {row["userid"] for row in rows}  # noqa: E731
    assert users(await world.call("GET", "/access/users", JOE)) == {"joe@pve"}
    assert await world.call("GET", "/access/groups", JOE) == []
    assert await world.call("GET", "/access/acl", JOE) == []
    await world.call("PUT", "/access/acl", path="/access/groups/ops", roles="PVEUserAdmin", users="joe@pve")
    assert users(await world.call("GET", "/access/users", JOE)) == {"joe@pve", "ann@pve"}
    assert [row["groupid"] for row in await world.call("GET", "/access/groups", JOE)] == ["ops"]  # type: ignore[attr-defined]


async def test_who_looks_after_one_group_makes_users_in_it_and_in_no_other(world: World) -> None:
    """The admin guide's example of delegated user management."""
    for group in ("customers", "admins"):
        await world.call("POST", "/access/groups", groupid=group)
    for path in ("/access/realm/pve", "/access/groups/customers"):
        await world.call("PUT", "/access/acl", path=path, roles="PVEUserAdmin", users="joe@pve")
    await world.call("POST", "/access/users", JOE, userid="c1@pve", groups="customers")
    for wrong in ({"groups": "customers,admins"}, {"groups": "admins"}, {"groups": "a/b"}, {}):
        with pytest.raises(PermissionDenied):
            await world.call("POST", "/access/users", JOE, userid="c2@pve", **wrong)
    with pytest.raises(PermissionDenied):
        await world.call("POST", "/access/users", JOE, userid="c2@pam", groups="customers")
    await world.call("PUT", "/access/users/c1@pve", JOE, comment="fine")
    for path, changes in (("c1@pve", {"groups": "admins"}), ("joe@pve", {"comment": "x"}), ("no@pve", {})):
        with pytest.raises(PermissionDenied):
            await world.call("PUT", f"/access/users/{path}", JOE, **changes)


async def test_groups_given_twice_are_refused_instead_of_half_checked(world: World) -> None:
    for group in ("customers", "admins"):
        await world.call("POST", "/access/groups", groupid=group)
    for path in ("/access/realm/pve", "/access/groups/customers"):
        await world.call("PUT", "/access/acl", path=path, roles="PVEUserAdmin", users="joe@pve")
    match = world.router.match("POST", "/access/users")
    given = [("userid", "c1@pve"), ("groups", "admins"), ("groups", "customers")]
    world.caller.authorise(match, JOE, given)  # the last one counts there
    with pytest.raises(ParameterError):
        await world.caller.call(match, JOE, given)


async def test_who_allocates_passes_on_no_more_than_it_has(world: World) -> None:
    await world.call("POST", "/access/users", userid="ann@pve")
    await world.call("PUT", "/access/acl", path="/vms/100", roles="PVEVMAdmin", users="joe@pve")
    await world.call("PUT", "/access/acl", JOE, path="/vms/100", roles="PVEVMUser", users="ann@pve")
    for role in ("Administrator", "PVEVMUser,PVEAdmin", "NoAccess"):
        with pytest.raises(PermissionDenied, match="more than you have"):
            await world.call("PUT", "/access/acl", JOE, path="/vms/100", roles=role, users="ann@pve")
    for path in ("/vms", "/", "/vms/101", "", "/storage/local"):
        with pytest.raises(PermissionDenied):
            await world.call("PUT", "/access/acl", JOE, path=path, roles="PVEVMUser", users="ann@pve")
    await world.call("PUT", "/access/acl", JOE, path="/vms/100", roles="PVEVMUser", users="ann@pve", delete=1)
    assert not world.authority.allowed(Identity("ann@pve"), "/vms/100", "VM.Audit")


async def test_wrong_entries_of_the_list_are_refused_by_name(world: World) -> None:
    for wrong, parameter in (
        ({"path": "/elsewhere", "roles": "PVEAuditor", "users": "joe@pve"}, "path"),
        ({"path": "/", "roles": "Nothing", "users": "joe@pve"}, "roles"),
        ({"path": "/", "roles": "PVEAuditor", "users": "no@pve"}, "users"),
        ({"path": "/", "roles": "PVEAuditor", "groups": "none"}, "groups"),
        ({"path": "/", "roles": "PVEAuditor", "tokens": "joe@pve"}, "tokens"),
        ({"path": "/", "roles": "PVEAuditor"}, "users"),
    ):
        with pytest.raises(ParameterError) as caught:
            await world.call("PUT", "/access/acl", **wrong)
        assert list(caught.value.errors) == [parameter]


async def test_roles_can_be_made_changed_and_removed_but_built_in_ones(world: World) -> None:
    await world.call("POST", "/access/roles", roleid="Starter", privs="VM.PowerMgmt, VM.Audit")
    await world.call("PUT", "/access/roles/Starter", privs="VM.Console", append=1)
    held = await world.call("GET", "/access/roles/Starter")
    assert held == {"VM.Audit": 1, "VM.Console": 1, "VM.PowerMgmt": 1}
    with pytest.raises(ParameterError) as caught:
        await world.call("PUT", "/access/roles/Starter", privs="VM.Fly")
    assert caught.value.errors == {"privs": "invalid privilege 'VM.Fly'"}
    await world.call("PUT", "/access/acl", path="/vms", roles="Starter", users="joe@pve")
    await world.call("DELETE", "/access/roles/Starter")
    assert "Starter" not in text(world, "user.cfg")
    for verb in ("PUT", "DELETE"):
        with pytest.raises(Conflict, match="built in"):
            await world.call(verb, "/access/roles/PVEAdmin")
    rows = {row["roleid"]: row for row in await world.call("GET", "/access/roles")}  # type: ignore[attr-defined]
    assert rows["NoAccess"] == {"roleid": "NoAccess", "privs": "", "special": 1}


async def test_pools_take_members_give_rights_and_must_be_empty_to_go(world: World) -> None:
    await world.call("POST", "/pools", poolid="dev", comment="Development")
    await world.call("POST", "/pools", poolid="dev/test")
    with pytest.raises(KvorumError, match="parent pool 'x' does not exist"):
        await world.call("POST", "/pools", poolid="x/y")
    await world.call("PUT", "/pools", poolid="dev/test", vms="100,101", storage="local")
    await world.call("PUT", "/access/acl", path="/pool/dev", roles="PVEVMUser", users="joe@pve")
    assert world.authority.allowed(JOE, "/vms/100", "VM.PowerMgmt")
    with pytest.raises(Conflict, match="allow-move"):
        await world.call("PUT", "/pools/dev", vms=100)
    await world.call("PUT", "/pools/dev", vms=100, allow__move=1)
    with pytest.raises(Conflict, match="not empty"):
        await world.call("DELETE", "/pools", poolid="dev")
    await world.call("PUT", "/pools", poolid="dev/test", vms=101, storage="local", delete=1)
    assert not world.authority.allowed(JOE, "/vms/101", "VM.PowerMgmt")
    await world.call("DELETE", "/pools", poolid="dev/test")
    await world.call("PUT", "/pools/dev", vms=100, delete=1)
    await world.call("DELETE", "/pools/dev")
    assert "pool:" not in text(world, "user.cfg") and "/pool/" not in text(world, "user.cfg")


async def test_nobody_gets_rights_on_a_guest_by_putting_it_into_an_own_pool(world: World) -> None:
    await world.call("POST", "/pools", poolid="mine")
    await world.call("PUT", "/access/acl", path="/pool/mine", roles="PVEAdmin", users="joe@pve")
    with pytest.raises(PermissionDenied, match="/vms/100"):
        await world.call("PUT", "/pools", JOE, poolid="mine", vms=100)
    with pytest.raises(PermissionDenied, match="/storage/local"):
        await world.call("PUT", "/pools", JOE, poolid="mine", storage="local")


async def test_permissions_are_told_with_their_propagation(world: World) -> None:
    await world.call(
        "PUT", "/access/acl", path="/vms/100", roles="PVETemplateUser", users="joe@pve", propagate=0
    )
    await world.call("PUT", "/access/acl", path="/storage", roles="PVEDatastoreUser", users="joe@pve")
    assert await world.call("GET", "/access/permissions", JOE) == {
        "/storage": {"Datastore.AllocateSpace": 1, "Datastore.Audit": 1},
        "/vms/100": {"VM.Audit": 0, "VM.Clone": 0},
    }
    assert await world.call("GET", "/access/permissions", JOE, path="/vms/101") == {"/vms/101": {}}
    with pytest.raises(PermissionDenied):
        await world.call("GET", "/access/permissions", JOE, userid="root@pam")
    told = await world.call("GET", "/access/permissions", userid="joe@pve", path="/vms/100")
    assert told == {"/vms/100": {"VM.Audit": 0, "VM.Clone": 0}}


async def test_a_realm_is_described_and_a_late_change_of_it_refused(world: World) -> None:
    await world.call("PUT", "/access/domains/pve", comment="Ours", default=1)
    rows = {row["realm"]: row for row in await world.call("GET", "/access/domains", None)}  # type: ignore[attr-defined]
    assert rows["pve"] == {"realm": "pve", "type": "pve", "comment": "Ours", "default": 1}
    seen = await world.call("GET", "/access/domains/pve")
    assert isinstance(seen, dict)
    await world.call("PUT", "/access/domains/pve", comment="Theirs", digest=seen["digest"])
    with pytest.raises(Conflict, match="detected modified configuration"):
        await world.call("PUT", "/access/domains/pve", comment="Mine", digest=seen["digest"])
    for kind in ("ldap", "pam"):
        with pytest.raises(ParameterError):
            await world.call("POST", "/access/domains", realm="office", type=kind)


async def test_a_user_changes_its_password_by_showing_the_old_one(world: World) -> None:
    await world.call("PUT", "/access/password", userid="joe@pve", password="correct horse")
    change = {"userid": "joe@pve", "password": "battery staple"}
    with pytest.raises(ParameterError):
        await world.call("PUT", "/access/password", JOE, **change)
    with pytest.raises(AuthenticationError):
        await world.call("PUT", "/access/password", JOE, **change, confirmation__password="wrong horse")
    await world.call("PUT", "/access/password", JOE, **change, confirmation__password="correct horse")
    await world.login("joe@pve", "battery staple")
    with pytest.raises(PermissionDenied):
        await world.call("PUT", "/access/password", JOE, userid="root@pam", password="battery staple")


async def generator(world: World, user: str = "joe@pve") -> pyotp.TOTP:
    """Give a user a generator of one-time passwords."""
    totp = pyotp.TOTP(pyotp.random_base32(), name=user, issuer="test")
    now = pyotp.TOTP(totp.secret)
    await world.call(
        "POST",
        f"/access/tfa/{user}",
        type="totp",
        totp=totp.provisioning_uri(),
        value=now.now(),
        description="phone",
    )
    return totp


@pytest.fixture
async def totp(world: World) -> pyotp.TOTP:
    import time

    await world.call("PUT", "/access/password", userid="joe@pve", password="correct horse")
    made = await generator(world)
    world.clock.now = time.time() + 120  # later than the password shown when it was added
    return made


async def test_a_second_factor_is_asked_for_as_clients_know_it(world: World, totp: pyotp.TOTP) -> None:
    first = await world.login("joe@pve", "correct horse")
    assert first["NeedTFA"] == 1 and "cap" not in first
    challenge = str(first["ticket"])
    assert challenge.startswith("PVE:!tfa!%7B%22totp%22%3Atrue")
    with pytest.raises(AuthenticationError):
        world.authentication.identify(Credentials(ticket=challenge), changes=False)
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", challenge)
    code = totp.at(int(world.clock.now))
    for user, answer in (("joe@pve", "totp:000000"), ("joe@pve", code), ("root@pam", f"totp:{code}")):
        with pytest.raises(AuthenticationError, match="authentication failure"):
            await world.login(user, answer, tfa__challenge=challenge)
    done = await world.login("joe@pve", f"totp:{code}", tfa__challenge=challenge)
    assert world.authentication.ticket_user(str(done["ticket"])) == "joe@pve"
    assert "NeedTFA" not in done


async def test_a_one_time_password_counts_once_also_on_another_node(world: World, totp: pyotp.TOTP) -> None:
    other = World(world.store)
    other.clock.now = world.clock.now
    code = totp.at(int(world.clock.now))
    await world.login("joe@pve", "correct horse", otp=code)
    for node in (world, other):
        with pytest.raises(AuthenticationError):
            await node.login("joe@pve", "correct horse", otp=code)
    world.clock.now += 30
    await world.login("joe@pve", "correct horse", otp=totp.at(int(world.clock.now)))


async def test_a_challenge_ends_after_five_minutes(world: World, totp: pyotp.TOTP) -> None:
    first = await world.login("joe@pve", "correct horse")
    world.clock.now += 301
    code = totp.at(int(world.clock.now))
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", f"totp:{code}", tfa__challenge=first["ticket"])


async def test_without_quorum_a_one_time_password_still_opens_and_counts_once(
    world: World, totp: pyotp.TOTP
) -> None:
    world.store.set_membership(Membership("c", (), False, 2, "no quorum"))
    code = totp.at(int(world.clock.now))
    await world.login("joe@pve", "correct horse", otp=code)
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", "correct horse", otp=code)


async def test_eight_wrong_one_time_passwords_lock_until_unlocked_or_a_recovery_key_is_shown(
    world: World, totp: pyotp.TOTP
) -> None:
    made = await world.call("POST", "/access/tfa/joe@pve", type="recovery")
    keys = made["recovery"]  # type: ignore[index]
    assert len(keys) == 10 and not any(key in text(world, "priv/tfa.cfg") for key in keys)
    for _ in range(8):
        with pytest.raises(AuthenticationError):
            await world.login("joe@pve", "correct horse", otp="000000")
    code = totp.at(int(world.clock.now))
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", "correct horse", otp=code)
    first = await world.login("joe@pve", "correct horse")
    done = await world.login("joe@pve", f"recovery:{keys[3]}", tfa__challenge=first["ticket"])
    assert world.authentication.ticket_user(str(done["ticket"])) == "joe@pve"
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", f"recovery:{keys[3]}", tfa__challenge=first["ticket"])
    await world.login("joe@pve", "correct horse", otp=code)
    assert await world.call("PUT", "/access/users/joe@pve/unlock-tfa") == 0


async def test_factors_are_listed_without_their_secret_changed_and_removed(
    world: World, totp: pyotp.TOTP
) -> None:
    rows = await world.call("GET", "/access/tfa/joe@pve", JOE)
    assert isinstance(rows, list)
    assert rows[0]["type"] == "totp" and rows[0]["description"] == "phone"
    assert totp.secret not in json.dumps([rows, await world.call("GET", "/access/tfa", JOE)])
    factor = rows[0]["id"]
    with pytest.raises(ParameterError):
        await world.call("DELETE", f"/access/tfa/joe@pve/{factor}", JOE)
    await world.call("PUT", f"/access/tfa/joe@pve/{factor}", JOE, enable=0, password="correct horse")
    assert "NeedTFA" not in await world.login("joe@pve", "correct horse")
    await world.call("DELETE", f"/access/tfa/joe@pve/{factor}", JOE, password="correct horse")
    assert await world.call("GET", "/access/tfa/joe@pve", JOE) == []


@pytest.mark.parametrize(
    ("uri", "value", "parameter"),
    [
        ("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "000000", "value"),
        ("otpauth://totp/x?secret=GEZDGNBV", "000000", "totp"),
        ("otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "000000", "totp"),
        ("https://example.org/", "000000", "totp"),
        ("otpauth://totp/x?secret=!!!&period=0", "000000", "totp"),
    ],
)
async def test_a_generator_is_added_only_when_it_is_shown_to_work(
    world: World, uri: str, value: str, parameter: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        await world.call("POST", "/access/tfa/joe@pve", type="totp", totp=uri, value=value)
    assert list(caught.value.errors) == [parameter]


async def test_a_consoles_ticket_counts_for_its_user_and_object_only(world: World) -> None:
    await world.call("PUT", "/access/acl", path="/vms/100", roles="PVEVMUser", users="joe@pve")
    ticket = world.authentication.console_ticket("joe@pve", "/vms/100")
    asked = {"authid": "joe@pve", "path": "/vms/100", "privs": "VM.Console", "vncticket": ticket}
    await world.call("POST", "/access/vncticket", None, **asked)
    for wrong in ({"path": "/vms/101"}, {"authid": "root@pam"}, {"vncticket": "PVEVNC:x"}):
        with pytest.raises(AuthenticationError):
            await world.call("POST", "/access/vncticket", None, **(asked | wrong))
    with pytest.raises(PermissionDenied):
        await world.call("POST", "/access/vncticket", None, **(asked | {"privs": "VM.Allocate"}))
    world.clock.now += 41
    with pytest.raises(AuthenticationError):
        await world.call("POST", "/access/vncticket", None, **asked)


async def test_two_changes_at_once_are_both_kept(world: World) -> None:
    names = [f"u{n}@pve" for n in range(6)]
    await asyncio.gather(*(world.call("POST", "/access/users", userid=name) for name in names))
    assert set(names) <= world.authority.config.users.keys()


async def test_every_change_is_in_the_audit_log_and_no_secret(world: World, tmp_path: Path) -> None:
    secrets = ["correct horse", "wrong horse", "short"]
    await world.call("PUT", "/access/password", userid="joe@pve", password=secrets[0])
    with pytest.raises(AuthenticationError):
        await world.login("joe@pve", secrets[1])
    with pytest.raises(ParameterError):
        await world.call("PUT", "/access/password", userid="joe@pve", password=secrets[2])
    with pytest.raises(PermissionDenied):
        await world.call("PUT", "/access/acl", JOE, path="/", roles="Administrator", users="joe@pve")
    made = await world.call("POST", "/access/users/joe@pve/token/ci")
    totp = await generator(world)
    await world.call("GET", "/access/users")
    written = (tmp_path / "audit.log").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(line["user"], line["method"], line["path"], line["status"]) for line in lines] == [
        ("root@pam", "PUT", "/access/password", 200),
        ("nobody@none", "POST", "/access/ticket", 401),
        ("root@pam", "PUT", "/access/password", 400),
        ("joe@pve", "PUT", "/access/acl", 403),
        ("root@pam", "POST", "/access/users/joe@pve/token/ci", 200),
        ("root@pam", "POST", "/access/tfa/joe@pve", 200),
    ]
    assert lines[0]["address"] == "192.0.2.1"
    assert lines[0]["parameters"] == {"userid": "joe@pve", "password": None}
    assert lines[1]["parameters"] == {"username": "joe@pve", "password": None}
    for secret in (*secrets, totp.secret, made["value"]):  # type: ignore[index]
        assert secret not in written


@given(st.text(max_size=80), st.sampled_from(["", "otpauth://totp/", "otpauth://totp/x?secret=AAAA&"]))
def test_any_text_is_a_generator_or_none(text: str, prefix: str) -> None:
    found = read_uri(prefix + text)
    assert found is None or found.interval >= 10
