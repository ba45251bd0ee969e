"""The room's running parts: following the configuration, finishing what a daemon's end broke off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.cluster.change import Cluster, cluster_on, recover
from kvorum.cluster.following import (
    VERSION_KEY,
    CorosyncConfiguration,
    running_version,
    wait_until_followed,
)
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Peers, Services
from kvorum.store import ClusterLog, Severity, Store

__all__ = ["VERSION_KEY", "CorosyncConfiguration", "running", "running_version", "wait_until_followed"]

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the room's services and run its background work while open."""
    cluster = cluster_on(store, paths)
    services.add(Cluster, cluster)
    told = services.find(ClusterLog)

    def note(why: str) -> None:
        if told is not None:
            told.note("root@pam", f"corosync.conf: {why}", Severity.WARNING)

    follower = CorosyncConfiguration.of(cluster, services.find(Peers), note)
    services.add(CorosyncConfiguration, follower)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_recover(cluster)), group.create_task(follower.follow())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _recover(cluster: Cluster) -> None:
    try:
        await recover(cluster, lambda line: _logger.warning("%s", line))
    except (KvorumError, OSError) as error:
        _logger.error("%s", error)
