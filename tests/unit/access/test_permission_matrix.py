"""Every method the known API has too is open to just those whom the known API's schema lets in.

The expressions come from the schema (``schema_permissions.json``: method, path, permissions, whether API
tokens may call it), never from our declarations, and what they mean is worked out here by lines of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvorum.access import AccessAuthority
from kvorum.access.files.user_cfg import Grant, Group, Role, Token, User, UserConfig
from kvorum.core.errors import PermissionDenied
from kvorum.interface import ALLOCATES, Caller, Identity, Match, Method, NodeOnly, Route, Services
from kvorum.interface.decode import Decoder
from kvorum.server import rooms
from kvorum.store.memory import MemoryStore

SCHEMA = {
    (verb, path): (permissions, tokens)
    for verb, path, permissions, tokens in json.loads(
        Path(__file__).with_name("schema_permissions.json").read_text()
    )
}
CALLER = "caller@pve"
OTHER = "other@pve"
GROUP = "staff"
VALUES = {"node": "n1", "vmid": "100", "newid": "200", "userid": OTHER, "path": "/vms/100", "groups": GROUP}
"""Values for what expressions name; everything else is called by its own name."""

METHODS = {(m.verb, m.path): m for m in rooms.methods()}
BOTH = sorted(SCHEMA.keys() & METHODS.keys())


@dataclass(frozen=True)
class Right:
    path: str
    name: str


def fill(template: str) -> str:
    parts = (VALUES.get(p[1:-1], p[1:-1]) if p.startswith("{") else p for p in template.split("/"))
    return "/".join(parts)


def met(check: Any, rights: frozenset[Right]) -> bool:
    """Whether an expression of the schema lets somebody with just these rights in."""
    kind, *rest = check
    if kind == "and":
        return all(met(part, rights) for part in rest)
    if kind == "or":
        return any(met(part, rights) for part in rest)
    if kind == "perm":
        template, privileges, *options = rest
        wanted = [Right(fill(template), name) in rights for name in privileges]
        return any(wanted) if "any" in options else all(wanted)
    if kind == "userid-param":
        realm = OTHER.partition("@")[2]
        return rest[0] != "self" and Right(f"/access/realm/{realm}", rest[0]) in rights
    if kind == "userid-group":
        places = ("/access/groups", f"/access/groups/{GROUP}")
        return any(Right(path, name) in rights for path in places for name in rest[0])
    if kind == "perm-modify":
        path = VALUES["path"]
        names = ("Permissions.Modify", ALLOCATES[path.split("/")[1]])
        return any(Right(path, name) in rights for name in names)
    raise AssertionError(f"the schema has a form this test does not know: {kind}")


def named(check: Any) -> set[Right]:
    """Every single right an expression names, with values filled in."""
    kind, *rest = check
    if kind in ("and", "or"):
        return set().union(*(named(part) for part in rest))
    if kind == "perm":
        return {Right(fill(rest[0]), name) for name in rest[1]}
    if kind == "userid-param":
        return set() if rest[0] == "self" else {Right("/access/realm/pve", rest[0])}
    if kind == "userid-group":
        places = ("/access/groups", f"/access/groups/{GROUP}")
        return {Right(path, name) for path in places for name in rest[0]}
    path = VALUES["path"]
    return {Right(path, "Permissions.Modify"), Right(path, ALLOCATES[path.split("/")[1]])}


def config(rights: frozenset[Right], role: str = "") -> UserConfig:
    """user.cfg that gives the caller just these rights, each on its own path only."""
    by_path: dict[str, set[str]] = {}
    for right in rights:
        by_path.setdefault(right.path, set()).add(right.name)
    roles = {f"r{n}": (path, names) for n, (path, names) in enumerate(sorted(by_path.items()))}
    grants = {Grant(path, CALLER, name, propagate=False) for name, (path, _) in roles.items()}
    if role:
        grants.add(Grant("/", CALLER, role))
    return UserConfig(
        users={"root@pam": User(), CALLER: User(tokens={"tok": Token(privsep=False)}), OTHER: User()},
        groups={GROUP: Group(frozenset({OTHER}))},
        roles={name: Role(frozenset(names)) for name, (_, names) in roles.items()},
        grants=frozenset(grants),
    )


def let_in(method: Method, who: UserConfig, identity: Identity = Identity(CALLER)) -> bool:  # noqa: B008
    """Whether our frame lets the caller through to the method."""
    store = MemoryStore()
    asyncio.run(store.write("user.cfg", who.render()))
    caller = Caller(store, Services(), AccessAuthority(store))
    names = [field.alias or name for name, field in method.parameters.model_fields.items()]
    values = {name: VALUES.get(name, name) for name in names}
    in_path = {name: value for name, value in values.items() if "{" + name + "}" in method.path}
    given = [(name, value) for name, value in values.items() if name not in in_path]
    try:
        caller.authorise(Match(Route(method, Decoder(method.parameters)), in_path), identity, given)
    except PermissionDenied:
        return False
    return True


def cases(check: Any) -> list[frozenset[Right]]:
    """No right, each single one the expression names, each pair, and all of them."""
    single = sorted(named(check), key=lambda right: (right.path, right.name))
    pairs = itertools.combinations(single, 2) if len(single) <= 8 else ()
    return [frozenset(), *(frozenset({r}) for r in single), *map(frozenset, pairs), frozenset(single)]


def identifier(key: tuple[str, str]) -> str:
    return f"{key[0]} {key[1]}"


@pytest.mark.parametrize("key", BOTH, ids=identifier)
def test_a_method_is_open_to_those_the_schema_lets_in(key: tuple[str, str]) -> None:
    permissions, _ = SCHEMA[key]
    method = METHODS[key]
    if permissions is None:  # nobody but root in person, where the schema says nothing
        assert not let_in(method, config(frozenset(), "Administrator"))
        assert let_in(method, config(frozenset()), Identity("root@pam"))
        return
    if "check" not in permissions:
        assert permissions["user"] in ("all", "world")
        assert let_in(method, config(frozenset()))
        return
    for rights in cases(permissions["check"]):
        expected = permissions.get("user") == "all" or met(permissions["check"], rights)
        assert let_in(method, config(rights)) is expected, f"with {sorted(map(str, rights))}"
    assert let_in(method, config(frozenset(), "Administrator"))


@pytest.mark.parametrize("key", BOTH, ids=identifier)
def test_a_token_may_call_what_the_schema_lets_tokens_call(key: tuple[str, str]) -> None:
    permissions, tokens = SCHEMA[key]
    if permissions is None:
        return  # root in person only
    whole = config(frozenset(), "Administrator")
    assert let_in(METHODS[key], whole, Identity(CALLER, token="tok")) is bool(tokens)


def test_the_matrix_covers_this_rooms_core() -> None:
    access = {key for key in BOTH if key[1].startswith(("/access", "/pools"))}
    assert len(access) >= 40


def test_methods_the_schema_does_not_know_lie_under_kvorum() -> None:
    ours = {key for key in METHODS.keys() - SCHEMA.keys() if not key[1].startswith("/kvorum/")}
    assert ours == set()


def test_own_methods_are_open_to_nodes_or_to_whom_they_name() -> None:
    """Each method of ours, by who may call it with no right at all; a new one must be put here on purpose."""
    nobody = config(frozenset())
    open_to_all = {
        key
        for key, method in METHODS.items()
        if key[1].startswith("/kvorum/")
        and not isinstance(method.permission, NodeOnly)
        and let_in(method, nobody)
    }
    assert open_to_all == {
        (
            "GET",
            "/kvorum/cluster/removed",
        ),  # who asks knows a certificate's fingerprint, and is told of it alone
        ("GET", "/kvorum/cluster/clock"),  # the time, which each answer's Date tells too
        ("POST", "/kvorum/cluster/join/admit"),  # these three by a join token
        ("POST", "/kvorum/cluster/join/information"),
        ("POST", "/kvorum/cluster/join/withdraw"),
        ("GET", "/kvorum/nodes/{node}/qemu/{vmid}/spicesocket"),  # by a session's ticket, and its password
    }


def test_changes_are_carried_out_where_they_can_be_written_down() -> None:
    wrong = [identifier(key) for key, m in METHODS.items() if m.verb != "GET" and not m.protected]
    assert wrong == []
