"""What changes of users, groups, roles, rights and pools mean for user.cfg. Pure: a configuration in, a new
one out; each refuses what can't be with a sentence that names the object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from kvorum.access.files.user_cfg import Grant, Group, Pool, Role, Token, User, UserConfig
from kvorum.access.rights.privileges import PRIVILEGES
from kvorum.access.rights.roles import BUILT_IN, all_roles
from kvorum.core.errors import Conflict, KvorumError, ParameterError
from kvorum.interface import ROOT

T = TypeVar("T")


def add_user(config: UserConfig, name: str, user: User, groups: Iterable[str]) -> UserConfig:
    """With a new user, in these groups."""
    if name in config.users:
        raise Conflict(f"user '{name}' already exists")
    return set_groups(replace(config, users={**config.users, name: user}), name, groups)


def update_user(config: UserConfig, name: str, changes: Mapping[str, object]) -> UserConfig:
    """With attributes of a user changed."""
    user = the_user(config, name)
    if name == ROOT and (changes.get("enable") is False or changes.get("expire")):
        raise ParameterError({"enable": f"'{ROOT}' can always log in: it can't be disabled or expire"})
    changed = replace(user, **changes)  # type: ignore[arg-type]  # the names are those of the fields
    return replace(config, users={**config.users, name: changed})


def remove_user(config: UserConfig, name: str) -> UserConfig:
    """Without a user, its tokens, and all that names it."""
    the_user(config, name)
    if name == ROOT:
        raise Conflict(f"'{ROOT}' is always there and can't be removed")
    return replace(
        config,
        users=_without(config.users, name),
        groups={n: replace(g, users=g.users - {name}) for n, g in config.groups.items()},
        grants=frozenset(g for g in config.grants if g.who != name and not g.who.startswith(f"{name}!")),
    )


def set_groups(config: UserConfig, name: str, groups: Iterable[str], *, append: bool = False) -> UserConfig:
    """With a user in these groups, and with ``append`` in those it was in."""
    wanted = frozenset(groups)
    for group in sorted(wanted - config.groups.keys()):
        raise ParameterError({"groups": f"no such group '{group}'"})
    changed = {
        n: replace(g, users=g.users | {name} if n in wanted else g.users if append else g.users - {name})
        for n, g in config.groups.items()
    }
    return replace(config, groups=changed)


def put_token(config: UserConfig, user: str, name: str, token: Token) -> UserConfig:
    """With a token of a user set."""
    owner = the_user(config, user)
    return replace(config, users={**config.users, user: replace(owner, tokens={**owner.tokens, name: token})})


def remove_token(config: UserConfig, user: str, name: str) -> UserConfig:
    """Without a token, and without its rights."""
    the_token(config, user, name)
    owner = the_user(config, user)
    return replace(
        config,
        users={**config.users, user: replace(owner, tokens=_without(owner.tokens, name))},
        grants=frozenset(g for g in config.grants if g.who != f"{user}!{name}"),
    )


def put_group(config: UserConfig, name: str, comment: str | None, *, new: bool) -> UserConfig:
    """With a group made, or its comment set."""
    if new and name in config.groups:
        raise Conflict(f"group '{name}' already exists")
    group = Group() if new else the_group(config, name)
    if comment is not None:
        group = replace(group, comment=comment)
    return replace(config, groups={**config.groups, name: group})


def remove_group(config: UserConfig, name: str) -> UserConfig:
    """Without a group, and without its rights."""
    the_group(config, name)
    return replace(
        config,
        groups=_without(config.groups, name),
        grants=frozenset(g for g in config.grants if g.who != f"@{name}"),
    )


def put_role(
    config: UserConfig, name: str, privileges: Iterable[str], *, new: bool, append: bool = False
) -> UserConfig:
    """With a role made or set anew; with ``append`` what it contains is added to."""
    wanted = frozenset(privileges)
    for privilege in sorted(wanted - PRIVILEGES):
        raise ParameterError({"privs": f"invalid privilege '{privilege}'"})
    if name in BUILT_IN:
        raise Conflict(f"role '{name}' is built in and can't be changed: make one of your own")
    if new and name in config.roles:
        raise Conflict(f"role '{name}' already exists")
    role = Role() if new else config.roles.get(name)
    if role is None:
        raise KvorumError(f"role '{name}' does not exist")
    held = role.privileges | wanted if append else wanted
    return replace(config, roles={**config.roles, name: replace(role, privileges=held)})


def remove_role(config: UserConfig, name: str) -> UserConfig:
    """Without a role; those who had it have it no more."""
    if name in BUILT_IN:
        raise Conflict(f"role '{name}' is built in and can't be removed")
    if name not in config.roles:
        raise KvorumError(f"role '{name}' does not exist")
    grants = frozenset(g for g in config.grants if g.role != name)
    return replace(config, roles=_without(config.roles, name), grants=grants)


def give(
    config: UserConfig, path: str, whos: Iterable[str], roles: Iterable[str], *, propagate: bool
) -> UserConfig:
    """With roles given to users, tokens and ``@groups`` on a path."""
    given = frozenset(Grant(path, who, role, propagate) for who in whos for role in roles)
    known = all_roles(config)
    for grant in sorted(given):
        if grant.role not in known:
            raise ParameterError({"roles": f"role '{grant.role}' does not exist"})
        _require_who(config, grant.who)
    other = frozenset(replace(grant, propagate=not propagate) for grant in given)
    return replace(config, grants=(config.grants - other) | given)


def take(config: UserConfig, path: str, whos: Iterable[str], roles: Iterable[str]) -> UserConfig:
    """Without these roles of these on a path."""
    pairs = frozenset((who, role) for who in whos for role in roles)
    grants = frozenset(g for g in config.grants if g.path != path or (g.who, g.role) not in pairs)
    return replace(config, grants=grants)


def put_pool(config: UserConfig, name: str, comment: str | None, *, new: bool) -> UserConfig:
    """With a pool made, or its comment set."""
    parent = name.rpartition("/")[0]
    if new and name in config.pools:
        raise Conflict(f"pool '{name}' already exists")
    if new and parent and parent not in config.pools:
        raise KvorumError(f"parent pool '{parent}' does not exist")
    pool = Pool() if new else the_pool(config, name)
    if comment is not None:
        pool = replace(pool, comment=comment)
    return replace(config, pools={**config.pools, name: pool})


def add_members(
    config: UserConfig, name: str, vms: Iterable[int], storages: Iterable[str], *, move: bool = False
) -> UserConfig:
    """With guests and storages in a pool; a guest is in one pool only and moves where ``move`` allows it."""
    pool, added = the_pool(config, name), frozenset(vms)
    pools = dict(config.pools)
    for other, held in config.pools.items():
        both = held.vms & added
        if other == name and both:
            raise Conflict(f"VM {min(both)} is already a pool member")
        if both and not move:
            raise Conflict(f"VM {min(both)} belongs already to pool '{other}': allow-move takes it out there")
        pools[other] = replace(held, vms=held.vms - added)
    if twice := sorted(pool.storages & frozenset(storages)):
        raise Conflict(f"storage '{twice[0]}' is already a pool member")
    pools[name] = replace(pool, vms=pool.vms | added, storages=pool.storages | frozenset(storages))
    return replace(config, pools=pools)


def remove_members(config: UserConfig, name: str, vms: Iterable[int], storages: Iterable[str]) -> UserConfig:
    """Without guests and storages in a pool."""
    pool = the_pool(config, name)
    for vmid in sorted(frozenset(vms) - pool.vms):
        raise Conflict(f"VM {vmid} is not a pool member")
    for storage in sorted(frozenset(storages) - pool.storages):
        raise Conflict(f"storage '{storage}' is not a pool member")
    changed = replace(pool, vms=pool.vms - frozenset(vms), storages=pool.storages - frozenset(storages))
    return replace(config, pools={**config.pools, name: changed})


def remove_pool(config: UserConfig, name: str) -> UserConfig:
    """Without a pool, and without the rights on it; it must be empty."""
    pool = the_pool(config, name)
    if pool.vms or pool.storages or any(other.startswith(f"{name}/") for other in config.pools):
        raise Conflict(f"pool '{name}' is not empty: take its members and the pools in it out first")
    grants = frozenset(g for g in config.grants if g.path != f"/pool/{name}")
    return replace(config, pools=_without(config.pools, name), grants=grants)


def the_user(config: UserConfig, name: str) -> User:
    """The user of this name; raises ``KvorumError`` when there is none."""
    return _the(config.users, name, f"no such user ('{name}')")


def the_token(config: UserConfig, user: str, name: str) -> Token:
    """A user's token; raises ``KvorumError`` when there is none."""
    return _the(the_user(config, user).tokens, name, f"no such token '{name}' for user '{user}'")


def the_group(config: UserConfig, name: str) -> Group:
    """The group of this name; raises ``KvorumError`` when there is none."""
    return _the(config.groups, name, f"group '{name}' does not exist")


def the_pool(config: UserConfig, name: str) -> Pool:
    """The pool of this name; raises ``KvorumError`` when there is none."""
    return _the(config.pools, name, f"pool '{name}' does not exist")


def _the(table: Mapping[str, T], name: str, sentence: str) -> T:
    found = table.get(name)
    if found is None:
        raise KvorumError(sentence)
    return found


def _require_who(config: UserConfig, who: str) -> None:
    user, _, token = who.partition("!")
    if who.startswith("@"):
        if who[1:] not in config.groups:
            raise ParameterError({"groups": f"group '{who[1:]}' does not exist"})
    elif token:
        the_token(config, user, token)
    elif user not in config.users:
        raise ParameterError({"users": f"no such user ('{user}')"})


def _without(table: Mapping[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in table.items() if key != name}
