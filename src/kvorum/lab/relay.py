"""Passes connections on: from the host's 127.0.0.1:8006 into the lab, to the first node's page."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

_CONNECT_S = 10.0
_CHUNK_BYTES = 1 << 16


async def serve(listening: socket.socket, host: str, port: int) -> asyncio.Server:
    """Relay what connects to ``listening``, a socket of the host, to ``host:port`` in this namespace."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            writer.close()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, far_writer))
            group.create_task(_pump(far_reader, writer))
        for each in (writer, far_writer):
            each.close()

    return await asyncio.start_server(one, sock=listening)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()
