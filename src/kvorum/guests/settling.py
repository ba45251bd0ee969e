"""Work that must come to its end: what can't now is tried again when there is quorum, and every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kvorum.core.errors import KvorumError
from kvorum.interface import TaskLog
from kvorum.store import Store

RETRY_S = 60.0
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
