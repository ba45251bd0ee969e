"""A SPICE client, written from the protocol's description (spice-space.org, "Spice Protocol"): it links
channels, does what a server asks of it, and looks at pictures. What carries its bytes is another class's."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from websocket_ends import Ends

MAIN, DISPLAY = 1, 2
OK, PERMISSION_DENIED = 0, 7
BY_PASSWORD = 1
AUTH_SELECTION, MINI_HEADER = 1 << 0, 1 << 3
USUAL = AUTH_SELECTION | MINI_HEADER
"""The common capabilities of a client of today."""
_PREFERRED_COMPRESSION = 1 << 6
"""A capability of the display's channel."""

_SET_ACK, _PING, _MAIN_INIT = 3, 4, 103
_DRAW_COPY, _SURFACE_CREATE = 304, 314
_ACK_SYNC, _ACK, _PONG = 1, 2, 3
_DISPLAY_INIT, _COMPRESS_BY = 101, 103
_NOT_AT_ALL = b"\1"
_BITMAP, _PALETTE_IN_CACHE, _CLIP_BY_RECTANGLES = 0, 2, 1


@dataclass(frozen=True)
class Picture:
    """What a display showed."""

    width: int
    height: int
    """Of the whole screen."""
    colours: int
    """How many different pixels the part had that was drawn."""


class SpiceChannel:
    """One channel of a client."""

    def __init__(self) -> None:
        self._window = self._taken = 0

    async def exactly(self, size: int) -> bytes:
        """So many bytes of the server's."""
        raise NotImplementedError

    async def put(self, data: bytes) -> None:
        """Give the server bytes."""
        raise NotImplementedError

    async def link(self, password: str, kind: int = MAIN, connection: int = 0, caps: int = USUAL) -> int:
        """Ask for the channel; what the server says in the end, 0 being yes."""
        async with asyncio.timeout(30):
            await self.put(hello(kind, connection, caps))
            head = await self.exactly(16)
            reply = await self.exactly(struct.unpack_from("<I", head, 12)[0])
            await self.put(struct.pack("<I", BY_PASSWORD) + _encrypted(reply[4:166], password))
            return int(struct.unpack("<I", await self.exactly(4))[0])

    async def session_number(self) -> int:
        """The number that a new session is told by the main channel's first message."""
        async with asyncio.timeout(30):
            while True:
                kind, body = await self.message()
                if kind == _MAIN_INIT:
                    return int(struct.unpack_from("<I", body)[0])

    async def picture(self) -> Picture:
        """The display's first picture of more than one colour."""
        async with asyncio.timeout(60):
            await self.say(_DISPLAY_INIT, struct.pack("<BqBi", 1, 1 << 20, 1, 1 << 20))
            await self.say(_COMPRESS_BY, _NOT_AT_ALL)
            width = height = 0
            while True:
                kind, body = await self.message()
                if kind == _SURFACE_CREATE:
                    _, width, height, _, _ = struct.unpack("<IIIII", body)
                elif kind == _DRAW_COPY and (colours := len(set(_pixels(body)))) > 1:
                    return Picture(width, height, colours)

    async def message(self) -> tuple[int, bytes]:
        """The next message with a short header; what the server asks of every client is done."""
        kind, size = struct.unpack("<HI", await self.exactly(6))
        body = await self.exactly(size)
        if kind == _SET_ACK:
            generation, self._window = struct.unpack_from("<II", body)
            self._taken = 0
            await self.say(_ACK_SYNC, struct.pack("<I", generation))
        elif kind == _PING:
            await self.say(_PONG, body[:12])
        self._taken += 1
        if self._window and self._taken % self._window == 0:
            await self.say(_ACK)
        return kind, body

    async def say(self, kind: int, body: bytes = b"") -> None:
        """Send one message."""
        await self.put(struct.pack("<HI", kind, len(body)) + body)


class Client(Ends, SpiceChannel):
    """Over the websocket that the daemon has, as which it is given to it."""

    def __init__(self) -> None:
        SpiceChannel.__init__(self)
        Ends.__init__(self)

    async def exactly(self, size: int) -> bytes:
        return await self.stream.exactly(size)


def hello(kind: int, connection: int = 0, caps: int = USUAL) -> bytes:
    """What a client says first."""
    words = (caps, _PREFERRED_COMPRESSION) if kind == DISPLAY else (caps,)
    body = struct.pack(f"<IBBIII{len(words)}I", connection, kind, 0, 1, len(words) - 1, 18, *words)
    return struct.pack("<4sIII", b"REDQ", 2, 2, len(body)) + body


def _encrypted(key: bytes, password: str) -> bytes:
    public = serialization.load_der_public_key(key)
    assert isinstance(public, rsa.RSAPublicKey)
    how = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # the protocol's
    return public.encrypt(password.encode() + b"\0", how)


def _pixels(body: bytes) -> tuple[int, ...]:
    """The pixels of 32 bits that a copy brings, as a bitmap with nothing in front of them but its head."""
    at = 4 + 16  # the surface, where it goes
    clip, at = body[at], at + 1
    if clip == _CLIP_BY_RECTANGLES:
        at += 4 + 16 * int(struct.unpack_from("<I", body, at)[0])
    (image,) = struct.unpack_from("<I", body, at)
    _, kind, _, _, height = struct.unpack_from("<QBBII", body, image)
    assert kind == _BITMAP, f"the server compressed it by {kind}"
    _, flags, _, _, stride = struct.unpack_from("<BBIII", body, image + 18)
    data = image + 18 + 14 + (8 if flags & _PALETTE_IN_CACHE else 4)
    return struct.unpack_from(f"<{stride * height // 4}I", body, data)
