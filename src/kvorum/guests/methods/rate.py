"""How fast a copy of a guest may go, by what the caller asks, the storages' limits and the cluster's."""

from __future__ import annotations

from collections.abc import Iterable

from kvorum.guests.methods.cluster_options import cluster_option
from kvorum.interface import Context
from kvorum.storage import Storages, Touched
from kvorum.storage import rate_kib_s as rate_of


def rate_kib_s(ctx: Context, operation: str, asked: int | None, storages: Iterable[str]) -> int:
    """The rate for a copy that touches these storages, in KiB/s; 0: none. What touches no storage keeps the
    cluster's limit, which who may change the cluster's options (``Sys.Modify``) may exceed.

    Raises ``StorageError`` for a storage that is not there.
    """
    config = ctx.service(Storages).config()
    touched = [
        Touched(
            config.get(name).options.get("bwlimit", ""), ctx.allowed(f"/storage/{name}", "Datastore.Allocate")
        )
        for name in sorted(set(storages))
    ] or [Touched("", ctx.allowed("/", "Sys.Modify"))]
    return rate_of(operation, asked, cluster_option(ctx, "bwlimit"), touched)
