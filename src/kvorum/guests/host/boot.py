"""Guests that come up with their host and go down with it, as ``pve-guests.service`` asks.

Coming up waits for quorum: until then nobody knows which guests are this node's. It is a task that outlives
its daemon: a mark in /run, which a boot clears, has the next daemon go on. Going down needs no quorum, since
it changes no configuration, and ends a coming up that is still under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from kvorum.core.errors import DeadlineExceeded, KvorumError, NoQuorum
from kvorum.guests.manager import GuestManager
from kvorum.guests.together import shut_down_in_order, start_in_order, starts_at_boot
from kvorum.interface import TaskLog, Work
from kvorum.tasks import TaskRunner

log = logging.getLogger(__name__)

QUORUM_DEADLINE_S = 3600.0
"""A cluster whose power comes back has quorum in minutes; what comes later is an admin's to decide."""
USER = "root@pam"


class HostGuests:
    """What this node's guests do when their host comes up and goes down."""

    def __init__(
        self, manager: GuestManager, tasks: TaskRunner, mark: Path, settle: Callable[[], Awaitable[None]]
    ) -> None:
        self._manager = manager
        self._tasks = tasks
        self._mark = mark
        self._settle = settle
        """Ends what was under way when the power went, whose locks would keep guests off."""
        self._coming_up = ""
        """The task that starts them, while it runs."""
        self._leaving = False

    def resume(self) -> None:
        """Go on with a coming up that an earlier daemon has not ended."""
        if self._mark.exists():
            log.info("going on with the guests that start at boot")
            self.come_up()

    def leave(self) -> None:
        """The daemon ends: what is under way is the next one's."""
        self._leaving = True

    def come_up(self) -> str:
        """Begin the task that starts the guests with ``onboot``, and return its UPID; one is enough."""
        if not self._coming_up:
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.touch()
            self._coming_up = self._tasks.start(Work("startall", "", self._start), USER)
        return self._coming_up

    def going_down(self) -> Work:
        """The task that shuts all guests down."""
        return Work("stopall", "", self._stop)

    async def _start(self, said: TaskLog) -> None:
        try:
            await self._quorum(said)
            await self._settle()
            # Which are ours is known now: one may have been moved to another node while this one was off.
            registry = self._manager.registry
            vmids = [vmid for vmid in registry.vmids() if starts_at_boot(self._manager, vmid)]
            if not vmids:
                said.line("no guest of this node starts at boot")
            await start_in_order(self._manager, vmids, said)
        finally:
            self._coming_up = ""
            if not self._leaving:
                self._mark.unlink(missing_ok=True)

    async def _quorum(self, said: TaskLog) -> None:
        membership = self._manager.store.membership
        if membership.quorate:
            return
        said.line(f"waiting for quorum, {QUORUM_DEADLINE_S / 60:g} minutes at most; {membership.reason}")
        try:
            async with asyncio.timeout(QUORUM_DEADLINE_S):
                async for membership in self._manager.store.watch_membership():
                    if membership.quorate:
                        said.line("there is quorum")
                        return
        except TimeoutError:
            pass
        node = self._manager.store.node
        raise NoQuorum(
            f"no quorum within {QUORUM_DEADLINE_S / 60:g} minutes, so the guests that start at boot were not "
            f"started; once there is: pvesh create /nodes/{node}/startall"
        )

    async def _stop(self, said: TaskLog) -> None:
        if self._coming_up:
            said.line("the guests that were being started at boot are not waited for")
            with contextlib.suppress(KvorumError, DeadlineExceeded):
                await self._tasks.stop(self._coming_up, USER)
        self._mark.unlink(missing_ok=True)
        vmids = [guest.vmid for guest in self._manager.all_running() if not guest.record.incoming]
        await shut_down_in_order(self._manager, vmids, said, host_goes=True)
