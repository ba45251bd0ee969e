"""Who may do what: ``root@pam`` everything, others what the ACLs grant; the rest is denied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kvorum.access.privileges import AREAS
from kvorum.interface import ROOT, Authority, Identity


class Grants(Protocol):
    """What the ACLs say about users and tokens other than root."""

    def granted(self, identity: Identity, path: str, privilege: str) -> bool:
        """Whether an ACL on the path, or one above it that propagates, grants the privilege."""
        ...


class NoGrants:
    """No ACL at all: nobody but root has any right."""

    def granted(self, identity: Identity, path: str, privilege: str) -> bool:
        return False


class AccessAuthority(Authority):
    """The ``Authority`` of all daemons."""

    def __init__(self, grants: Grants | None = None) -> None:
        self._grants = grants or NoGrants()

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        if identity.node is not None:
            return False  # a node's word is for methods that ask for it, never for a user's
        if identity.user == ROOT and identity.token is None:
            return True
        return self._grants.granted(identity, path, privilege)


def capabilities(authority: Authority, identity: Identity) -> Mapping[str, Mapping[str, int]]:
    """What a login is told: area to privilege to 1, those the user has at the area's own path."""
    return {
        area: {name: 1 for name in names if authority.allowed(identity, path, name)}
        for area, (path, names) in AREAS.items()
    }
