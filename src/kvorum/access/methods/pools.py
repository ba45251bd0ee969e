"""Changes of pools, in both forms: the pool in the path, and as a parameter. What they show is the node
room's, which knows their members' state."""

from __future__ import annotations

from pydantic import Field

from kvorum.access import edits
from kvorum.access.changes import Draft, change
from kvorum.access.edits import the_pool
from kvorum.access.files import names
from kvorum.access.files.names import PoolName
from kvorum.access.methods.users import Text
from kvorum.core import ids
from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.interface import Boolean, Command, Context, Parameters, Privilege, method

_ALLOCATE = Privilege("/pool/{poolid}", "Pool.Allocate")


class PoolPath(Parameters):
    poolid: PoolName = Field(description="The pool.")


class NewPool(PoolPath):
    comment: Text | None = Field(None, max_length=2048, description="A note.")


class ChangedPool(NewPool):
    vms: str | None = Field(None, description="Guests, separated by commas.")
    storage: str | None = Field(None, description="Storages, separated by commas.")
    delete: Boolean = Field(False, description="Take the guests and storages out instead of in.")
    allow_move: Boolean = Field(
        False, alias="allow-move", description="Take guests out of the pool they are in."
    )


@method(
    "POST",
    "/pools",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum pool add", "poolid"),),
)
async def create_pool(ctx: Context, p: NewPool) -> None:
    """Create new pool."""

    def edit(draft: Draft) -> None:
        draft.users = edits.put_pool(draft.users, p.poolid, p.comment, new=True)

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "PUT",
    "/pools",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum pool modify", "poolid"),),
)
async def update_pool(ctx: Context, p: ChangedPool) -> None:
    """Update pool."""
    await _update(ctx, p)


@method("PUT", "/pools/{poolid}", permission=_ALLOCATE, protected=True)
async def update_pool_in_path(ctx: Context, p: ChangedPool) -> None:
    """Update pool data (the older form, without pools in pools)."""
    await _update(ctx, p)


@method(
    "DELETE",
    "/pools",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum pool delete", "poolid"),),
)
async def delete_pool(ctx: Context, p: PoolPath) -> None:
    """Delete pool; it must be empty."""
    await _delete(ctx, p)


@method("DELETE", "/pools/{poolid}", permission=_ALLOCATE, protected=True)
async def delete_pool_in_path(ctx: Context, p: PoolPath) -> None:
    """Delete pool (the older form, without pools in pools)."""
    await _delete(ctx, p)


async def _update(ctx: Context, p: ChangedPool) -> None:
    vms, storages = _members(p)

    def edit(draft: Draft) -> None:
        _require_rights_on_members(ctx, draft, p.poolid, vms, storages)
        users = edits.put_pool(draft.users, p.poolid, p.comment, new=False)
        if p.delete:
            users = edits.remove_members(users, p.poolid, vms, storages)
        else:
            users = edits.add_members(users, p.poolid, vms, storages, move=p.allow_move)
        draft.users = users

    await change(ctx.store, edit, who=ctx.identity.name)


async def _delete(ctx: Context, p: PoolPath) -> None:
    def edit(draft: Draft) -> None:
        draft.users = edits.remove_pool(draft.users, p.poolid)

    await change(ctx.store, edit, who=ctx.identity.name)


def _members(p: ChangedPool) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The guests and storages named; raises ``ParameterError`` for what is none."""
    try:
        vms = tuple(ids.vmid(word) for word in names.each(p.vms))
    except ValueError as error:
        raise ParameterError({"vms": str(error)}) from None
    try:
        storages = tuple(ids.storage_name(word) for word in names.each(p.storage))
    except ValueError as error:
        raise ParameterError({"storage": str(error)}) from None
    return vms, storages


def _require_rights_on_members(
    ctx: Context, draft: Draft, pool: str, vms: tuple[int, ...], storages: tuple[str, ...]
) -> None:
    """What goes in or out must be the caller's to give rights on: a pool's rights are its members' too."""
    the_pool(draft.users, pool)
    wanted = [(f"/vms/{vmid}", "VM.Allocate") for vmid in vms]
    wanted += [(f"/storage/{storage}", "Datastore.Allocate") for storage in storages]
    for path, instead in wanted:
        if not ctx.allowed(path, "Permissions.Modify") and not ctx.allowed(path, instead):
            raise PermissionDenied(f"Permission check failed ({path}, Permissions.Modify|{instead})")
    taken_from = {other for other, held in draft.users.pools.items() if other != pool and held.vms & set(vms)}
    for other in sorted(taken_from):
        if not ctx.allowed(f"/pool/{other}", "Pool.Allocate"):
            raise PermissionDenied(f"Permission check failed (/pool/{other}, Pool.Allocate)")
