"""A console's websocket without a server: both of its ends in one process."""

from __future__ import annotations

import asyncio

from kvorum.guests.console.rfb import ByteStream


class Ends:
    """What the daemon has is this itself: it receives what is ``put`` here, and sends to ``stream``."""

    def __init__(self) -> None:
        self.typed: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.shown: asyncio.Queue[bytes] = asyncio.Queue()
        self.stream = ByteStream(self.shown.get)

    async def receive(self) -> bytes | None:
        return await self.typed.get()

    async def send(self, data: bytes) -> None:
        await self.shown.put(data)

    async def put(self, data: bytes) -> None:
        """Say something to the daemon."""
        await self.typed.put(data)

    async def close(self) -> None:
        """Go, as a client does."""
        await self.typed.put(None)
