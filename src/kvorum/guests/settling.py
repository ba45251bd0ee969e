"""What could not be brought to its end now is tried again: when there is quorum, and every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kvorum.store import Store

RETRY_S = 60.0


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
