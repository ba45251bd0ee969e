"""Work that must come to its end: what can't now is tried again when there is quorum, and every minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kvorum.core.errors import KvorumError
from kvorum.guests.errors import GuestLocked
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import TaskLog
from kvorum.store import Store

log = logging.getLogger(__name__)

RETRY_S = 60.0
QEMU_END_S = 5.0
T = TypeVar("T")


async def keep_settling(store: Store, left: asyncio.Event, settle: Callable[[], Awaitable[None]]) -> None:
    """Settle whenever ``left`` says that something waits; ``settle`` sets it where something still does."""
    while True:
        await left.wait()
        left.clear()
        async for membership in store.watch_membership():
            if membership.quorate:
                break
        await settle()
        if left.is_set():
            await asyncio.sleep(RETRY_S)


async def settle_each(
    manager: GuestManager,
    left: asyncio.Event,
    what: str,
    concerned: Callable[[int], bool],
    settle: Callable[[int], Awaitable[None]],
) -> None:
    """Settle ``what`` of each guest here that is ``concerned`` and that nothing holds.

    What fails before it is begun is logged, and waits by ``left``.
    """
    for vmid in manager.registry.vmids():
        try:
            if concerned(vmid):
                async with manager.exclusive(vmid, f"clean up after {what}"):
                    await settle(vmid)
        except GuestLocked:
            continue  # it is under way
        except KvorumError as error:
            log.info("VM %d: %s: %s", vmid, what, error)
            left.set()


async def alive(manager: GuestManager, vmid: int) -> RunningGuest | None:
    """The guest's QEMU; one whose connection is gone is waited for a moment, until it is gone too."""
    guest = manager.running(vmid)
    if guest is not None and guest.monitor.closed.is_set():
        await guest.process.wait(QEMU_END_S)
    return manager.running(vmid) if guest is not None and not guest.process.ended.is_set() else None


async def to_its_end(work: Awaitable[T]) -> T:
    """Wait for work that must not be broken off; a cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done() and task.cancelled():
                raise
            cancelled = True
        except BaseException:
            break
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()


async def quiet(work: Awaitable[None], log: TaskLog) -> None:
    """What it raises is a warning."""
    try:
        await work
    except (KvorumError, TimeoutError) as error:
        log.warn(str(error))
