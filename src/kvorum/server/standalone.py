"""The store inside ``kvorum serve``: a group of one on SQLite, reached over its socket like any other."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.paths import Paths
from kvorum.store import Store, StoreClient
from kvorum.store.daemon import running_store


@asynccontextmanager
async def own_store(paths: Paths) -> AsyncIterator[Store]:
    """The node's own store, while open; raises ``KvorumError`` when another process holds it."""
    node = socket.gethostname().partition(".")[0]
    async with (
        running_store(paths, node=node, fuse=False, corosync=False),
        StoreClient(paths.store_socket) as store,
    ):
        yield store
