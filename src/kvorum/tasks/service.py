"""The tasks room at work in pvedaemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.store import ClusterLog, Severity, Store
from kvorum.tasks.archive import Archive
from kvorum.tasks.cluster_tasks import TaskNews
from kvorum.tasks.consoles import Consoles
from kvorum.tasks.runner import TaskRunner


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register the ``TaskRunner`` and ``Consoles``; at the end running tasks are cancelled in peace."""
    changed = asyncio.Event()
    archive = Archive(paths.log / "tasks")
    told = ClusterLog(store, "pvedaemon")

    def note(user: str, text: str, well: bool) -> None:
        told.note(user, text, Severity.INFO if well else Severity.ERROR)

    runner = TaskRunner(store.node, archive, changed.set, note)
    await asyncio.to_thread(runner.recover)
    services.add(TaskRunner, runner)
    services.add(Consoles, Consoles())
    services.add(Archive, archive)
    services.add(ClusterLog, told)
    telling = [
        asyncio.create_task(TaskNews(store, runner, changed).run(), name="publish tasks"),
        asyncio.create_task(told.run(), name="publish the cluster's log"),
    ]
    try:
        yield
    finally:
        await runner.shut_down()
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)
