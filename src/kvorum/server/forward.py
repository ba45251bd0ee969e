"""Hands requests on: to pvedaemon over its socket, to other nodes over TLS. Streamed both ways, unchanged."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from ssl import SSLContext, SSLError

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from kvorum.core.errors import DeadlineExceeded, KvorumError, Unreachable
from kvorum.server.credentials import FORWARDED_FOR
from kvorum.server.knock import Knocker
from kvorum.server.listed import listed_nodes
from kvorum.server.sockets import MAX_MESSAGE_BYTES, exchange, opening, protocols, wanted
from kvorum.store import Store

FORWARDED = "Kvorum-Forwarded"
"""Set on what goes to another node, with this node's name: it is not forwarded a second time."""

CONNECT_TIMEOUT_S = 1.5
UNACKNOWLEDGED_MS = 1300
"""How long a node's kernel may leave what was sent unacknowledged, before its connection counts as dead.

On a connection kept from before, a node that lost power is noticed by this, asked once more, and named after
another ``CONNECT_TIMEOUT_S``: within 3 s in all, where waiting for the answer alone takes two minutes.
"""
KEPT_S = 2.0
"""How long an unused connection to another node is kept: less than a node without power takes to be back.

Nobody takes leave then, and a new kernel resets what it does not know: of a request that is not to be made
twice, no one could say whether it was taken.
"""
ANSWER_TIMEOUT_S = 120.0
PORT = 8006

_WHOLE_BYTES = 256 << 10
"""An answer up to this long is passed on in one piece."""

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "expect",
        FORWARDED.lower(),
        FORWARDED_FOR.lower(),
    }
)


class DaemonForwarder:
    """pveproxy's way to pvedaemon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, request: web.BaseRequest, address: str) -> web.StreamResponse:
        """Hand a request on with the client's address; raises ``KvorumError`` when pvedaemon is away."""
        if self._session is None:
            self._session = _session(aiohttp.UnixConnector(str(self._path), limit=0))
        try:
            relay = _pass_on if wanted(request) else _relay
            return await relay(
                self._session, request, "http://pvedaemon", {FORWARDED_FOR: address or "unknown"}
            )
        except aiohttp.ClientConnectorError:
            raise KvorumError(
                "pvedaemon does not answer on this node: look at 'systemctl status pvedaemon'"
            ) from None
        except TimeoutError:
            raise DeadlineExceeded(f"pvedaemon did not answer within {ANSWER_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as error:
            raise KvorumError(f"pvedaemon broke off its answer: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class NodeForwarder:
    """The way to other nodes' :8006, known by their certificates' name ``N.nodes.kvorum``."""

    def __init__(self, store: Store, client_context: Callable[[], SSLContext], port: int = PORT) -> None:
        self._store = store
        self._client_context = client_context
        self._port = port
        self._session: aiohttp.ClientSession | None = None
        self._knocker = Knocker(self._knock)

    async def forward(
        self, request: web.BaseRequest, node: str, own: Mapping[str, str]
    ) -> web.StreamResponse:
        """Hand a request on to ``node``, with ``own`` headers added.

        Raises ``Unreachable`` (595, within 3 s of the node's death, whether the request came before or
        after it), ``DeadlineExceeded`` (596), or ``KvorumError`` for an unknown node.
        """
        base, where = self.address(node)
        relay = _pass_on if wanted(request) else _relay
        try:
            return await relay(
                self.session(),
                request,
                base,
                {FORWARDED: self._store.node, **own},
                alive=self._knocker.awaiting(node, where),
                ssl=self._client_context(),
                server_hostname=server_name(node),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError, TimeoutError) as error:
            raise unreachable(node, where, error) from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"node '{node}' ({where}) broke off its answer: {error}") from None
        except Unreachable as error:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError(str(error)) from None  # the answer had begun
            raise

    async def _knock(self, node: str) -> None:
        """Return when the node's pveproxy takes a new connection; raises ``OSError``."""
        _, address = self.address(node)
        try:
            _, writer = await asyncio.open_connection(
                address, self._port, ssl=self._client_context(), server_hostname=server_name(node)
            )
        except SSLError:
            return  # whoever shows a wrong certificate lives
        writer.transport.abort()

    def address(self, node: str) -> tuple[str, str]:
        """The base URL and the address of a node; raises ``KvorumError`` when there is no such node."""
        address = listed_nodes(self._store).get(node)
        if not address:
            raise KvorumError(f"no such cluster node '{node}'")
        return f"https://{f'[{address}]' if ':' in address else address}:{self._port}", address

    def session(self) -> aiohttp.ClientSession:
        """The connections to other nodes, kept open between requests."""
        if self._session is None:
            self._session = _session(
                aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=32,
                    ttl_dns_cache=60,
                    keepalive_timeout=KEPT_S,
                    socket_factory=_impatient_socket,
                )
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _impatient_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A TCP socket that ends when the other side is gone (tcp(7), TCP_USER_TIMEOUT)."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return made


def server_name(node: str) -> str:
    """The name under which a node shows its own certificate, whatever the page shows."""
    return f"{node}.nodes.kvorum"


def unreachable(node: str, address: str, error: Exception) -> KvorumError:
    """The sentence for a node that could not be asked, by how it failed."""
    if isinstance(error, aiohttp.SocketTimeoutError):
        return DeadlineExceeded(f"node '{node}' ({address}) did not answer within {ANSWER_TIMEOUT_S:g} s")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(f"node '{node}' ({address}) shows no certificate of this cluster: {error}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(f"can't reach node '{node}' ({address}): {error.os_error.strerror or error}")
    return Unreachable(f"can't reach node '{node}' ({address}) within {CONNECT_TIMEOUT_S:g} s")


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT_ENCODING, hdrs.ACCEPT, hdrs.CONTENT_TYPE),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S
        ),
    )


