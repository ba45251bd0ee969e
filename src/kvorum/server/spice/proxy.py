"""Serves SPICE clients: a ticket as the host they ask for, TLS up to the guest's node, a channel beyond.

A ticket that no node of this cluster signed leads nowhere, and one of another node only to that node's proxy:
this is no open proxy. It looks into nothing: the password is asked for by pvedaemon, inside of TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import aiohttp

from kvorum.access import SpiceTicket
from kvorum.core.errors import KvorumError
from kvorum.core.spice_names import PROXY_PORT
from kvorum.core.waiting import until_first
from kvorum.server.credentials import FORWARDED_FOR
from kvorum.server.sockets import MAX_MESSAGE_BYTES
from kvorum.server.spice.request import (
    END,
    MAX_HEAD_BYTES,
    Asked,
    Refused,
    granted,
    parse,
    refusal,
    request,
    sentence_of,
    status_of,
)

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
"""A client has about ten: one for each channel."""
HANDSHAKE_DEADLINE_S = 10.0
"""For each of: a request's head, another node's answer, pvedaemon's."""
TLS_DEADLINE_S = 10.0
CONNECT_DEADLINE_S = 1.5
CLOSING_S = 2.0
KEEPALIVE_S = 60
"""A client's host that is silent for twice as long is gone."""
CHUNK_BYTES = 64 << 10


class Cluster(Protocol):
    """What the proxy knows of the cluster."""

    @property
    def node(self) -> str:
        """This node's name."""
        ...

    def ticket(self, text: str) -> SpiceTicket | None:
        """What a ticket says that a node of this cluster gave."""
        ...

    def address(self, node: str) -> str | None:
        """Where a node is, by its name in lower case."""
        ...

    def context(self) -> ssl.SSLContext:
        """The TLS of this node's own certificate. Raises ``KvorumError``."""
        ...


class SpiceProxy:
    """The proxy of one node. ``daemon`` is pvedaemon's socket; ``port`` is where other nodes' proxies are."""

    def __init__(self, cluster: Cluster, daemon: Path, port: int = PROXY_PORT) -> None:
        self._cluster = cluster
        self._daemon = daemon
        self._port = port
        self._session: aiohttp.ClientSession | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        """Set while nobody is connected."""
        self.idle.set()
        self.busy = asyncio.Event()
        """Set while somebody is."""

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection; ``asyncio.start_server`` calls it."""
        crowd = len(self._open)
        if crowd >= 2 * MAX_CONNECTIONS:
            writer.transport.abort()
            return
        _keep_alive(writer)
        serving = self._serve(reader, writer, crowded=crowd >= MAX_CONNECTIONS)
        task = asyncio.create_task(serving, name="SPICE client")
        self._open.add(task)
        task.add_done_callback(self._ended)
        self.idle.clear()
        self.busy.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not self._open:
            self.busy.clear()
            self.idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection died of an error that nobody foresaw", exc_info=error)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, crowded: bool
    ) -> None:
        """One connection, from its request to its end."""
        try:
            if crowded:
                raise Refused(503, f"{MAX_CONNECTIONS} connections are open: close some")
            await self._answer(reader, writer)
        except Refused as refused:
            log.info("refused %s: %s", _peer(writer), refused)
            await _said(refusal(refused), reader, writer)
        except (OSError, EOFError, TimeoutError) as error:
            log.debug("%s is gone: %s", _peer(writer), error)
        finally:
            await _closed(writer)

    async def close(self) -> None:
        """End all connections."""
        tasks = [*self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = parse(await _head(reader, 408, "no request came"))
        ticket = self._cluster.ticket(asked.ticket)
        if ticket is None:
            raise Refused(403, "the ticket is no valid one, or too old: ask for a new file")
        if ticket.node == self._cluster.node.lower():
            await self._here(asked, ticket, reader, writer)
        elif asked.forwarded:
            raise Refused(502, f"node '{ticket.node}' is another one than this")
        else:
            await self._there(asked, ticket, reader, writer)

    async def _here(
        self, asked: Asked, ticket: SpiceTicket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """End TLS, and pass the channel on to pvedaemon, which has granted it before the client is told."""
        path = f"/api2/json/kvorum/nodes/{self._cluster.node}/qemu/{ticket.vmid}/spicesocket"
        url = f"http://pvedaemon{path}?ticket={quote(asked.ticket, safe='')}"
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._daemon), limit=0))
        try:
            async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
                channel = await self._session.ws_connect(
                    url, headers={FORWARDED_FOR: _peer(writer)}, max_msg_size=MAX_MESSAGE_BYTES
                )
        except aiohttp.WSServerHandshakeError:
            raise Refused(403, await _why(self._session, url)) from None
        except (aiohttp.ClientError, TimeoutError):
            raise Refused(503, "pvedaemon does not answer: look at 'systemctl status pvedaemon'") from None
        async with channel:
            try:
                context = self._cluster.context()
            except KvorumError as error:
                raise Refused(503, str(error)) from None
            writer.write(granted())
            await writer.start_tls(context, ssl_handshake_timeout=TLS_DEADLINE_S)
            await _both(_to_channel(reader, channel), _from_channel(channel, writer))

    async def _there(
        self, asked: Asked, ticket: SpiceTicket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hand the request on to the proxy of the guest's node; TLS goes through from end to end."""
        address = self._cluster.address(ticket.node)
        if address is None:
            raise Refused(502, f"no such cluster node '{ticket.node}'")
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                far, near = await asyncio.open_connection(address, self._port)
        except (OSError, TimeoutError):
            raise Refused(
                502, f"node '{ticket.node}' ({address}) does not answer on port {self._port}"
            ) from None
        try:
            near.write(request(asked.ticket, self._cluster.node))
            head = await _head(far, 502, f"node '{ticket.node}' gave no answer")
            if status_of(head) != 200:
                raise Refused(
                    403, sentence_of(await _rest(far)) or f"node '{ticket.node}' refused this ticket"
                )
            writer.write(granted())
            await _both(_to_stream(reader, near), _to_stream(far, writer))
        finally:
            await _closed(near)


