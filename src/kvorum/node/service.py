"""The room's running parts: this node's record for all pages, and its history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.node import network_sight, record
from kvorum.node.facts import Sampler
from kvorum.node.history import Databases, Recorder
from kvorum.node.host_files import HostFiles
from kvorum.node.network_apply import NetworkChange
from kvorum.node.services import ServiceControl
from kvorum.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the room's services and publish again and again while open; at the end save the history."""
    sampler = Sampler()
    recorder = Recorder(store, sampler, Databases(paths.run / "rrd", paths.state / "rrd"))
    control = ServiceControl()
    services.add(Sampler, sampler)
    services.add(Recorder, recorder)
    services.add(ServiceControl, control)
    files = HostFiles()
    services.add(HostFiles, files)
    change = NetworkChange(files, lambda: network_sight.look(store))
    services.add(NetworkChange, change)
    work = [
        asyncio.create_task(_recover_network(change), name="network"),
        asyncio.create_task(_publish(sampler, store), name="publish node record"),
        asyncio.create_task(recorder.run(), name="record history"),
    ]
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await recorder.close()
        await control.close()


async def _recover_network(change: NetworkChange) -> None:
    try:
        await change.recover()
    except KvorumError as error:
        log.error("the network's configuration: %s", error)


async def _publish(sampler: Sampler, store: Store) -> None:
    """Sample and publish at each interval; a store that is away only costs that round."""
    while True:
        try:
            await store.publish(record.KEY, record.encode(sampler.sample()), record.TTL_S)
        except KvorumError as error:
            log.info("node record not published: %s", error)
        await asyncio.sleep(record.INTERVAL_S)
