"""Logging in, passwords, and what a caller may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.access.authentication import Authentication
from kvorum.access.authority import AccessAuthority, capabilities
from kvorum.access.files import names
from kvorum.access.files.names import UserId
from kvorum.access.methods.users import require_root_for_root
from kvorum.access.realms import FAILURE, Realms
from kvorum.access.rights.privileges import AREAS
from kvorum.access.second_factor import SecondFactor
from kvorum.access.throttle import Throttle
from kvorum.core.errors import AuthenticationError, KvorumError, ParameterError, PermissionDenied
from kvorum.interface import (
    ROOT,
    AllOf,
    AnyOf,
    Anyone,
    Authority,
    Boolean,
    Command,
    Context,
    Identity,
    LoggedIn,
    NoParameters,
    OwnUser,
    Parameters,
    RealmPrivilege,
    UserPrivilege,
    method,
)
from kvorum.store import ClusterLog, Severity

_TICKET = "PVE:"
"""How a ticket begins, which may stand in the password's place."""


class Login(Parameters):
    username: str = Field(max_length=64, description="User name, with or without @realm.")
    password: str = Field(
        max_length=4096,
        description="The password, or a valid ticket of the same user.",
        json_schema_extra={"ask": "Password: "},
    )
    realm: str | None = Field(None, max_length=32, description="The realm, where the name has none.")
    otp: str | None = Field(None, max_length=64, description="One-time password, beside the password.")
    tfa_challenge: str | None = Field(
        None, max_length=8192, alias="tfa-challenge", description="The challenge answered by the password."
    )
    new_format: Boolean = Field(True, alias="new-format", description="Kept for clients that send it.")
    path: str | None = Field(None, max_length=64, description="Check privileges on this path.")
    privs: str | None = Field(None, max_length=64, description="The privileges to check.")


class Ticket(TypedDict):
    """A login's answer; with ``NeedTFA`` the ticket is a challenge and opens nothing yet."""

    username: str
    ticket: str
    CSRFPreventionToken: str
    cap: NotRequired[Mapping[str, Mapping[str, int]]]
    clustername: NotRequired[str | None]
    NeedTFA: NotRequired[int]


class ConsoleTicket(Parameters):
    authid: str = Field(max_length=64, description="The user or token.")
    vncticket: str = Field(max_length=4096, description="The console's ticket.")
    path: str = Field(max_length=64, description="Check privileges on this path.")
    privs: str = Field(max_length=64, description="The privileges to check.")
    port: int | None = Field(None, description="Kept for clients that send it.")


class NewPassword(Parameters):
    userid: UserId = Field(max_length=64, description="The user.")
    password: str = Field(
        min_length=8,
        max_length=64,
        description="The new password.",
        json_schema_extra={"ask": "Enter new password: ", "ask_again": "Retype new password: "},
    )
    confirmation_password: str | None = Field(
        None,
        alias="confirmation-password",
        min_length=5,
        max_length=64,
        description="The caller's own password.",
    )


class PermissionsOf(Parameters):
    path: str | None = Field(None, max_length=512, description="Only this path.")
    userid: str | None = Field(None, max_length=130, description="The user or token asked about.")


@method("GET", "/access/ticket", permission=Anyone())
async def login_form(ctx: Context, p: NoParameters) -> None:
    """Dummy, for clients that ask before they log in."""


@method(
    "POST",
    "/access/ticket",
    permission=Anyone(),
    protected=True,
    allow_token=False,
    commands=(Command("pveum ticket", "username"),),
)
async def login(ctx: Context, p: Login) -> Ticket:
    """Create or verify authentication ticket."""
    user = p.username
    if p.realm and not user.endswith(f"@{p.realm}"):
        user = f"{user}@{p.realm}"
    try:
        names.user_id(user)
    except ValueError as error:
        raise ParameterError({"username": str(error)}) from None
    authentication = ctx.service(Authentication)
    async with ctx.service(Throttle).attempt(ctx.identity.address, user):
        try:
            challenge = await _check(ctx, user, p)
        except AuthenticationError:
            text = f"authentication failure; rhost={ctx.identity.address or 'localhost'} user={user}"
            _note(ctx, user, text, Severity.WARNING)
            raise
    if challenge is None and not p.password.startswith(_TICKET):  # a renewal is no login
        _note(ctx, user, f"successful auth for user '{user}'", Severity.INFO)
    if challenge is not None:
        ticket, csrf = authentication.challenge(user, challenge)
        return Ticket(username=user, ticket=ticket, CSRFPreventionToken=csrf, NeedTFA=1)
    identity = Identity(user=user)
    if p.path is not None and p.privs is not None:
        _require_all(ctx, identity, p.path, p.privs)
    ticket, csrf = authentication.issue(user)
    return Ticket(
        username=user,
        ticket=ticket,
        CSRFPreventionToken=csrf,
        cap=capabilities(ctx.authority, identity),
        clustername=ctx.store.membership.cluster,
    )


def _note(ctx: Context, user: str, text: str, severity: Severity) -> None:
    told = ctx.services.find(ClusterLog)
    if told is not None:
        told.note(user, text, severity)


