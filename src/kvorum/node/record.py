"""The record a node publishes about itself."""

from __future__ import annotations

import msgspec

KEY = "node"
"""The key on the store's ephemeral plane."""
TTL_S = 20.0
INTERVAL_S = 4.0


class NodeRecord(msgspec.Struct, frozen=True):
    """A node's load at one moment: bytes, seconds, and CPU use as a fraction of all cores."""

    cpu: float
    maxcpu: int
    mem: int
    maxmem: int
    disk: int
    """Used on the root file system."""
    maxdisk: int
    uptime: int
    version: str
    """Kvorum's version on that node."""
    accelerator: str = ""
    """``kvm`` or ``tcg``: what guests run on there; empty while unknown."""
    wait: float = 0.0
    """The share of time in which cores stood idle for disks."""


def encode(record: NodeRecord) -> bytes:
    """The record as it is published."""
    return msgspec.msgpack.encode(record)


def decode(data: bytes) -> NodeRecord | None:
    """A published record; ``None`` when another version of Kvorum wrote one that can't be read here."""
    try:
        return msgspec.msgpack.decode(data, type=NodeRecord)
    except msgspec.MsgspecError:
        return None
