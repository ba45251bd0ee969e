"""What keeps a node's Corosync at the cluster's configuration, and finishes what a daemon's end broke off.

Each node writes ``corosync.conf`` from the store to its own /etc/corosync when its version has grown, lets
corosync reload, and tells the others (in memory) which version it runs. Who changes the configuration can so
wait until all present nodes follow: a node that joins earlier would meet another version and be thrown out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.cluster.change import CONFIGURATION, Cluster, cluster_on, recover
from kvorum.cluster.host import Host
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.corosync import Cfg, Cmap, Configuration, CorosyncError, DocumentError, judge
from kvorum.interface import Services
from kvorum.store import Store

VERSION_KEY = "corosync-config-version"
_TELL_EVERY_S = 10.0
_logger = logging.getLogger(__name__)


class CorosyncConfiguration:
    """Follows the store's corosync.conf on this node."""

    def __init__(self, store: Store, host: Host) -> None:
        self._store = store
        self._host = host

    async def follow(self) -> None:
        """Apply the present configuration and every later one; tell the running version now and then.

        The telling is a heartbeat: what is published is forgotten after a while.
        """
        changes = self._store.watch(CONFIGURATION)
        pending = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)  # the watch begins before the first look
        try:
            while True:
                await self.apply_and_tell()
                done, _ = await asyncio.wait([pending], timeout=_TELL_EVERY_S)
                if done:
                    pending.result()
                    await self._await_acknowledgement()
                    pending = asyncio.ensure_future(anext(changes))
        finally:
            pending.cancel()

    async def _await_acknowledgement(self) -> None:
        """Let the change be answered first: it is seen before it is on every disk.

        With a node more in its configuration, corosync may take the quorum away that the answer needs.
        """
        try:
            await self._store.transact((), who="corosync.conf follows")
        except KvorumError as error:
            _logger.info("corosync.conf changed and can't be asked after: %s", error)

    async def apply_and_tell(self) -> None:
        """Apply the store's configuration if it is newer, then tell which one runs; trouble is logged."""
        try:
            await asyncio.to_thread(self.apply)  # a frozen corosync would hold the loop
            version = await asyncio.to_thread(running_version)
            if version is not None:
                await self._store.publish(VERSION_KEY, str(version).encode(), ttl=3 * _TELL_EVERY_S)
        except (KvorumError, OSError) as error:
            _logger.warning("corosync.conf: %s", error)

    def apply(self) -> bool:
        """Write and reload a newer configuration of the store's; return whether there was one.

        Only on a node that is in a cluster already: create and join place the first one themselves.
        Raises ``KvorumError`` for one that is refused; the running one then stays.
        """
        file = self._store.read(CONFIGURATION)
        if file is None or not self._host.configuration.exists():
            return False
        old = self._local()
        judgement = judge(old, file.text)
        if old is not None and old.text == file.text:
            return self._reload_if_behind(old.config_version)
        if judgement.errors:
            raise KvorumError("; ".join(judgement.errors))
        if self._store.node not in {node.name for node in Configuration.read(file.text).nodes}:
            raise KvorumError(f"the cluster's configuration no longer has this node '{self._store.node}'")
        self._host.write_configuration(file.text)
        _reload()
        return True

    def _local(self) -> Configuration | None:
        try:
            return Configuration.read(self._host.configuration.read_text())
        except (DocumentError, UnicodeDecodeError):
            return None

    def _reload_if_behind(self, version: int) -> bool:
        """The file is written already; after a broken-off reload corosync may still run the one before."""
        running = running_version()
        if running is None or running >= version:
            return False
        _reload()
        return True


def running_version() -> int | None:
    """The config_version that this node's corosync runs with; ``None`` while it does not run."""
    try:
        with Cmap() as cmap:
            return int(cmap.text("totem.config_version", "0"))
    except (CorosyncError, ValueError):
        return None


async def wait_until_followed(store: Store, version: int, *, timeout: float = 15.0) -> list[str]:
    """Wait until corosync on every present node runs at least ``version``; return who does not yet."""

    async def behind() -> list[str]:
        told = store.published(VERSION_KEY)
        left = [
            m.name for m in store.membership.members if m.online and int(told.get(m.name, b"0")) < version
        ]
        if store.node in left and (await asyncio.to_thread(running_version) or 0) >= version:
            left.remove(store.node)  # alone among two it has no quorum now, and may not be able to tell
        return left

    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while (left := await behind()) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # the store gives no event for what is published
    return left


def _reload() -> None:
    try:
        with Cfg() as cfg:
            cfg.reload()
    except CorosyncError as error:
        raise KvorumError(f"corosync did not reload its configuration: {error}") from error


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the room's services and run its background work while open."""
    cluster = cluster_on(store, paths)
    services.add(Cluster, cluster)
    follower = CorosyncConfiguration(store, cluster.host)
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
