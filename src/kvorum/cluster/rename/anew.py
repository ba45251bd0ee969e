"""Starts pvedaemon anew from within: what it has noted of itself at its start has the node's former name."""

from __future__ import annotations

import asyncio
import logging

from kvorum.systemd import Systemd

UNIT = "pvedaemon.service"
_logger = logging.getLogger(__name__)
_under_way: set[asyncio.Task[None]] = set()


def daemon_anew(after_s: float) -> None:
    """Have systemd start this daemon anew so many seconds later."""

    async def anew() -> None:
        await asyncio.sleep(after_s)
        async with Systemd() as systemd:
            await systemd.enqueue_restart(UNIT)

    task = asyncio.get_running_loop().create_task(anew())
    _under_way.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("pvedaemon can't be started anew, do it by hand: %s", error)