async def _head(reader: asyncio.StreamReader, status: int, sentence: str) -> bytes:
    """A request's or answer's head without its end. Raises ``Refused``."""
    try:
        async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
            head = await reader.readuntil(END)
    except TimeoutError:
        raise Refused(status, f"{sentence} within {HANDSHAKE_DEADLINE_S:g} s") from None
    except asyncio.LimitOverrunError:
        raise Refused(400, f"a head has at most {MAX_HEAD_BYTES} bytes") from None
    except asyncio.IncompleteReadError as error:
        if error.partial or status != 408:
            raise Refused(400 if status == 408 else status, sentence) from None
        raise
    if len(head) > MAX_HEAD_BYTES:
        raise Refused(400, f"a head has at most {MAX_HEAD_BYTES} bytes")
    return head[: -len(END)]


async def _why(session: aiohttp.ClientSession, url: str) -> str:
    """Why pvedaemon opened no websocket: it says so to the same request without the wish for one."""
    try:
        async with asyncio.timeout(HANDSHAKE_DEADLINE_S), session.get(url) as answer:
            return sentence_of((await answer.json())["message"].encode())
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        return "pvedaemon refused this ticket"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What another proxy says below its refusal's head: up to the end, or as much as may be."""
    try:
        async with asyncio.timeout(CLOSING_S):
            return await reader.readexactly(MAX_HEAD_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except (OSError, TimeoutError):
        return b""


async def _to_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _to_channel(reader: asyncio.StreamReader, channel: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await channel.send_bytes(data)


async def _from_channel(channel: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    while (message := await channel.receive()).type is aiohttp.WSMsgType.BINARY:
        writer.write(message.data)
        await writer.drain()
    if message.extra:
        log.info("a channel ended: %s", message.extra)


async def _both(*ways: Awaitable[None]) -> None:
    """Pass bytes both ways until one ends; nobody sends half of a channel on."""
    await until_first(*map(asyncio.ensure_future, ways))


async def _said(answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a last answer and wait until the client has gone with it: what it sent unread would cut it off."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSING_S):
            writer.write(answer)
            writer.write_eof()
            while await reader.read(CHUNK_BYTES):
                pass


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection; one whose client does not take what is left is cut off."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSING_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Notice a client that is gone without a word (tcp(7)): it would keep its session for hours."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_S),
        (socket.TCP_KEEPINTVL, KEEPALIVE_S // 4),
        (socket.TCP_KEEPCNT, 4),
        (socket.TCP_USER_TIMEOUT, 2 * KEEPALIVE_S * 1000),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _peer(writer: asyncio.StreamWriter) -> str:
    """The client's address."""
    name = writer.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else "unknown"
