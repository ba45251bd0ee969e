"""Groups."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.access import edits
from kvorum.access.changes import Draft, change, read_users
from kvorum.access.files.names import GroupName
from kvorum.access.methods.users import Text
from kvorum.interface import Command, Context, LoggedIn, NoParameters, Parameters, Privilege, method

_ALLOCATE = Privilege("/access/groups", "Group.Allocate")
_SEEN_WITH = ("User.Modify", "Sys.Audit", "Group.Allocate")


class GroupPath(Parameters):
    groupid: GroupName = Field(description="The group.")


class GroupSettings(GroupPath):
    comment: Text | None = Field(None, max_length=2048, description="A note.")


class GroupRow(TypedDict):
    """A group in the list."""

    groupid: str
    comment: NotRequired[str]
    users: str


@method("GET", "/access/groups", permission=LoggedIn(), commands=(Command("pveum group list"),))
async def list_groups(ctx: Context, p: NoParameters) -> list[GroupRow]:
    """Group index: those the caller may look after or audit."""
    rows = []
    for name, group in sorted(read_users(ctx.store).groups.items()):
        if any(ctx.allowed(f"/access/groups/{name}", privilege) for privilege in _SEEN_WITH):
            row = GroupRow(groupid=name, users=",".join(sorted(group.users)))
            rows.append({**row, "comment": group.comment} if group.comment else row)
    return rows


@method(
    "POST",
    "/access/groups",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum group add", "groupid", aliases=("pveum groupadd",)),),
)
async def create_group(ctx: Context, p: GroupSettings) -> None:
    """Create new group."""

    def edit(draft: Draft) -> None:
        draft.users = edits.put_group(draft.users, p.groupid, p.comment, new=True)

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "GET",
    "/access/groups/{groupid}",
    permission=Privilege("/access/groups", "Sys.Audit", "Group.Allocate", any_of=True),
)
async def read_group(ctx: Context, p: GroupPath) -> dict[str, object]:
    """Get group configuration."""
    group = edits.the_group(read_users(ctx.store), p.groupid)
    shown: dict[str, object] = {"members": sorted(group.users)}
    return {**shown, "comment": group.comment} if group.comment else shown


@method(
    "PUT",
    "/access/groups/{groupid}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum group modify", "groupid", aliases=("pveum groupmod",)),),
)
async def update_group(ctx: Context, p: GroupSettings) -> None:
    """Update group data."""

    def edit(draft: Draft) -> None:
        draft.users = edits.put_group(draft.users, p.groupid, p.comment, new=False)

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "DELETE",
    "/access/groups/{groupid}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum group delete", "groupid", aliases=("pveum groupdel",)),),
)
async def delete_group(ctx: Context, p: GroupPath) -> None:
    """Delete group, with its rights; the users stay."""

    def edit(draft: Draft) -> None:
        draft.users = edits.remove_group(draft.users, p.groupid)

    await change(ctx.store, edit, who=ctx.identity.name)
