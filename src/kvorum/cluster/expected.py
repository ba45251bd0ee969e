"""Has corosync expect other votes, and waits for the quorum that comes of it."""

from __future__ import annotations

import asyncio

from kvorum.core.errors import DeadlineExceeded
from kvorum.corosync import Votequorum
from kvorum.store import Store


async def wait_quorate(store: Store) -> None:
    """Until the store says that changes are possible; raises ``DeadlineExceeded`` after 10 s."""
    try:
        async with asyncio.timeout(10):
            async for membership in store.watch_membership():
                if membership.quorate:
                    return
    except TimeoutError:
        pass
    raise DeadlineExceeded(f"no quorum within 10 s: {store.membership.reason}")


def expect_votes(count: int) -> None:
    """Have corosync expect so many votes; not on the event loop, which a frozen corosync would hold."""
    with Votequorum() as votes:
        votes.set_expected(count)
