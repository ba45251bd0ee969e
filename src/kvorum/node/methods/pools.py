"""Pools: which there are, and what is in them. They are changed by the access room's methods."""

from __future__ import annotations

from typing import Literal

from msgspec import json
from pydantic import Field

from kvorum.access import Pool, read_users
from kvorum.access.files.names import PoolName
from kvorum.core.errors import KvorumError, ParameterError
from kvorum.interface import Command, Context, LoggedIn, Parameters, Privilege, method
from kvorum.node import pools
from kvorum.node.methods.index import may_see_storage
from kvorum.node.resource_rows import ResourceRows
from kvorum.node.resources import Row

Kind = Literal["qemu", "lxc", "storage"]


class PoolFilter(Parameters):
    poolid: PoolName | None = Field(None, description="Only this pool, with its members.")
    type: Kind | None = Field(None, description="Only members of this kind.")


class PoolPath(Parameters):
    poolid: PoolName = Field(description="The pool.")
    type: Kind | None = Field(None, description="Only members of this kind.")


@method("GET", "/pools", permission=LoggedIn(), commands=(Command("pveum pool list"),))
async def list_pools(ctx: Context, p: PoolFilter) -> list[Row]:
    """List pools, or one with its members."""
    if p.type is not None and p.poolid is None:
        raise ParameterError({"type": "it needs 'poolid'"})
    known = read_users(ctx.store).pools
    if p.poolid is None:
        return [
            {"poolid": name, **_comment(pool)} for name, pool in sorted(known.items()) if _may_see(ctx, name)
        ]
    if not _may_see(ctx, p.poolid):
        return []
    pool = _the(known.get(p.poolid), p.poolid)
    return [{"poolid": p.poolid, **_comment(pool), "members": _members(ctx, pool, p.type)}]


@method("GET", "/pools/{poolid}", permission=Privilege("/pool/{poolid}", "Pool.Audit"))
async def read_pool(ctx: Context, p: PoolPath) -> Row:
    """Get pool configuration (the older form, without pools in pools)."""
    pool = _the(read_users(ctx.store).pools.get(p.poolid), p.poolid)
    return {**_comment(pool), "members": _members(ctx, pool, p.type)}


def _the(pool: Pool | None, name: str) -> Pool:
    if pool is None:
        raise KvorumError(f"pool '{name}' does not exist")
    return pool


def _comment(pool: Pool) -> Row:
    return {"comment": pool.comment} if pool.comment else {}


def _may_see(ctx: Context, name: str) -> bool:
    return ctx.allowed(f"/pool/{name}", "Pool.Audit")


def _members(ctx: Context, pool: Pool, kind: str | None) -> list[Row]:
    rows, may = ctx.service(ResourceRows), ctx.rights()
    guests = [
        json.decode(row)
        for vmid, row in rows.guests().items()
        if vmid in pool.vms and may(f"/vms/{vmid}", "VM.Audit")
    ]
    storages = [
        json.decode(row)
        for (_, name), row in rows.storages().items()
        if name in pool.storages and may_see_storage(may, name)
    ]
    return pools.members(pool, guests, storages, ctx.store.node, kind)
