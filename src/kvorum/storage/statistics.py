"""What a node tells all others about its storages every few seconds, under the key ``storages``.

The value is MessagePack of a list of ``StorageRecord``; ``read_records`` decodes what all nodes told. Each
storage is asked with a deadline of its own, so that a dead one is told as such and holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from kvorum.storage.storages import Storages, StorageState
from kvorum.store import Store

KEY = "storages"
INTERVAL_S = 5.0
TTL_S = 25.0


class StorageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One storage as one node sees it; ``disk`` (used) and ``maxdisk`` in bytes."""

    storage: str
    plugintype: str
    content: str = ""
    shared: bool = False
    available: bool = False
    """Whether it answered just now."""
    disk: int = 0
    maxdisk: int = 0


async def collect(storages: Storages, node: str) -> list[StorageRecord]:
    """Ask all storages that ``node`` has, at the same time. Raises ``StorageError`` for a bad storage.cfg."""
    entries = [entry for entry in storages.config().entries if entry.available_on(node)]
    return [_record(state) for state in await asyncio.gather(*map(storages.state, entries))]


def encode(records: list[StorageRecord]) -> bytes:
    """The records as they are published."""
    return msgspec.msgpack.encode(records)


def read_records(store: Store, only: str = "") -> Mapping[str, list[StorageRecord]]:
    """What each node last told about its storages, or the node ``only``; who tells nonsense is left out."""
    result: dict[str, list[StorageRecord]] = {}
    for node, value in store.published(KEY).items():
        if only not in ("", node):
            continue
        try:
            result[node] = msgspec.msgpack.decode(value, type=list[StorageRecord])
        except msgspec.MsgspecError:
            continue
    return result


def _record(state: StorageState) -> StorageRecord:
    entry, room = state.entry, state.status
    return StorageRecord(
        storage=entry.id,
        plugintype=entry.type,
        content=",".join(entry.content),
        shared=entry.shared,
        available=room is not None and not state.error,
        disk=room.used if room else 0,
        maxdisk=room.total if room else 0,
    )
