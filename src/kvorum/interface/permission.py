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
    Identity,
    LoggedIn,
    NodeOnly,
    Privilege,
    Requirement,
    RootOnly,
)

ROOT = "root@pam"

_VARIABLE = re.compile(r"\{([^}]+)\}")


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
    path = fill(requirement.path, values)
    if path is None:
        path = requirement.path  # the object was not named: what is inherited from above it counts, no more
    granted = [authority.allowed(identity, path, name) for name in requirement.names]
    if granted and (any(granted) if requirement.any_of else all(granted)):
        return None
    return f"{path}, {'|'.join(requirement.names)}"


def fill(template: str, values: Mapping[str, str]) -> str | None:
    """Fill the variables of a permission path; ``None`` when one has no value or would change the path."""
    filled: list[str] = []
    for segment in template.split("/"):
        match = _VARIABLE.fullmatch(segment)
        value = values.get(match[1]) if match else segment
        if value is None or (match and (not value or "/" in value)):
            return None
        filled.append(value)
    return "/".join(filled)
