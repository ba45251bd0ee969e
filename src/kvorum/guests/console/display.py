"""A guest's display over a websocket, and a picture of it.

QEMU listens nowhere for consoles (``-vnc none``): each gets one end of a socket pair over QMP, so that there
is nothing that another guest or user could reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.guests.console.ending import why_ended
from kvorum.guests.console.rfb import ByteStream, admit, enter
from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import WebSocket

CHUNK_BYTES = 64 << 10
HANDSHAKE_DEADLINE_S = 10.0
_numbers = itertools.count()


async def show(
    socket: WebSocket, manager: GuestManager, guest: RunningGuest, password: str, *, demanded: bool
) -> str:
    """Pass a guest's display on to a client until either ends; why it ended, empty when the client went.

    Raises ``KvorumError`` for a client that does not know the password.
    """
    client = ByteStream(socket.receive)
    try:
        async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
            await admit(client, socket.send, password, demanded=demanded)
    except TimeoutError:
        raise KvorumError(f"the client said nothing for {HANDSHAKE_DEADLINE_S:g} s") from None
    reader, writer = await _connect(guest)

    async def from_display() -> bytes | None:
        return await reader.read(CHUNK_BYTES) or None

    async def to_display(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        display = ByteStream(from_display)
        async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
            await enter(display, to_display)
        await to_display(client.rest())
        await socket.send(display.rest())
        return await _passed(socket, manager, guest, reader, writer)
    except TimeoutError:
        raise GuestError(f"VM {guest.vmid}: its display does not answer") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _passed(
    socket: WebSocket,
    manager: GuestManager,
    guest: RunningGuest,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> str:
    """Pass bytes both ways; why it ended."""

    async def shown() -> None:
        while data := await reader.read(CHUNK_BYTES):
            await socket.send(data)

    async def typed() -> None:
        while (data := await socket.receive()) is not None:
            writer.write(data)
            await writer.drain()

    showing = asyncio.create_task(shown(), name=f"show VM {guest.vmid}")
    typing = asyncio.create_task(typed(), name=f"type VM {guest.vmid}")
    try:
        done, _ = await asyncio.wait({showing, typing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (showing, typing):
            task.cancel()
        await asyncio.gather(showing, typing, return_exceptions=True)
    if typing in done and typing.exception() is None:
        return ""  # the client has closed
    if showing in done and showing.exception() is not None and not guest.process.ended.is_set():
        return ""  # the client is gone
    return await why_ended(manager, guest)


async def _connect(guest: RunningGuest) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to QEMU's display, made by handing it one end; raises ``GuestError``."""
    if not await guest.monitor.execute("query-vnc-servers"):
        raise GuestError(
            f"VM {guest.vmid} was started by a version without consoles: stop it and start it again"
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    name = f"console-{next(_numbers)}"
    try:
        with theirs:
            await guest.monitor.give(theirs.fileno(), "getfd", {"fdname": name})
        await guest.monitor.execute("add_client", {"protocol": "vnc", "fdname": name, "skipauth": True})
        ours.setblocking(False)
        return await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise


async def picture(guest: RunningGuest, path: Path) -> None:
    """Write what the display shows to ``path`` as PNG, whole or not at all; raises ``GuestError``."""
    draft = path.with_name(f"{path.name}.{next(_numbers)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            added = await guest.monitor.give(descriptor, "add-fd", {})
        finally:
            os.close(descriptor)
        number = int(added["fdset-id"])
        try:
            await guest.monitor.execute("screendump", {"filename": f"/dev/fdset/{number}", "format": "png"})
        except QmpError as error:
            raise GuestError(f"VM {guest.vmid} has no display to take a picture of ({error})") from error
        finally:
            await guest.monitor.execute("remove-fd", {"fdset-id": number})
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
