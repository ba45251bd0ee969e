"""The running part of the storage room: ``Storages``, and what all nodes are told of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.storage import statistics
from kvorum.storage.config import FILE
from kvorum.storage.half_made import HalfMade
from kvorum.storage.storages import Storages
from kvorum.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register ``Storages`` and ``HalfMade``, and tell all nodes about this node's storages while open.

    What an earlier daemon has left half-made is removed by the guests' room, which ends its processes first.
    """
    storages = Storages(store, paths)
    services.add(Storages, storages)
    services.add(HalfMade, HalfMade(storages, paths.state / "half-made"))
    publishing = asyncio.create_task(_publish(storages, store), name="publish storages")
    try:
        yield
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)


async def _publish(storages: Storages, store: Store) -> None:
    """Publish at each interval and after each change of storage.cfg."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(store, changed))
        while True:
            changed.clear()
            await _publish_once(storages, store)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(statistics.INTERVAL_S):
                    await changed.wait()


async def _watch(store: Store, changed: asyncio.Event) -> None:
    async for change in store.watch(FILE):
        if change.path == FILE:
            changed.set()


async def _publish_once(storages: Storages, store: Store) -> None:
    """A bad storage.cfg, or a store that is away, costs only this round."""
    try:
        records = await statistics.collect(storages, store.node)
        await store.publish(statistics.KEY, statistics.encode(records), statistics.TTL_S)
    except KvorumError as error:
        log.info("storages not published: %s", error)
