"""How fast a copy of a guest may go, by what the caller asks, the storages' limits and the cluster's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk
from kvorum.guests.config.drives import is_disk_key
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


def import_rates_kib_s(ctx: Context, settings: Mapping[str, str], asked: int | None) -> dict[str, int]:
    """The rate of each drive among the settings that is filled from an image, by its key.

    A guest's first data are a ``restore``, as the known schema has it, wherever they come from.
    """
    rates = {}
    for key, value in settings.items():
        if not is_disk_key(key):
            continue
        disk = Disk.parse(value)
        source = disk.options.get("import-from", "")
        if source and disk.volume is not None:
            from_storage = [] if source.startswith("/") else [VolumeId.parse(source).storage]
            rates[key] = rate_kib_s(ctx, "restore", asked, [disk.volume.storage, *from_storage])
    return rates
