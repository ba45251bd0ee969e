"""The access control list."""

from __future__ import annotations

from typing import TypedDict

from pydantic import Field

from kvorum.access import edits
from kvorum.access.authority import AccessAuthority
from kvorum.access.changes import Draft, change, read_users
from kvorum.access.files import names
from kvorum.access.files.user_cfg import Grant, UserConfig
from kvorum.access.rights.roles import all_roles
from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.interface import Boolean, Command, Context, LoggedIn, NoParameters, Parameters, RightsOn, method


class AclChange(Parameters):
    path: str = Field(max_length=512, description="The path the rights are on.")
    roles: str = Field(description="Roles, separated by commas.")
    users: str | None = Field(None, description="Users, separated by commas.")
    groups: str | None = Field(None, description="Groups, separated by commas.")
    tokens: str | None = Field(None, description="API tokens, separated by commas.")
    propagate: Boolean = Field(True, description="Whether the rights hold for what lies below too.")
    delete: Boolean = Field(False, description="Take the rights instead of giving them.")


class AclRow(TypedDict):
    """One entry of the list."""

    path: str
    type: str
    ugid: str
    roleid: str
    propagate: bool


def _row(grant: Grant) -> AclRow:
    kind = "group" if grant.who.startswith("@") else "token" if "!" in grant.who else "user"
    who = grant.who.removeprefix("@")
    return AclRow(path=grant.path, type=kind, ugid=who, roleid=grant.role, propagate=grant.propagate)


@method("GET", "/access/acl", permission=LoggedIn(), commands=(Command("pveum acl list"),))
async def read_acl(ctx: Context, p: NoParameters) -> list[AclRow]:
    """Get Access Control List (ACLs): the entries on paths whose rights the caller may audit or change."""
    whole = ctx.allowed("/access", "Sys.Audit") or ctx.allowed("/access", "Permissions.Modify")
    grants = sorted(read_users(ctx.store).grants)
    return [_row(g) for g in grants if whole or ctx.allowed(g.path, "Permissions.Modify")]


@method(
    "PUT",
    "/access/acl",
    permission=RightsOn("path"),
    protected=True,
    commands=(
        Command("pveum acl modify", "path", aliases=("pveum aclmod",)),
        Command("pveum acl delete", "path", fixed={"delete": "1"}, aliases=("pveum acldel",)),
    ),
)
async def update_acl(ctx: Context, p: AclChange) -> None:
    """Update Access Control List (add or remove permissions)."""
    path, whos, roles = _checked(p)

    def edit(draft: Draft) -> None:
        _require_no_more_than_own(ctx, draft.users, path, roles, p)
        if p.delete:
            draft.users = edits.take(draft.users, path, whos, roles)
        else:
            draft.users = edits.give(draft.users, path, whos, roles, propagate=p.propagate)

    await change(ctx.store, edit, who=ctx.identity.name)


def _checked(p: AclChange) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Path, users, tokens and ``@groups``, and roles; raises ``ParameterError`` for what is none."""
    wrong: dict[str, str] = {}
    path = p.path
    try:
        path = names.acl_path(path)
    except ValueError as error:
        wrong["path"] = str(error)
    whos: list[str] = []
    for parameter, check in (("users", names.user_id), ("groups", names.group), ("tokens", names.token_id)):
        for name in names.each(getattr(p, parameter)):
            try:
                whos.append("@" * (parameter == "groups") + check(name))
            except ValueError as error:
                wrong[parameter] = str(error)
    roles = names.each(p.roles)
    if not roles:
        wrong["roles"] = "name one role at least"
    if not whos and not wrong:
        wrong["users"] = "name one user, group or token at least"
    if wrong:
        raise ParameterError(wrong)
    return path, tuple(whos), roles


def _require_no_more_than_own(
    ctx: Context, config: UserConfig, path: str, roles: tuple[str, ...], p: AclChange
) -> None:
    """Who has not Permissions.Modify may pass on only what it has itself, and only as far as it reaches."""
    if ctx.allowed(path, "Permissions.Modify"):
        return
    known = all_roles(config)
    for role in roles:
        privileges = known.get(role, frozenset())
        beyond = sorted(name for name in privileges if not ctx.allowed(path, name))
        if beyond or not privileges:
            lacking = ", ".join(beyond) or "Permissions.Modify"
            raise PermissionDenied(
                f"Permission check failed ({path}, {lacking}: '{role}' is more than you have)"
            )
    if p.propagate and not p.delete and not all(_propagates(ctx, path, known[role]) for role in roles):
        raise PermissionDenied(f"Permission check failed ({path}: your own rights do not propagate)")


def _propagates(ctx: Context, path: str, privileges: frozenset[str]) -> bool:
    assert isinstance(ctx.authority, AccessAuthority), "the daemons' authority is the access room's"
    held = ctx.authority.permissions(ctx.identity, path)
    return all(held.get(name, False) for name in privileges)
