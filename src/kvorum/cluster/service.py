"""The room's running parts: following the configuration, finishing what a daemon's end broke off."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict

from kvorum.cluster.change import Cluster, cluster_on, recover
from kvorum.cluster.following import (
    VERSION_KEY,
    CorosyncConfiguration,
    running_version,
    wait_until_followed,
)
from kvorum.cluster.leave.returned import watch_for_removal
from kvorum.cluster.leave.steps import recover_leave
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.qdevice.changes import Changer
from kvorum.cluster.qdevice.changes import recover as recover_device
from kvorum.cluster.qdevice.corosync import CorosyncVote
from kvorum.cluster.qdevice.follower import DeviceFollower
from kvorum.cluster.qdevice.local import LocalDevice
from kvorum.cluster.relink.changer import Relinker
from kvorum.cluster.rename.anew import daemon_anew
from kvorum.cluster.rename.local import LocalName
from kvorum.cluster.rename.steps import Renaming, recover_rename
from kvorum.cluster.sequence import Journal
from kvorum.cluster.watch.watcher import Watcher
from kvorum.cluster.withdrawal import Withdrawal
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Peers, Services
from kvorum.store import ClusterLog, Membership, Severity, Store

__all__ = ["VERSION_KEY", "CorosyncConfiguration", "running", "running_version", "wait_until_followed"]

RENEW_EVERY_S = 43_200.0
AGAIN_S = 10.0
"""How long after an attempt what is left of a change is tried again."""
_logger = logging.getLogger(__name__)


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the room's services and run its background work while open."""
    cluster = cluster_on(store, paths)
    services.add(Cluster, cluster)
    told = services.find(ClusterLog)

    def warn(sentence: str) -> None:
        if told is not None:
            told.note("root@pam", sentence, Severity.WARNING)

    def note(why: str) -> None:
        warn(f"corosync.conf: {why}")

    follower = CorosyncConfiguration.of(cluster, services.find(Peers), note)
    services.add(CorosyncConfiguration, follower)
    renaming = Renaming(cluster, LocalName(paths, cluster.host), services.find(Peers))
    services.add(Renaming, renaming)
    device = LocalDevice(paths)
    services.add(LocalDevice, device)
    qdevice = DeviceFollower(store, device, running_version)
    services.add(DeviceFollower, qdevice)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_recover(cluster, renaming)),
            group.create_task(follower.follow()),
            group.create_task(watch_for_removal(cluster)),
            group.create_task(renew(store, paths)),
            group.create_task(qdevice.follow()),
            group.create_task(Watcher(store, warn).watch()),
        ]
        if (peers := services.find(Peers)) is not None:
            vote = CorosyncVote(lambda version: wait_until_followed(store, version))
            changer = Changer(store, peers, Journal(paths.state / "qdevice-change.json"), vote)
            services.add(Changer, changer)
            tasks.append(group.create_task(_recover_device(changer)))
            relinker = Relinker(store, peers, lambda version: wait_until_followed(store, version))
            services.add(Relinker, relinker)
            tasks.append(group.create_task(relinker.tend(lambda line: _logger.warning("%s", line))))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _recover(cluster: Cluster, renaming: Renaming) -> None:
    """See to what changes left unfinished, now and whenever one has ended, until nothing is left."""
    while True:
        cluster.ended.clear()
        left = await finish(cluster, renaming)
        try:
            async with asyncio.timeout(AGAIN_S if left else None):
                await cluster.ended.wait()
        except TimeoutError:
            pass


async def finish(cluster: Cluster, renaming: Renaming | None = None) -> bool:
    """Finish or undo what was broken off, and say withdrawals; whether something is left to try again."""

    def log(line: str) -> None:
        _logger.warning("%s", line)

    async with cluster.changing:
        try:
            await recover_leave(cluster, log)
            await recover(cluster, log)
            if renaming is not None and await recover_rename(renaming, log):
                daemon_anew(0.0)
        except (KvorumError, OSError) as error:
            _logger.error("%s", error)
    unsaid = await _say_until_a_change_begins(cluster, log)
    try:
        return cluster.journal.load() is not None or unsaid
    except KvorumError:
        return unsaid  # an admin has to look at it


async def _say_until_a_change_begins(cluster: Cluster, log: Callable[[str], None]) -> bool:
    """Say withdrawals; a join that begins meanwhile must not be taken off by one of an earlier join."""
    cluster.begun.clear()
    said = asyncio.ensure_future(cluster.withdrawals.say(_say_withdrawal, log))
    begun = asyncio.ensure_future(cluster.begun.wait())
    try:
        await asyncio.wait([said, begun], return_when=asyncio.FIRST_COMPLETED)
        return said.result() if said.done() else True
    finally:
        said.cancel()
        begun.cancel()


async def _say_withdrawal(withdrawal: Withdrawal) -> None:
    from kvorum.cluster.peer import NotedPeer  # aiohttp is for those who need it

    await NotedPeer(withdrawal.node, asdict(withdrawal)).withdraw()


async def renew(store: Store, paths: Paths, every_s: float = RENEW_EVERY_S) -> None:
    """Twice a day see to this node's certificate, which is renewed 30 days before it runs out; and at once
    when the node's address is another one."""
    memberships = store.watch_membership()
    changed = asyncio.ensure_future(anext(memberships))

    def place(membership: Membership) -> tuple[str, str]:
        return membership.cluster or "", membership.address_of(store.node)

    before, until = place(store.membership), time.monotonic() + every_s
    try:
        while True:
            await asyncio.wait([changed], timeout=max(until - time.monotonic(), 0))
            moved = False
            if changed.done():
                now = place(changed.result())
                # A create or join makes the files itself, when its time has come.
                moved = all(before) and all(now) and before[0] == now[0] and before[1] != now[1]
                before = now if all(now) else before
                changed = asyncio.ensure_future(anext(memberships))
            if time.monotonic() < until and not moved:
                continue
            until = time.monotonic() + every_s
            try:
                if store.membership.quorate:
                    await ensure_node_files(store, paths)
            except (KvorumError, OSError) as error:
                _logger.warning("this node's files can't be renewed now: %s", error)
    finally:
        changed.cancel()


async def _recover_device(changer: Changer) -> None:
    try:
        await recover_device(changer, lambda line: _logger.warning("%s", line))
    except (KvorumError, OSError) as error:
        _logger.error("%s", error)
