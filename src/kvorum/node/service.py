"""Publishes this node's record again and again, for every other node's page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.node import record
from kvorum.node.facts import Sampler
from kvorum.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the ``Sampler`` and publish its samples while open."""
    sampler = Sampler()
    services.add(Sampler, sampler)
    publishing = asyncio.create_task(_publish(sampler, store), name="publish node record")
    try:
        yield
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)


async def _publish(sampler: Sampler, store: Store) -> None:
    """Sample and publish at each interval; a store that is away only costs that round."""
    while True:
        try:
            await store.publish(record.KEY, record.encode(sampler.sample()), record.TTL_S)
        except KvorumError as error:
            log.info("node record not published: %s", error)
        await asyncio.sleep(record.INTERVAL_S)
