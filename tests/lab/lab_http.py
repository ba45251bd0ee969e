"""A session of an HTTP client with the nodes, which leaves no connection behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from kvorum.lab import Lab

_GONE_S = 40.0
"""asyncio waits 30 s for the other end of TLS to say goodbye."""


@contextlib.asynccontextmanager
async def session(lab: Lab, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """It believes any certificate and keeps no cookies; ``options`` are aiohttp's own.

    A websocket's connection that was closed still says goodbye after aiohttp has closed the session, and
    whoever ends the event loop then leaves it to the garbage collector, in the middle of another test.
    """
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    given: list[socket.socket] = []

    def in_the_lab(_: object) -> socket.socket:
        given.append(lab.socket())
        return given[-1]

    connector = aiohttp.TCPConnector(ssl=trusting, socket_factory=in_the_lab)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), **options
    ) as client:
        yield client
    async with asyncio.timeout(_GONE_S):
        while any(one.fileno() >= 0 for one in given):  # neither aiohttp nor asyncio tells of it
            await asyncio.sleep(0.01)
