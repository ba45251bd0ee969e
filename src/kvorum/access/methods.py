"""The API's methods about logging in, realms and permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from pydantic import Field

from kvorum.access.authentication import Authentication
from kvorum.access.authority import capabilities
from kvorum.access.privileges import AREAS
from kvorum.access.realms import FAILURE, Realms
from kvorum.access.throttle import Throttle
from kvorum.core.errors import AuthenticationError, ParameterError, PermissionDenied
from kvorum.interface import (
    Anyone,
    Boolean,
    Context,
    Identity,
    LoggedIn,
    NoParameters,
    Parameters,
    method,
)
from kvorum.store import ClusterLog, Severity

_TICKET = "PVE:"
"""How a ticket begins, which may stand in the password's place."""


class Login(Parameters):
    username: str = Field(max_length=64, description="User name, with or without @realm.")
    password: str = Field(max_length=4096, description="The password, or a valid ticket of the same user.")
    realm: str | None = Field(None, max_length=32, description="The realm, where the name has none.")
    otp: str | None = Field(None, description="One-time password.")
    tfa_challenge: str | None = Field(None, alias="tfa-challenge", description="The challenge answered.")
    new_format: Boolean = Field(True, alias="new-format", description="Kept for clients that send it.")
    path: str | None = Field(None, max_length=64, description="Check privileges on this path.")
    privs: str | None = Field(None, max_length=64, description="The privileges to check.")


class Ticket(TypedDict):
    """A login's answer."""

    username: str
    ticket: str
    CSRFPreventionToken: str
    cap: Mapping[str, Mapping[str, int]]
    clustername: str | None


class Domain(TypedDict):
    """A realm, as the login dialog lists it."""

    realm: str
    type: str
    comment: str
    default: bool | None


class PermissionsOf(Parameters):
    path: str | None = Field(None, description="Only this path.")
    userid: str | None = Field(None, description="The user or token asked about.")


@method("GET", "/access/ticket", permission=Anyone())
async def login_form(ctx: Context, p: NoParameters) -> None:
    """Dummy, for clients that ask before they log in."""


@method("POST", "/access/ticket", permission=Anyone(), protected=True, allow_token=False)
async def login(ctx: Context, p: Login) -> Ticket:
    """Create or verify authentication ticket."""
    user = p.username
    if p.realm and not user.endswith(f"@{p.realm}"):
        user = f"{user}@{p.realm}"
    if "@" not in user or any(c.isspace() or c in ":/" for c in user):
        raise ParameterError({"username": f"'{user}' does not look like a user: write name@realm"})
    authentication = ctx.service(Authentication)
    async with ctx.service(Throttle).attempt(ctx.identity.address, user):
        try:
            await _check(ctx, user, p.password)
        except AuthenticationError:
            text = f"authentication failure; rhost={ctx.identity.address or 'localhost'} user={user}"
            _note(ctx, user, text, Severity.WARNING)
            raise
    if not p.password.startswith(_TICKET):  # a renewal is no login
        _note(ctx, user, f"successful auth for user '{user}'", Severity.INFO)
    ticket, csrf = authentication.issue(user)
    return Ticket(
        username=user,
        ticket=ticket,
        CSRFPreventionToken=csrf,
        cap=capabilities(ctx.authority, Identity(user=user)),
        clustername=ctx.store.membership.cluster,
    )


def _note(ctx: Context, user: str, text: str, severity: Severity) -> None:
    told = ctx.services.find(ClusterLog)
    if told is not None:
        told.note(user, text, severity)


async def _check(ctx: Context, user: str, password: str) -> None:
    """Take the password, or in its place a valid ticket of the same user (a renewal)."""
    if password.startswith(_TICKET):
        if ctx.service(Authentication).ticket_user(password) == user:
            return
        raise AuthenticationError(FAILURE)
    await ctx.service(Realms).check(user, password)


@method("GET", "/access/domains", permission=Anyone())
async def list_realms(ctx: Context, p: NoParameters) -> list[Domain]:
    """Authentication domain index."""
    return [
        Domain(realm=realm.name, type=realm.type, comment=realm.comment, default=True if index == 0 else None)
        for index, realm in enumerate(ctx.service(Realms))
    ]


@method("GET", "/access/permissions", permission=LoggedIn())
async def permissions(ctx: Context, p: PermissionsOf) -> dict[str, dict[str, int]]:
    """Retrieve effective permissions of given user/token."""
    if p.userid not in (None, ctx.identity.name) and not ctx.allowed("/access", "Sys.Audit"):
        raise PermissionDenied("Permission check failed (/access, Sys.Audit)")
    user, _, token = (p.userid or ctx.identity.name).partition("!")
    identity = Identity(user=user, token=token or None)
    paths = [p.path] if p.path else [path for path, _ in AREAS.values()]
    names = {name for _, known in AREAS.values() for name in known}
    found = {
        path: {name: 1 for name in sorted(names) if ctx.authority.allowed(identity, path, name)}
        for path in paths
    }
    return {path: granted for path, granted in found.items() if granted}
