"""What datacenter.cfg says of guests."""

from __future__ import annotations

from kvorum.core.options_file import OptionsFile
from kvorum.guests.disks import MAC_PREFIX
from kvorum.interface import Context


def cluster_option(ctx: Context, key: str) -> str:
    """An option of the cluster as text; empty where it has none."""
    file = ctx.store.read("datacenter.cfg")
    return OptionsFile.parse(file.text).values.get(key, "") if file is not None else ""


def mac_prefix(ctx: Context) -> str:
    """How the addresses of new network cards begin."""
    return cluster_option(ctx, "mac_prefix") or MAC_PREFIX
