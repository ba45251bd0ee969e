"""A guest that stands still, or whose file systems are frozen, for the moment in which its disks are kept.

Whatever becomes of that moment the guest goes on. A daemon that dies in it leaves a word in the guest's
record (``RunRecord.standing``), by which the next one lets the guest go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.guests.errors import AgentAbsent, QmpError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.snapshots import memory
from kvorum.guests.unfinished import DaemonLog
from kvorum.interface import TaskLog

log = logging.getLogger(__name__)

FREEZE_DEADLINE_S = 60.0
TRIES = 3


class Standstill:
    """Around the moment: ``async with Standstill(…) as still``; left, the guest goes on as it did before."""

    def __init__(self, manager: GuestManager, guest: RunningGuest, task_log: TaskLog) -> None:
        self._manager = manager
        self._guest = guest
        self._log = task_log
        self._ran = False
        self._frozen = False

    async def __aenter__(self) -> Standstill:
        self._ran = await self._guest.refresh() == "running"
        if self._ran:
            self._note(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self._go_on())

    async def freeze(self) -> None:
        """Have the guest's agent bring its file systems to rest, if it has one that answers; else go on."""
        if not (self._ran and self._guest.config.agent.freezes):
            return
        self._frozen = True
        try:
            agent = self._manager.agent(self._guest.vmid)
            await agent.ask("guest-fsfreeze-freeze", deadline_s=FREEZE_DEADLINE_S)
        except KvorumError as error:
            self._frozen = not isinstance(error, AgentAbsent)
            self._log.line(f"the guest's file systems are not frozen: {error}")

    async def pause(self) -> None:
        """Have the guest stand still now."""
        if self._ran:
            await self._guest.pause()

    def stay(self) -> None:
        """Have the guest not go on at the end: something else has been decided about it."""
        self._ran = False

    async def _go_on(self) -> None:
        goes_on = True
        try:
            if self._ran:
                await insist(self._resume)
        except KvorumError as error:
            goes_on = self._guest.monitor.closed.is_set()
            self._log.warn(f"VM {self._guest.vmid} could not be let go on: {error}; try qm resume")
        if self._frozen:
            await _thaw(self._manager, self._guest.vmid, self._log)
        if self._ran and goes_on:
            self._note(False)

    async def _resume(self) -> None:
        if await self._guest.refresh() != "running":
            await self._guest.resume()

    def _note(self, standing: bool) -> None:
        record = msgspec.structs.replace(self._guest.record, standing=standing)
        if self._manager.running(self._guest.vmid) is self._guest:
            self._manager.workshop.note(self._guest, record)


async def let_go_on(manager: GuestManager, guest: RunningGuest) -> None:
    """Let a guest go on that an earlier daemon had stand still when it died."""
    if not guest.record.standing:
        return
    await insist(lambda: memory.give_up(guest.monitor))
    if await guest.refresh() != "running":
        await guest.resume()
    if guest.config.agent.freezes:
        await _thaw(manager, guest.vmid, DaemonLog())
    manager.workshop.note(guest, msgspec.structs.replace(guest.record, standing=False))
    log.info("VM %d: goes on; it stood still for something that was interrupted", guest.vmid)


async def insist(work: Callable[[], Awaitable[None]]) -> None:
    """Do what must be done; a refusal is taken only after some tries. Raises what the last raised."""
    for left in reversed(range(TRIES)):
        try:
            await work()
            return
        except QmpError:
            if not left:
                raise


async def _thaw(manager: GuestManager, vmid: int, said: TaskLog) -> None:
    """The guest's agent takes no other command while it is frozen, and may be slow to wake."""
    for left in reversed(range(TRIES)):
        try:
            await manager.agent(vmid).ask("guest-fsfreeze-thaw", deadline_s=FREEZE_DEADLINE_S)
            return
        except KvorumError as error:
            if not left:
                said.warn(f"VM {vmid}: its agent does not say that its file systems go on: {error}")
