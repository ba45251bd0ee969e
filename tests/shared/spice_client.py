"""A SPICE client as far as a channel's link, over the websocket that the daemon has."""

from __future__ import annotations

import asyncio
import struct

from kvorum.guests.console import spice_link
from kvorum.guests.console.rfb import ByteStream

MAIN, DISPLAY = 1, 2


class Client:
    """One channel of a client, as the daemon's websocket; it speaks the link's messages by itself."""

    def __init__(self) -> None:
        self.typed: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.shown: asyncio.Queue[bytes] = asyncio.Queue()
        self.stream = ByteStream(self.shown.get)

    async def receive(self) -> bytes | None:
        return await self.typed.get()

    async def send(self, data: bytes) -> None:
        await self.shown.put(data)

    async def link(
        self, password: str, kind: int = MAIN, connection: int = 0, caps: int = spice_link.USUAL
    ) -> int:
        """Ask for a channel; what the server says in the end, 0 being yes."""
        async with asyncio.timeout(30):
            await self.typed.put(spice_link.hello(kind, connection, caps=caps))
            head = await self.stream.exactly(16)
            reply = head + await self.stream.exactly(struct.unpack_from("<I", head, 12)[0])
            await self.typed.put(spice_link.answer(reply, password))
            (said,) = struct.unpack("<I", await self.stream.exactly(4))
        return int(said)

    async def session_number(self) -> int:
        """The number that a new session is told by the main channel's first message, SPICE_MSG_MAIN_INIT."""
        async with asyncio.timeout(30):
            while True:
                kind, size = struct.unpack("<HI", await self.stream.exactly(6))
                body = await self.stream.exactly(size)
                if kind == 103:
                    return int(struct.unpack_from("<I", body)[0])

    async def close(self) -> None:
        await self.typed.put(None)
