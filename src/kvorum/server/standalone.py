"""The store inside ``kvorum serve``, with what a first start makes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.paths import Paths
from kvorum.store import Store
from kvorum.store.memory import MemoryStore


@asynccontextmanager
async def own_store(paths: Paths) -> AsyncIterator[Store]:
    """This process's own store, with this node's keys and certificates in it."""
    store = MemoryStore(socket.gethostname().partition(".")[0])
    await asyncio.to_thread(lambda: None)
    await _first_files(store)
    yield store


async def _first_files(store: Store) -> None:
    from kvorum.server.provisional import make_files

    for path, data in (await asyncio.to_thread(make_files, store.node)).items():
        if store.read(path) is None:
            await store.write(path, data, who="first start")
