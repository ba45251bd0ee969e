"""Whether a caller meets a method's requirement. What is not granted is denied."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kvorum.core.errors import AuthenticationError, PermissionDenied
from kvorum.interface.declare import (
    AllOf,
    AnyOf,
    Anyone,
    Authority,
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
)
from kvorum.interface.formats import split_list

ROOT = "root@pam"

_VARIABLE = re.compile(r"\{([^}]+)\}")
_POOLS = frozenset({"pool", "poolid"})
"""Variables whose values may hold slashes: pools lie in pools."""

ALLOCATES: Mapping[str, str] = {
    "storage": "Datastore.Allocate",
    "vms": "VM.Allocate",
    "pool": "Pool.Allocate",
}
"""The first part of a path, and the privilege with which rights on what lies below can be passed on."""


def authorise(
    requirement: Requirement, identity: Identity | None, authority: Authority, values: Mapping[str, str]
) -> None:
    """Return when the caller meets the requirement; ``values`` fill the variables of its paths.

    Raises ``AuthenticationError`` when nobody is logged in and ``PermissionDenied`` with what is lacking.
    """
    if isinstance(requirement, Anyone):
        return
    if identity is None:
        raise AuthenticationError("No ticket")
    lacking = _lacking(requirement, identity, authority, values)
    if lacking is not None:
        raise PermissionDenied(f"Permission check failed ({lacking})")


def _lacking(
    requirement: Requirement, identity: Identity, authority: Authority, values: Mapping[str, str]
) -> str | None:
    """What the caller lacks, or ``None``."""
    match requirement:
        case Anyone():
            return None
        case NodeOnly():
            return None if identity.node is not None else "only other nodes of the cluster may call this"
        case LoggedIn():
            return None if identity.node is None else "a node's ticket is no user's login"
        case RootOnly():
            in_person = identity.user == ROOT and identity.token is None and identity.node is None
            return None if in_person else f"user != {ROOT}"
        case Privilege():
            return _lacking_privilege(requirement, identity, authority, values)
        case OwnUser() | RealmPrivilege() | UserPrivilege() | RightsOn() if identity.node is not None:
            return "a node's ticket is no user's login"
        case OwnUser():
            return None if values.get("userid") == identity.name else "userid is not your own"
        case RealmPrivilege(name):
            realm = values.get("userid", "").rpartition("@")[2]
            return _lacking_privilege(
                Privilege("/access/realm/{realm}", name), identity, authority, {"realm": realm}
            )
        case UserPrivilege():
            return _lacking_user_privilege(requirement, identity, authority, values)
        case RightsOn(parameter):
            return _lacking_rights_on(values.get(parameter, ""), identity, authority)
        case AllOf(parts):
            missing = (_lacking(part, identity, authority, values) for part in parts)
            return next((text for text in missing if text is not None), None)
        case AnyOf(parts):
            texts = [_lacking(part, identity, authority, values) for part in parts]
            present = [text for text in texts if text is not None]
            return None if len(present) < len(texts) else " or ".join(present)
        case _:
            return f"unknown requirement {type(requirement).__name__}"


def _lacking_privilege(
    requirement: Privilege, identity: Identity, authority: Authority, values: Mapping[str, str]
) -> str | None:
    if identity.node is not None:
        return "a node's ticket is no user's login"
    if requirement.require_param and not values.get(requirement.require_param):
        return f"{requirement.path}, {'|'.join(requirement.names)}"
    path = fill(requirement.path, values)
    if path is None:
        path = requirement.path  # the object was not named: what is inherited from above it counts, no more
    granted = [authority.allowed(identity, path, name) for name in requirement.names]
    if granted and (any(granted) if requirement.any_of else all(granted)):
        return None
    return f"{path}, {'|'.join(requirement.names)}"


def _lacking_user_privilege(
    requirement: UserPrivilege, identity: Identity, authority: Authority, values: Mapping[str, str]
) -> str | None:
    def has(group: str = "") -> bool:
        path = f"/access/groups/{group}" if group else "/access/groups"
        return any(authority.allowed(identity, path, name) for name in requirement.names)

    if has():
        return None
    named = "|".join(requirement.names)
    given = split_list(values.get("groups", ""))
    if requirement.groups is not GroupsGiven.CREATE:
        user = values.get("userid", "")
        groups = authority.groups(user)
        if groups is None or not any(has(group) for group in groups):
            return f"/access/groups, {named}"
    elif not given:
        return f"/access/groups, {named}"
    if requirement.groups is not GroupsGiven.IGNORED:
        for group in given:
            if "/" in group or not has(group):
                return f"/access/groups/{group}, {named}"
    return None


def _lacking_rights_on(path: str, identity: Identity, authority: Authority) -> str | None:
    parts = [part for part in path.split("/") if part]
    if not parts and "/" not in path:
        return (
            None
            if authority.allowed(identity, "/access", "Permissions.Modify")
            else "/access, Permissions.Modify"
        )
    path = "/" + "/".join(parts)
    instead = ALLOCATES.get(parts[0], "") if len(parts) > 1 else ""
    for name in filter(None, ("Permissions.Modify", instead)):
        if authority.allowed(identity, path, name):
            return None
    return f"{path}, {'|'.join(filter(None, ('Permissions.Modify', instead)))}"


def fill(template: str, values: Mapping[str, str]) -> str | None:
    """Fill the variables of a permission path; ``None`` when one has no value or would change the path."""
    filled: list[str] = []
    for segment in template.split("/"):
        match = _VARIABLE.fullmatch(segment)
        value = values.get(match[1]) if match else segment
        if value is None or (match and not _fits(match[1], value)):
            return None
        filled.append(value)
    return "/".join(filled)


def _fits(variable: str, value: str) -> bool:
    """Whether a value stands for one object; only pools have names with slashes."""
    parts = value.split("/") if variable in _POOLS else [value]
    return all(part and "/" not in part and part not in (".", "..") for part in parts)
