"""Roles."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.access import edits
from kvorum.access.changes import Draft, change, read_users
from kvorum.access.files import names
from kvorum.access.files.names import RoleName
from kvorum.access.rights.roles import BUILT_IN, all_roles
from kvorum.core.errors import KvorumError, ParameterError
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    LoggedIn,
    NoParameters,
    Parameters,
    Privilege,
    method,
)

_MODIFY = Privilege("/access", "Sys.Modify")


class RolePath(Parameters):
    roleid: RoleName = Field(description="The role.")


class NewRole(RolePath):
    privs: str | None = Field(None, description="Privileges, separated by commas.")


class ChangedRole(NewRole):
    append: Boolean = Field(False, description="Add to the privileges it has.")


class RoleRow(TypedDict):
    """A role in the list; ``special``: built in."""

    roleid: str
    privs: str
    special: NotRequired[bool]


@method("GET", "/access/roles", permission=LoggedIn(), commands=(Command("pveum role list"),))
async def list_roles(ctx: Context, p: NoParameters) -> list[RoleRow]:
    """Role index."""
    roles = all_roles(read_users(ctx.store))
    return [
        RoleRow(roleid=name, privs=",".join(sorted(held)), special=name in BUILT_IN)
        for name, held in sorted(roles.items())
    ]


@method(
    "POST",
    "/access/roles",
    permission=_MODIFY,
    protected=True,
    commands=(Command("pveum role add", "roleid", aliases=("pveum roleadd",)),),
)
async def create_role(ctx: Context, p: NewRole) -> None:
    """Create new role."""

    def edit(draft: Draft) -> None:
        draft.users = edits.put_role(draft.users, p.roleid, names.each(p.privs), new=True)

    await change(ctx.store, edit, who=ctx.identity.name)


@method("GET", "/access/roles/{roleid}", permission=LoggedIn())
async def read_role(ctx: Context, p: RolePath) -> dict[str, bool]:
    """Get role configuration."""
    held = all_roles(read_users(ctx.store)).get(p.roleid)
    if held is None:
        raise KvorumError(f"role '{p.roleid}' does not exist")
    return dict.fromkeys(sorted(held), True)


@method(
    "PUT",
    "/access/roles/{roleid}",
    permission=_MODIFY,
    protected=True,
    commands=(Command("pveum role modify", "roleid", aliases=("pveum rolemod",)),),
)
async def update_role(ctx: Context, p: ChangedRole) -> None:
    """Update an existing role."""
    if p.append and p.privs is None:
        raise ParameterError({"append": "it needs 'privs'"})

    def edit(draft: Draft) -> None:
        draft.users = edits.put_role(draft.users, p.roleid, names.each(p.privs), new=False, append=p.append)

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "DELETE",
    "/access/roles/{roleid}",
    permission=_MODIFY,
    protected=True,
    commands=(Command("pveum role delete", "roleid", aliases=("pveum roledel",)),),
)
async def delete_role(ctx: Context, p: RolePath) -> None:
    """Delete role; those who had it have it no more."""

    def edit(draft: Draft) -> None:
        draft.users = edits.remove_role(draft.users, p.roleid)

    await change(ctx.store, edit, who=ctx.identity.name)
