"""A guest's serial ports over websockets: one connection to each port, shared by all who look at it.

QEMU takes one client at a time, and another would wait unseen. The connection is there only while somebody
looks, so that other tools can have the port meanwhile. The slowest who looks sets the pace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from kvorum.core.terminal_frames import Typed
from kvorum.core.waiting import until_first
from kvorum.guests.console.ending import why_ended
from kvorum.guests.errors import GuestError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import WebSocket
from kvorum.tasks.consoles import said

CHUNK_BYTES = 16 << 10


class _Line:
    """One port that somebody looks at."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lookers: list[WebSocket] = []
        self._pump = asyncio.create_task(self._show(), name="serial port")
        self.ended = asyncio.Event()

    def join(self, looker: WebSocket) -> None:
        self._lookers.append(looker)

    def leave(self, looker: WebSocket) -> bool:
        """Whether nobody is left."""
        self._lookers.remove(looker)
        return not self._lookers

    async def type(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _show(self) -> None:
        try:
            while data := await self._reader.read(CHUNK_BYTES):
                for looker in tuple(self._lookers):
                    with contextlib.suppress(ConnectionError):  # its own side notices that it is gone
                        await looker.send(data)
        except ConnectionError:
            pass  # QEMU's end, by a signal
        finally:
            self.ended.set()


class SerialPorts:
    """The serial ports of this node's guests."""

    def __init__(self, manager: GuestManager) -> None:
        self._manager = manager
        self._lines: dict[Path, _Line] = {}
        self._opening = asyncio.Lock()

    async def show(self, socket: WebSocket, guest: RunningGuest, port: str) -> str:
        """Let a client look at a port and type, until it goes (empty) or the guest ends (why).

        Raises ``KvorumError`` for a client that speaks another protocol.
        """
        path = self._manager.workshop.files.path(guest.vmid, port)
        async with self._joined(path, socket, guest.vmid, port) as line:
            typing = asyncio.create_task(_type(socket, line), name=f"type VM {guest.vmid}")
            ending = asyncio.create_task(line.ended.wait())
            await until_first(typing, ending)
            if line.ended.is_set():
                return await why_ended(self._manager, guest)
            typing.result()  # raises what ended it
            return ""

    @contextlib.asynccontextmanager
    async def _joined(self, path: Path, looker: WebSocket, vmid: int, port: str) -> AsyncIterator[_Line]:
        async with self._opening:
            line = self._lines.get(path)
            if line is None or line.ended.is_set():
                try:
                    line = _Line(*await asyncio.open_unix_connection(str(path)))
                except OSError as error:
                    raise GuestError(f"VM {vmid}: {port} can't be reached: {error.strerror}") from error
                self._lines[path] = line
            line.join(looker)
        try:
            yield line
        finally:
            if line.leave(looker):
                if self._lines.get(path) is line:
                    del self._lines[path]
                await line.close()


async def _type(socket: WebSocket, line: _Line) -> None:
    async for frame in said(socket):
        if isinstance(frame, Typed):  # a serial port has no size
            await line.type(frame.data)
