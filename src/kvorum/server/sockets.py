"""Websockets: opened for a client, talked over by a method, passed on message by message to where it is.

Nothing is buffered but the message at hand: who does not read stops who sends.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from aiohttp import WSMsgType, hdrs, web

from kvorum.core.errors import KvorumError
from kvorum.core.waiting import until_first
from kvorum.interface import Conversation, WebSocket

MAX_MESSAGE_BYTES = 4 << 20
HEARTBEAT_S = 30.0
"""A client that does not answer a ping within half of this is gone."""
PROTOCOLS = ("binary",)
REASON_BYTES = 120
"""A close frame's reason has at most 123 bytes (RFC 6455, 5.5)."""


def wanted(request: web.BaseRequest) -> bool:
    """Whether a request asks for a websocket."""
    return request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"


def protocols(request: web.BaseRequest) -> tuple[str, ...]:
    """The subprotocols that a client offers and we speak."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    return tuple(name for name in PROTOCOLS if name in {word.strip() for word in offered})


def opening(request: web.BaseRequest) -> web.WebSocketResponse:
    """The answer that becomes a websocket when it is prepared."""
    return web.WebSocketResponse(
        protocols=protocols(request), heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False
    )


class Opened(WebSocket):
    """A client's websocket as methods see it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        return str(message.data).encode() if message.type is WSMsgType.TEXT else None

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)


async def converse(request: web.BaseRequest, talk: Conversation) -> web.StreamResponse:
    """Open the websocket and let ``talk`` have it; an error's sentence is the close frame's reason."""
    socket = opening(request)
    await socket.prepare(request)
    try:
        await talk(Opened(socket))
    except KvorumError as error:
        reason = str(error).encode()[:REASON_BYTES].decode("utf-8", "ignore").encode()
        await socket.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION, message=reason)
    except ConnectionError:
        pass  # the client is gone
    else:
        await socket.close()
    return socket


async def exchange(here: web.WebSocketResponse, there: aiohttp.ClientWebSocketResponse) -> None:
    """Pass messages both ways until one side closes, and close the other with the same code and reason."""
    await until_first(asyncio.create_task(_pass(here, there)), asyncio.create_task(_pass(there, here)))


async def _pass(source: Any, target: Any) -> None:
    """One way, until ``source`` closes; then ``target`` is closed too."""
    reason = b""
    try:
        while True:
            message = await source.receive()
            if message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            else:
                if message.type is WSMsgType.CLOSE:
                    reason = (message.extra or "").encode()[:REASON_BYTES]
                break
    except ConnectionError:
        pass  # one of them is gone, which ends it for both
    await target.close(code=source.close_code or aiohttp.WSCloseCode.GOING_AWAY, message=reason)