async def _relay(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    base: str,
    added: Mapping[str, str],
    *,
    alive: AbstractAsyncContextManager[None] = nullcontext(),  # noqa: B008  # it has no state
    ssl: SSLContext | bool = True,
    server_hostname: str | None = None,
) -> web.StreamResponse:
    """Repeat a request at another server and pass its answer back as it comes, while that is ``alive``."""
    from yarl import URL

    async with (
        alive,
        session.request(
            request.method,
            URL(base + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers, added),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            ssl=ssl,
            server_hostname=server_hostname,
        ) as answer,
    ):
        headers = CIMultiDict(
            (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
        )
        if (answer.content_length or _WHOLE_BYTES + 1) <= _WHOLE_BYTES:
            return web.Response(
                body=await answer.read(), status=answer.status, reason=answer.reason, headers=headers
            )
        passed = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await passed.prepare(request)
        try:
            async for chunk in answer.content.iter_any():
                await passed.write(chunk)
            await passed.write_eof()
        except (aiohttp.ClientError, TimeoutError, asyncio.CancelledError) as error:
            # The answer has begun: only the end of the connection can say that it is not whole.
            if request.transport is not None:
                request.transport.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ConnectionResetError(f"the answer was broken off: {error}") from None
        return passed


def _end_to_end(headers: CIMultiDictProxy[str], added: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that are meant for the one who answers, not for the connection (RFC 9110, 7.6.1).

    A name that was sent twice stays so, in its order: both sides must read the same one of them. ``added``
    replace what the client sent under their names.
    """
    named = {name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(",")}
    passed = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named
    )
    passed.update(added)
    return passed


async def _pass_on(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    base: str,
    added: Mapping[str, str],
    *,
    alive: AbstractAsyncContextManager[None] = nullcontext(),  # noqa: B008  # it has no state
    ssl: SSLContext | bool = True,
    server_hostname: str | None = None,
) -> web.StreamResponse:
    """Open the same websocket at another server and pass messages both ways until either side closes."""
    from yarl import URL

    headers = CIMultiDict(
        (name, value)
        for name, value in _end_to_end(request.headers, added).items()
        if not name.lower().startswith("sec-websocket-")
    )
    async with alive:
        try:
            there = await session.ws_connect(
                URL(base + request.raw_path, encoded=True),
                headers=headers,
                protocols=protocols(request),
                ssl=ssl,
                server_hostname=server_hostname,
                max_msg_size=MAX_MESSAGE_BYTES,
            )
        except aiohttp.WSServerHandshakeError:
            # The refusal's sentence is in the answer to the same request without the wish for a websocket.
            return await _relay(session, request, base, added, ssl=ssl, server_hostname=server_hostname)
        async with there:
            here = opening(request)
            await here.prepare(request)
            await exchange(here, there)
            return here


async def close_all(*forwarders: DaemonForwarder | NodeForwarder) -> None:
    """Close several."""
    await asyncio.gather(*(forwarder.close() for forwarder in forwarders))
