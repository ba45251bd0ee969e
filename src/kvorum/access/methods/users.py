"""Users."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, NotRequired, TypedDict

from pydantic import AfterValidator, Field

from kvorum.access import edits
from kvorum.access.changes import Draft, change, read_factors, read_realms, read_users
from kvorum.access.files import names
from kvorum.access.files.names import UserId
from kvorum.access.files.user_cfg import Token, User
from kvorum.access.realms import hash_password
from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.interface import (
    ROOT,
    AllOf,
    Boolean,
    Command,
    Context,
    GroupsGiven,
    LoggedIn,
    Parameters,
    RealmPrivilege,
    UserPrivilege,
    method,
)

Email = Annotated[str, AfterValidator(names.email)]


def one_line(text: str) -> str:
    """A text without control characters but line ends; raises ``ValueError`` for others."""
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise ValueError("must not contain control characters")
    return text


Text = Annotated[str, AfterValidator(one_line)]


class UserPath(Parameters):
    userid: UserId = Field(max_length=64, description="The user, name@realm.")


class UserFilter(Parameters):
    enabled: Boolean | None = Field(None, description="Only users that are enabled, or only those not.")
    full: Boolean = Field(False, description="With groups and tokens.")


class UserSettings(UserPath):
    comment: Text | None = Field(None, max_length=2048, description="A note.")
    email: Email | None = Field(None, max_length=254, description="E-mail address.")
    enable: Boolean | None = Field(None, description="Whether the user may log in.")
    expire: int | None = Field(None, ge=0, description="Unix time at which the account expires; 0: never.")
    firstname: Text | None = Field(None, max_length=1024, description="First name.")
    groups: str | None = Field(None, description="Groups, separated by commas.")
    keys: str | None = Field(
        None, pattern="^[0-9a-zA-Z!=]{0,4096}$", description="Keys for two factor auth (yubico)."
    )
    lastname: Text | None = Field(None, max_length=1024, description="Last name.")

    def given(self) -> dict[str, object]:
        """The attributes that were given."""
        plain = ("comment", "email", "enable", "expire", "firstname", "keys", "lastname")
        return {name: value for name in plain if (value := getattr(self, name)) is not None}


class NewUser(UserSettings):
    password: str | None = Field(
        None, min_length=8, max_length=64, description="The first password (realm pve)."
    )


class ChangedUser(UserSettings):
    append: Boolean = Field(False, description="Keep the groups the user is in.")


class TokenRow(TypedDict):
    """A token in a list."""

    tokenid: str
    comment: NotRequired[str]
    expire: int
    privsep: bool


class UserRow(TypedDict):
    """A user in the list."""

    userid: str
    enable: bool
    expire: int
    firstname: NotRequired[str]
    lastname: NotRequired[str]
    email: NotRequired[str]
    comment: NotRequired[str]
    keys: NotRequired[str]
    groups: NotRequired[str]
    tokens: NotRequired[list[TokenRow]]


def require_root_for_root(ctx: Context, user: str) -> None:
    """Nobody but root in person touches what lets one in as root: else who looks after users were root.

    Raises ``PermissionDenied``.
    """
    if user == ROOT and (ctx.identity.user != ROOT or ctx.identity.token is not None):
        raise PermissionDenied(f"Permission check failed (only {ROOT} in person may change '{ROOT}')")


def token_row(name: str, token: Token) -> TokenRow:
    """A token as lists show it."""
    row = TokenRow(tokenid=name, expire=token.expire, privsep=token.privsep)
    return {**row, "comment": token.comment} if token.comment else row


@method("GET", "/access/users", permission=LoggedIn(), protected=True, commands=(Command("pveum user list"),))
async def list_users(ctx: Context, p: UserFilter) -> list[UserRow]:
    """User index: those in groups the caller may look after or audit, and itself."""
    config, realms, factors = read_users(ctx.store), read_realms(ctx.store), read_factors(ctx.store)
    whole = _may_see(ctx, "/access/groups")
    visible = frozenset(group for group in config.groups if _may_see(ctx, f"/access/groups/{group}"))
    rows: list[UserRow] = []
    for name, user in sorted(config.users.items()):
        groups = config.groups_of(name)
        if name != ctx.identity.user and not whole and not groups & visible:
            continue
        if p.enabled is not None and user.enable is not p.enabled:
            continue
        row: dict[str, object] = {"userid": name, **_attributes(user)}
        realm = realms.realms.get(name.rpartition("@")[2])
        if realm is not None:
            row["realm-type"] = realm.type
        if factors.of(name).locked:
            row["totp-locked"] = True
        if p.full:
            row["groups"] = ",".join(sorted(groups))
            row["tokens"] = [token_row(t, token) for t, token in sorted(user.tokens.items())]
        rows.append(row)  # type: ignore[arg-type]  # its names are those of the row
    return rows


def _may_see(ctx: Context, path: str) -> bool:
    return ctx.allowed(path, "User.Modify") or ctx.allowed(path, "Sys.Audit")


def _attributes(user: User) -> dict[str, object]:
    texts = ("firstname", "lastname", "email", "comment", "keys")
    shown = {name: text for name in texts if (text := getattr(user, name))}
    return {"enable": user.enable, "expire": user.expire, **shown}


@method(
    "POST",
    "/access/users",
    permission=AllOf(
        (
            RealmPrivilege("Realm.AllocateUser"),
            UserPrivilege("User.Modify", groups=GroupsGiven.CREATE),
        )
    ),
    protected=True,
    commands=(Command("pveum user add", "userid", aliases=("pveum useradd",)),),
)
async def create_user(ctx: Context, p: NewUser) -> None:
    """Create new user."""
    name, _, realm = p.userid.rpartition("@")
    if realm not in read_realms(ctx.store).realms:
        raise ParameterError({"userid": f"realm '{realm}' does not exist"})
    if p.password is not None and realm != "pve":
        raise ParameterError(
            {"password": f"users of realm '{realm}' have their password there: leave it out here"}
        )
    kept = await asyncio.to_thread(hash_password, p.password) if p.password is not None else None

    def edit(draft: Draft) -> None:
        user = replace(User(), **p.given())  # type: ignore[arg-type]  # the names are those of the fields
        draft.users = edits.add_user(draft.users, p.userid, user, names.each(p.groups))
        if kept is not None:
            draft.passwords = draft.passwords.put(name, kept)

    await change(ctx.store, edit, who=ctx.identity.name)


@method("GET", "/access/users/{userid}", permission=UserPrivilege("User.Modify", "Sys.Audit"))
async def read_user(ctx: Context, p: UserPath) -> dict[str, object]:
    """Get user configuration."""
    config = read_users(ctx.store)
    user = edits.the_user(config, p.userid)
    tokens = {
        name: {key: value for key, value in token_row(name, token).items() if key != "tokenid"}
        for name, token in sorted(user.tokens.items())
    }
    shown = {**_attributes(user), "groups": sorted(config.groups_of(p.userid))}
    return {**shown, "tokens": tokens} if tokens else shown


@method(
    "PUT",
    "/access/users/{userid}",
    permission=UserPrivilege("User.Modify", groups=GroupsGiven.UPDATE),
    protected=True,
    commands=(Command("pveum user modify", "userid", aliases=("pveum usermod",)),),
)
async def update_user(ctx: Context, p: ChangedUser) -> None:
    """Update user configuration."""
    require_root_for_root(ctx, p.userid)
    if p.append and p.groups is None:
        raise ParameterError({"append": "it needs 'groups'"})

    def edit(draft: Draft) -> None:
        users = edits.update_user(draft.users, p.userid, p.given())
        if p.groups is not None:
            users = edits.set_groups(users, p.userid, names.each(p.groups), append=p.append)
        draft.users = users

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "DELETE",
    "/access/users/{userid}",
    permission=AllOf((RealmPrivilege("Realm.AllocateUser"), UserPrivilege("User.Modify"))),
    protected=True,
    commands=(Command("pveum user delete", "userid", aliases=("pveum userdel",)),),
)
async def delete_user(ctx: Context, p: UserPath) -> None:
    """Delete user, with its password, tokens, second factors and rights."""

    def edit(draft: Draft) -> None:
        user = edits.the_user(draft.users, p.userid)
        draft.users = edits.remove_user(draft.users, p.userid)
        name, _, realm = p.userid.rpartition("@")
        if realm == "pve" and name in draft.passwords.secrets:
            draft.passwords = draft.passwords.without(name)
        gone = [f"{p.userid}!{token}" for token in user.tokens]
        if gone:
            draft.tokens = draft.tokens.without(*gone)
        if p.userid in draft.factors.users:
            left = {n: factors for n, factors in draft.factors.users.items() if n != p.userid}
            draft.factors = replace(draft.factors, users=left)

    await change(ctx.store, edit, who=ctx.identity.name)
