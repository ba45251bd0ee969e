"""Tells a node that takes long from one that is dead, while an answer of it is awaited.

HTTP/1.1 has no question for that, and a kernel acknowledges for processes that stand still. So as long as an
answer is awaited, a new TLS connection is tried again and again: only a living pveproxy completes one. The
knocks are shared by all who wait for the same node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kvorum.core.errors import KvorumError, Unreachable

PATIENCE_S = 1.0
"""So long an answer may take before the node is knocked at, and so long is between two knocks."""
KNOCK_S = 1.4
"""A knock that is not answered within this time was the last: with ``PATIENCE_S`` less than 3 s in all."""

Knock = Callable[[str], Awaitable[None]]
"""Returns when the node lives; raises ``OSError`` or never returns when it does not. It may be cancelled."""


@dataclass(slots=True)
class _Door:
    """One node that somebody waits for."""

    waiting: set[asyncio.Timeout] = field(default_factory=set)
    knocking: asyncio.Task[None] | None = None


class Knocker:
    """Watches nodes that answers are awaited from; ``knock`` is one try."""

    def __init__(self, knock: Knock) -> None:
        self._knock = knock
        self._doors: dict[str, _Door] = {}

    @asynccontextmanager
    async def awaiting(self, node: str, address: str) -> AsyncIterator[None]:
        """While open, the node is watched. Raises ``Unreachable`` inside as soon as it is found dead."""
        door = self._doors.setdefault(node, _Door())
        try:
            async with asyncio.timeout(None) as wait:
                door.waiting.add(wait)
                if door.knocking is None:
                    door.knocking = asyncio.create_task(self._watch(node, door), name=f"knock at {node}")
                try:
                    yield
                finally:
                    door.waiting.discard(wait)
                    if not door.waiting and door.knocking is not None:
                        door.knocking.cancel()
                        door.knocking = None
                    if not door.waiting and self._doors.get(node) is door:
                        del self._doors[node]
        except TimeoutError:
            if wait.expired():
                raise Unreachable(f"node '{node}' ({address}) does not answer any more") from None
            raise

    async def _watch(self, node: str, door: _Door) -> None:
        while True:
            await asyncio.sleep(PATIENCE_S)
            if not await self._lives(node):
                break
        door.knocking = None
        now = asyncio.get_running_loop().time()
        for wait in door.waiting:
            wait.reschedule(now)
        door.waiting.clear()

    async def _lives(self, node: str) -> bool:
        """Whether the node answers. One that refuses the connection does: its pveproxy is being restarted."""
        try:
            async with asyncio.timeout(KNOCK_S):
                await self._knock(node)
        except ConnectionError:
            return True
        except (
            OSError,
            KvorumError,
        ):  # a TimeoutError is an OSError; the other: it was taken from the cluster
            return False
        return True
