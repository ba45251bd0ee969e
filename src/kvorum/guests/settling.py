"""Work that must come to its end: what can't now is tried again when there is quorum, and every minute."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kvorum.core.errors import KvorumError
from kvorum.guests.errors import GuestLocked
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import TaskLog

log = logging.getLogger(__name__)

RETRY_S = 60.0
QEMU_END_S = 5.0
T = TypeVar("T")


class Settler(ABC):
    """Settles what changes of one kind have left of this node's guests."""

    settles: str
    """What it settles, for the log."""

    def __init__(self, manager: GuestManager) -> None:
        self._manager = manager
        self._store = manager.store
        self._left = asyncio.Event()
        """Set where something waits to be settled."""

    @abstractmethod
    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Settle what an earlier daemon, or a failure of before, has left; while there is quorum.

        What can't be settled now waits for ``keep_settling``.
        """

    def settle_later(self) -> None:
        """Have ``keep_settling`` look at what there is, when there is quorum."""
        self._left.set()

    async def keep_settling(self) -> None:
        """Try again what could not be settled: when there is quorum, and every minute."""
        while True:
            await self._left.wait()
            self._left.clear()
            async for membership in self._store.watch_membership():
                if membership.quorate:
                    break
            await self.settle_earlier()
            if self._left.is_set():
                await asyncio.sleep(RETRY_S)

    async def _settle_each(
        self, what: str, concerned: Callable[[int], bool], settle: Callable[[int], Awaitable[None]]
    ) -> None:
        """Settle ``what`` of each guest here that is ``concerned`` and that nothing holds.

        What fails before it is begun is logged, and waits.
        """
        for vmid in self._manager.registry.vmids():
            try:
                if concerned(vmid):
                    async with self._manager.exclusive(vmid, f"clean up after {what}"):
                        await settle(vmid)
            except GuestLocked:
                continue  # it is under way
            except KvorumError as error:
                log.info("VM %d: %s: %s", vmid, what, error)
                self._left.set()


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