async def _check(ctx: Context, user: str, p: Login) -> str | None:
    """Take the password, a valid ticket of the same user (a renewal) or the answer to a challenge.

    Root's ticket from before this node joined or left a cluster stands for its password there.

    Returns the challenge when a second factor is still asked for.
    """
    authentication, factor = ctx.service(Authentication), ctx.service(SecondFactor)
    if p.tfa_challenge:
        kind, colon, answer = p.password.partition(":")
        if not authentication.challenge_valid(p.tfa_challenge, user) or not colon:
            raise AuthenticationError(FAILURE)
        _require_active(ctx, user)
        await factor.check(user, kind, answer)
        return None
    if p.password.startswith(_TICKET):
        if authentication.ticket_user(p.password) == user:
            return None
        if not authentication.inherits(p.password, user):
            raise AuthenticationError(FAILURE)
    else:
        await ctx.service(Realms).check(user, p.password)
    _require_active(ctx, user)
    challenge = factor.challenge(user)
    if challenge is not None and p.otp:
        await factor.check(user, "totp", p.otp)
        return None
    return challenge


def _require_active(ctx: Context, user: str) -> None:
    if not ctx.service(AccessAuthority).active(user):
        raise AuthenticationError(FAILURE)


def _require_all(ctx: Context, identity: Identity, path: str, privileges: str) -> None:
    if any(not ctx.authority.allowed(identity, path, name) for name in names.each(privileges)):
        raise PermissionDenied(f"Permission check failed ({path}, {privileges})")


@method("POST", "/access/vncticket", permission=Anyone(), protected=True)
async def verify_console_ticket(ctx: Context, p: ConsoleTicket) -> None:
    """Verify VNC authentication ticket."""
    authentication = ctx.service(Authentication)
    user, _, token = p.authid.partition("!")
    async with ctx.service(Throttle).attempt(ctx.identity.address, p.authid):
        if not authentication.console_ticket_valid(p.vncticket, p.authid, p.path):
            raise AuthenticationError("permission denied - invalid PVEVNC ticket")
    _require_all(ctx, Identity(user=user, token=token or None), p.path, p.privs)


_MAY_SET_PASSWORD = AnyOf(
    (OwnUser(), AllOf((RealmPrivilege("Realm.AllocateUser"), UserPrivilege("User.Modify"))))
)


@method(
    "PUT",
    "/access/password",
    permission=_MAY_SET_PASSWORD,
    protected=True,
    allow_token=False,
    commands=(Command("pveum passwd", "userid"),),
)
async def change_password(ctx: Context, p: NewPassword) -> None:
    """Change user password."""
    require_root_for_root(ctx, p.userid)
    await confirm(ctx, p.confirmation_password, "confirmation-password")
    user, _, realm = p.userid.rpartition("@")
    if ctx.authority.groups(p.userid) is None:
        raise KvorumError(f"no such user ('{p.userid}')")
    await ctx.service(Realms).get(realm).change_password(user, p.password, ctx.identity.name)


async def confirm(ctx: Context, password: str | None, parameter: str = "password") -> None:
    """Have a caller show that it knows its own password, before something a thief of a ticket would like.

    ``root@pam`` need not. Raises ``AuthenticationError``, and ``ParameterError`` when none was given.
    """
    if ctx.identity.user == ROOT:
        return
    if password is None:
        raise ParameterError({parameter: "your own password is needed to confirm this change"})
    async with ctx.service(Throttle).attempt(ctx.identity.address, ctx.identity.user):
        await ctx.service(Realms).check(ctx.identity.user, password)


@method(
    "GET",
    "/access/permissions",
    permission=LoggedIn(),
    commands=(
        Command("pveum user permissions", "userid", output="permissions"),
        Command("pveum user token permissions", "userid", output="permissions"),
    ),
)
async def permissions(ctx: Context, p: PermissionsOf) -> dict[str, dict[str, int]]:
    """Retrieve effective permissions of given user/token."""
    name = p.userid or ctx.identity.name
    own = name == ctx.identity.name or name.partition("!")[0] == ctx.identity.name
    if not own and not ctx.allowed("/access", "Sys.Audit"):
        raise PermissionDenied("Permission check failed (/access, Sys.Audit)")
    user, _, token = name.partition("!")
    identity = Identity(user=user, token=token or None)
    if ctx.authority.groups(user) is None:
        raise KvorumError(f"no such user ('{user}')")
    authority = _evaluation(ctx.authority)
    if p.path:
        try:
            paths = {names.acl_path(p.path)}
        except ValueError as error:
            raise ParameterError({"path": str(error)}) from None
    else:
        paths = {path for path, _ in AREAS.values()} | authority.named_paths(identity)
        paths |= {"/access/groups", "/pool"}
    found = {path: authority.permissions(identity, path) for path in sorted(paths)}
    shown = {path: {n: int(on) for n, on in sorted(held.items())} for path, held in found.items()}
    return {path: held for path, held in shown.items() if held or p.path}


def _evaluation(authority: Authority) -> AccessAuthority:
    assert isinstance(authority, AccessAuthority), "the daemons' authority is the access room's"
    return authority
