"""A guest's display over a websocket, and a picture of it.

QEMU listens nowhere for consoles (``-vnc none``): each gets one end of a socket pair over QMP, so that there
is nothing that another guest or user could reach.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.guests.console.passing import HANDSHAKE_DEADLINE_S, connected, passed
from kvorum.guests.console.rfb import ByteStream, admit, enter
from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import WebSocket

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
    if not await guest.monitor.execute("query-vnc-servers"):
        raise GuestError(
            f"VM {guest.vmid} was started by a version without consoles: stop it and start it again"
        )
    async with connected(guest, "vnc") as display:
        try:
            shown = ByteStream(display.read)
            async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
                await enter(shown, display.write)
            await display.write(client.rest())
            await socket.send(shown.rest())
            return await passed(socket, manager, guest, display)
        except TimeoutError:
            raise GuestError(f"VM {guest.vmid}: its display does not answer") from None


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
