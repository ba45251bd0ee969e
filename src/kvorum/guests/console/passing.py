"""A console's way into QEMU: one end of a socket pair handed over by QMP, and bytes passed both ways."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal

from kvorum.core.waiting import until_first
from kvorum.guests.console.ending import why_ended
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import WebSocket

CHUNK_BYTES = 64 << 10
HANDSHAKE_DEADLINE_S = 10.0
_numbers = itertools.count()


class Display:
    """A connection to QEMU's display."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes | None:
        """What it says next; ``None`` at its end."""
        return await self._reader.read(CHUNK_BYTES) or None

    async def write(self, data: bytes) -> None:
        """Tell it something; waits while it does not listen."""
        self._writer.write(data)
        await self._writer.drain()


@contextlib.asynccontextmanager
async def connected(guest: RunningGuest, protocol: Literal["vnc", "spice"]) -> AsyncIterator[Display]:
    """A connection for the block, made by handing QEMU one end; raises ``GuestError``."""
    reader, writer = await _connect(guest, protocol)
    try:
        yield Display(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connect(
    guest: RunningGuest, protocol: Literal["vnc", "spice"]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    name = f"console-{next(_numbers)}"
    try:
        with theirs:
            await guest.monitor.give(theirs.fileno(), "getfd", {"fdname": name})
        await guest.monitor.execute("add_client", {"protocol": protocol, "fdname": name, "skipauth": True})
        ours.setblocking(False)
        return await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise


async def passed(
    socket: WebSocket,
    manager: GuestManager,
    guest: RunningGuest,
    display: Display,
    pieces: Callable[[bytes], Iterable[bytes]] = lambda data: (data,),
) -> str:
    """Pass bytes both ways until either ends; why it ended, empty when the client went.

    ``pieces`` says how to cut what goes to the client into messages.
    """

    async def shown() -> None:
        while (data := await display.read()) is not None:
            for piece in pieces(data):
                await socket.send(piece)

    async def typed() -> None:
        while (data := await socket.receive()) is not None:
            await display.write(data)

    showing = asyncio.create_task(shown(), name=f"show VM {guest.vmid}")
    typing = asyncio.create_task(typed(), name=f"type VM {guest.vmid}")
    done = await until_first(showing, typing)
    if typing in done and typing.exception() is None:
        return ""  # the client has closed
    if showing in done and showing.exception() is not None and not guest.process.ended.is_set():
        return ""  # the client is gone
    return await why_ended(manager, guest)
