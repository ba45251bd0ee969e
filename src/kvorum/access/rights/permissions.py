"""What a user or token may do on a path, as user.cfg says. Pure, and fast by remembering.

The rules (the admin guide's chapter on user management):

- What stands nearest to the object counts: entries at ``/vms/100`` replace those inherited from ``/vms``.
  An entry without propagation counts at its own path only.
- On one path a user's own entries replace those of its groups; those of several groups add up.
- ``NoAccess`` cancels all other roles on its path.
- A pool's rights are its members' too, beside those the member has itself; a pool lies under the one its name
  begins with. Where the member itself is under ``NoAccess``, the pool does not help.
- A token with privilege separation has what its own entries grant, and of that only what its user has; one
  without has all that its user has.
- ``root@pam`` has everything. Who is disabled, expired or unknown has nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kvorum.access.files.user_cfg import Grant, Token, User, UserConfig
from kvorum.access.rights.privileges import PRIVILEGES
from kvorum.access.rights.roles import NO_ACCESS, all_roles
from kvorum.interface import ROOT

Privileges = Mapping[str, bool]
"""The privileges on a path; true where what grants it propagates to what lies below."""

NOTHING: Privileges = MappingProxyType({})
EVERYTHING: Privileges = MappingProxyType(dict.fromkeys(sorted(PRIVILEGES), True))

_REMEMBERED_PATHS = 50_000
_REMEMBERED_PRINCIPALS = 1_000


class Permissions:
    """Evaluates one version of user.cfg."""

    def __init__(self, config: UserConfig) -> None:
        self.config = config
        self._roles = all_roles(config)
        self._pools = _pools_by_member(config)
        self._principals: dict[str, Principal] = {}

    def of(self, name: str, now: float) -> Principal:
        """What ``user@realm`` or ``user@realm!token`` has at ``now`` (Unix seconds)."""
        if not active(self.config, name, now):
            return Principal()
        known = self._principals.get(name)
        if known is None:
            if len(self._principals) >= _REMEMBERED_PRINCIPALS:
                self._principals.clear()
            known = self._principals[name] = self._principal(name)
        return known

    def _principal(self, name: str) -> Principal:
        user, _, token = name.partition("!")
        if user == ROOT:
            owner = Principal(everything=True)
        else:
            mine = frozenset({user})
            groups = frozenset(f"@{group}" for group in self.config.groups_of(user))
            owner = self._granted(mine, groups)
        if not token or not self.config.users[user].tokens[token].privsep:
            return owner
        own = self._granted(frozenset({name}), frozenset())
        own.limit = owner
        return own

    def _granted(self, mine: frozenset[str], groups: frozenset[str]) -> Principal:
        levels: dict[str, _Level] = {}
        for grant in self.config.grants:
            if grant.who in mine or grant.who in groups:
                level = levels.setdefault(grant.path, _Level())
                (level.own if grant.who in mine else level.groups).append(grant)
        return Principal(levels, self._roles, self._pools)


@dataclass(slots=True)
class _Level:
    """What is granted at one path itself."""

    own: list[Grant] = field(default_factory=list)
    groups: list[Grant] = field(default_factory=list)

    def counting(self, *, inherited: bool) -> list[Grant]:
        for grants in (self.own, self.groups):
            if found := [grant for grant in grants if grant.propagate or not inherited]:
                return found
        return []


@dataclass(slots=True)
class _Found:
    """What holds at a path, before pools and before a token's limits."""

    privileges: Privileges = field(default_factory=lambda: NOTHING)
    cancelled: bool = False
    """By ``NoAccess``."""


class Principal:
    """One user or token, and what it has where. Without arguments it has nothing."""

    def __init__(
        self,
        levels: Mapping[str, _Level] | None = None,
        roles: Mapping[str, frozenset[str]] | None = None,
        pools: Mapping[str, frozenset[str]] | None = None,
        *,
        everything: bool = False,
    ) -> None:
        self._levels = levels or {}
        self._roles = roles or {}
        self._pools = pools or {}
        self._everything = everything
        self.limit: Principal | None = None
        """The user whose token this is, where it is separated from it."""
        self._inherited: dict[str, _Found] = {}
        self._known: dict[str, Privileges] = {}

    def permissions(self, path: str) -> Privileges:
        """The privileges on a normalised path such as ``/vms/100``."""
        if self._everything:
            return EVERYTHING
        if not self._levels:
            return NOTHING
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= _REMEMBERED_PATHS:
                self._known.clear()
                self._inherited.clear()
            known = self._known[path] = self._limited(path)
        return known

    def named_paths(self) -> frozenset[str]:
        """The paths at which something is said about this one, itself or by a pool it may use."""
        members = {
            member
            for member, pools in self._pools.items()
            if any(self._at(f"/pool/{p}").privileges for p in pools)
        }
        mine = frozenset(self._levels) | members
        return mine | self.limit.named_paths() if self.limit is not None else mine

    def _limited(self, path: str) -> Privileges:
        found = self._with_pools(path)
        if self.limit is None:
            return found
        owner = self.limit.permissions(path)
        return {name: stays and owner[name] for name, stays in found.items() if name in owner}

    def _with_pools(self, path: str) -> Privileges:
        found = self._at(path)
        pools = self._pools.get(path)
        if not pools or found.cancelled:
            return found.privileges
        merged = dict(found.privileges)
        for pool in pools:
            for name, stays in self._at(f"/pool/{pool}").privileges.items():
                merged[name] = merged.get(name, False) or stays
        return merged

    def _at(self, path: str) -> _Found:
        level = self._levels.get(path)
        if level is not None and (grants := level.counting(inherited=False)):
            return self._sum(grants)
        return self._from_above(_parent(path)) if path != "/" else _Found()

    def _from_above(self, path: str) -> _Found:
        """What propagates from ``path`` to what lies below it."""
        known = self._inherited.get(path)
        if known is None:
            level = self._levels.get(path)
            grants = level.counting(inherited=True) if level is not None else []
            if grants:
                known = self._sum(grants)
            elif path == "/":
                known = _Found()
            else:
                known = self._from_above(_parent(path))
            self._inherited[path] = known
        return known

    def _sum(self, grants: Iterable[Grant]) -> _Found:
        privileges: dict[str, bool] = {}
        for grant in grants:
            if grant.role == NO_ACCESS:
                return _Found(cancelled=True)
            for name in self._roles.get(grant.role, ()):
                privileges[name] = privileges.get(name, False) or grant.propagate
        return _Found(privileges)


def active(config: UserConfig, name: str, now: float) -> bool:
    """Whether a user or token is there, switched on and not expired at ``now`` (Unix seconds)."""
    user, mark, token = name.partition("!")
    found = config.users.get(user)
    if found is None or not (user == ROOT or (_alive(found, now) and found.enable)):
        return False
    if not mark:
        return True
    held = found.tokens.get(token)
    return held is not None and _alive(held, now)


def _alive(holder: User | Token, now: float) -> bool:
    return not holder.expire or holder.expire > now


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _pools_by_member(config: UserConfig) -> Mapping[str, frozenset[str]]:
    """The pools of each guest and storage, by the object's path."""
    pools: dict[str, frozenset[str]] = {}
    for name, pool in config.pools.items():
        paths = [f"/vms/{vmid}" for vmid in pool.vms] + [f"/storage/{storage}" for storage in pool.storages]
        for path in paths:
            pools[path] = pools.get(path, frozenset()) | {name}
    return pools
