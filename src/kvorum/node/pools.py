"""Pools as they are shown: their guests and storages with their state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kvorum.access import Pool
from kvorum.node.resources import Row


def pool_of_guest(pools: Mapping[str, Pool]) -> dict[int, str]:
    """The pool of each guest that is in one."""
    return {vmid: name for name, pool in pools.items() for vmid in pool.vms}


def pool_rows(pools: Mapping[str, Pool], visible: Callable[[str], bool]) -> list[Row]:
    """The rows of pools in ``/cluster/resources``, sorted by name."""
    return [
        {"id": f"/pool/{name}", "type": "pool", "pool": name}
        for name in sorted(pools)
        if visible(f"/pool/{name}")
    ]


def members(
    pool: Pool, guests: Iterable[Row], storages: Iterable[Row], node: str, kind: str | None = None
) -> list[Row]:
    """A pool's members of one kind or all: guests by id, then storages, each once.

    ``guests`` and ``storages`` are the rows that the caller may see; of a storage ``node``'s is taken
    where there is one.
    """
    rows: list[Row] = []
    if kind in (None, "qemu"):
        rows += [row for row in guests if row["vmid"] in pool.vms]
    if kind in (None, "storage"):
        found: dict[str, Row] = {}
        for row in storages:
            name = str(row["storage"])
            if name in pool.storages and (name not in found or row["node"] == node):
                found[name] = row
        rows += [found[name] for name in sorted(found)]
    return rows
