"""Opens the sockets a daemon answers on."""

from __future__ import annotations

import grp
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from ssl import SSLContext
from typing import TypeAlias

from aiohttp import web

from kvorum.core.errors import KvorumError
from kvorum.server import http_log
from kvorum.server.connection import Server

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

KEEPALIVE_S = 75.0
"""A connection that brings no whole request's head for as long is ended: an idle one, and one that sends it
drop by drop (slowloris)."""
CLOSING_S = 1.5
"""At a daemon's end, what is not answered within this time is cut off: a client that does not read, an answer
that another node streams. Whoever restarts a daemon waits for it, and so do all its clients."""
BACKLOG = 1024
GROUP = "www-data"


@asynccontextmanager
async def on_unix_socket(handler: Handler, path: Path) -> AsyncIterator[None]:
    """Answer on a unix socket that root and the group www-data may connect to."""
    sock = _bound_path(path)
    try:
        async with _serving(handler, sock, None):
            yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # one system call, on a tmpfs


def _bound_path(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)  # nobody connects before the group is set
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise KvorumError(f"can't listen on '{path}': {error.strerror}") from None
    finally:
        os.umask(before)
    if os.geteuid() == 0:
        with suppress(KeyError):
            os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)
        path.chmod(0o660)
    return sock


@asynccontextmanager
async def on_port(handler: Handler, port: int, context: SSLContext, address: str = "") -> AsyncIterator[None]:
    """Answer TLS on a port: of one address, or of all of IPv6 and IPv4.

    Raises ``KvorumError`` when the port is taken.
    """
    sock = _bound(port, address)
    async with _serving(handler, sock, context):
        yield


def _bound(port: int, address: str) -> socket.socket:
    try:
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=BACKLOG)
        if socket.has_dualstack_ipv6():
            try:
                return socket.create_server(
                    ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
                )
            except OSError:
                pass  # IPv6 is compiled in and switched off; then IPv4 alone
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        raise KvorumError(f"can't listen on port {port}: {error.strerror}") from None


@asynccontextmanager
async def _serving(handler: Handler, sock: socket.socket, context: SSLContext | None) -> AsyncIterator[None]:
    server = Server(handler, access_log=None, keepalive_timeout=KEEPALIVE_S, logger=http_log.logger)
    # aiohttp waits as long again after it has told the handlers that their requests bring no more.
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=CLOSING_S / 2)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, ssl_context=context, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
