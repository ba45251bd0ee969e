"""Guests of one node started and shut down together, in the order and with the delays of ``startup``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from kvorum.core.errors import KvorumError
from kvorum.guests.config.hardware import Startup
from kvorum.guests.errors import GuestLocked
from kvorum.guests.manager import GuestManager
from kvorum.guests.order import Group, backwards, groups
from kvorum.interface import TaskLog

WORKERS = 4
"""Guests that are worked on at the same time, unless somebody says otherwise."""
SHUTDOWN_TIMEOUT_S = 180
"""How long a guest without a ``down`` of its own may take."""
One = Callable[[int, TaskLog], Awaitable[None]]


async def start_in_order(
    manager: GuestManager, vmids: Iterable[int], log: TaskLog, workers: int = WORKERS
) -> None:
    """Start guests; one that runs already, or has gone to another node meanwhile, is passed over."""

    async def one(vmid: int, log: TaskLog) -> None:
        if manager.running(vmid) is not None:
            log.line(f"VM {vmid} runs already")
            return
        owner = manager.registry.owner(vmid)
        if owner not in (None, manager.store.node):
            log.line(f"VM {vmid} is on node '{owner}' now")
            return
        log.line(f"Starting VM {vmid}")
        await manager.start(vmid)

    steps = groups({vmid: _startup(manager, vmid) for vmid in vmids})
    await walk_groups(steps, workers, one, log)


async def shut_down_in_order(
    manager: GuestManager,
    vmids: Iterable[int],
    log: TaskLog,
    workers: int = WORKERS,
    *,
    timeout_s: float = SHUTDOWN_TIMEOUT_S,
    force: bool = True,
    host_goes: bool = False,
) -> None:
    """Shut guests down in reverse order, each within its ``down``, else ``timeout_s``; then, with ``force``,
    the plug is pulled. When the host goes, neither locks nor quorum are asked for, and what holds a guest is
    waited for as long."""

    async def one(vmid: int, log: TaskLog) -> None:
        own = _startup(manager, vmid).down_s
        seconds = timeout_s if own is None else own
        log.line(f"Stopping VM {vmid} (timeout = {seconds:g} seconds)")
        deadline = time.monotonic() + seconds
        while True:
            try:
                await manager.shutdown(vmid, timeout=seconds, force=force, host_goes=host_goes)
                return
            except GuestLocked as error:
                if not host_goes or time.monotonic() > deadline:
                    raise
                log.line(f"{error}")  # it took 10 s to say so
                if manager.running(vmid) is None:
                    return

    steps = backwards({vmid: _startup(manager, vmid) for vmid in vmids})
    await walk_groups(steps, workers, one, log)


async def walk_groups(steps: Sequence[Group], workers: int, one: One, log: TaskLog) -> None:
    """Do ``one`` for each guest, a group after the other."""
    for number, group in enumerate(steps):
        await walk(group.vmids, workers, one, log)
        if group.pause_s and number + 1 < len(steps):
            log.line(f"waiting {group.pause_s} s before the next guests")
            await asyncio.sleep(group.pause_s)


async def walk(vmids: Sequence[int], workers: int, one: One, log: TaskLog) -> None:
    """Do ``one`` for each guest, ``workers`` at a time; what fails is a warning, and the others go on."""
    gate, done = asyncio.Semaphore(workers), 0

    async def guarded(vmid: int) -> None:
        nonlocal done
        async with gate:
            try:
                await one(vmid, log)
            except KvorumError as error:
                log.warn(f"VM {vmid}: {error}")
        done += 1
        log.progress(done / len(vmids))

    async with asyncio.TaskGroup() as group:
        for vmid in vmids:
            group.create_task(guarded(vmid), name=f"guest {vmid}")


def starts_at_boot(manager: GuestManager, vmid: int) -> bool:
    """Whether a guest has ``onboot``; one whose configuration can't be read is tried, which says why."""
    try:
        config = manager.registry.config(vmid)
    except KvorumError:
        return True
    return config.flag("onboot") and not config.template


def _startup(manager: GuestManager, vmid: int) -> Startup:
    """When a guest's turn is; one whose configuration can't be read has none of its own."""
    try:
        return manager.registry.config(vmid).startup
    except KvorumError:
        return Startup(None, None, None)
