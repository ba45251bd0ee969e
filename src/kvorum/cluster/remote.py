"""A node of the cluster that one wants to join: its API over TLS, its certificate pinned by fingerprint."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Self

import aiohttp

from kvorum.cluster.certificates import colons
from kvorum.core.errors import AuthenticationError, KvorumError, Unreachable

PORT = 8006
_FINGERPRINT = re.compile(r"([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}")
GONE_S = 20
"""How long a peer may be silent on the wire: longer than networks hiccup, shorter than anybody waits."""
_LIMIT = aiohttp.ClientTimeout(total=180, connect=10)
"""A node that asks to be taken in may have to wait for another that is just joining."""


async def peer_fingerprint(host: str, port: int = PORT, *, timeout: float = 10.0) -> str:
    """The SHA-256 fingerprint of the certificate a peer shows; raises ``Unreachable``."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at here: an admin compares it
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"{host}:{port} can't be reached: {error or 'no answer in time'}") from None
    try:
        connection = writer.get_extra_info("ssl_object")
        return colons(hashlib.sha256(connection.getpeercert(True)).digest())
    finally:
        writer.close()


class RemoteNode:
    """A connection, logged in as root@pam where there is a password. Use as an async context manager.

    Raises ``Unreachable``, ``AuthenticationError`` (the password), and ``KvorumError`` with the peer's
    sentence or for a certificate that is not the pinned one.
    """

    def __init__(self, host: str, password: str | None, fingerprint: str, *, port: int = PORT) -> None:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise KvorumError(f"'{fingerprint}' is not a SHA-256 fingerprint: 32 hex pairs with colons")
        self.host = host
        self._fingerprint = fingerprint.upper()
        self._password = password
        bare = host.strip("[]")
        self._base = f"https://{f'[{bare}]' if ':' in bare else bare}:{port}/api2/json"
        self._pin = aiohttp.Fingerprint(bytes.fromhex(fingerprint.replace(":", "")))
        self._session: aiohttp.ClientSession | None = None
        self._headers: dict[str, str] = {}
        self.clock_ahead_s: float | None = None
        """How far the peer's clock is before ours, as its last answer said; ``None`` before one."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(socket_factory=_watched)
        self._session = aiohttp.ClientSession(timeout=_LIMIT, connector=connector)
        if self._password is None:
            return self
        try:
            answer = await self.call(
                "POST", "/access/ticket", {"username": "root@pam", "password": self._password}
            )
        except AuthenticationError:
            await self._session.close()
            raise AuthenticationError(f"{self.host} refuses the password of root@pam") from None
        except BaseException:
            await self._session.close()
            raise
        if not isinstance(answer, dict):
            raise KvorumError(f"{self.host} answered the log-in with something else than a ticket")
        self._headers = {
            "Cookie": f"PVEAuthCookie={answer['ticket']}",
            "CSRFPreventionToken": str(answer["CSRFPreventionToken"]),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, verb: str, path: str, parameters: Mapping[str, str] | None = None) -> object:
        """Call a method and return the answer's ``data``."""
        assert self._session is not None, "use it as an async context manager"
        form = dict(parameters or {}) if verb in ("POST", "PUT") else None
        try:
            async with self._session.request(
                verb, self._base + path, data=form, headers=self._headers, ssl=self._pin
            ) as response:
                self._compare_clocks(response.headers.get("Date", ""))
                if response.status == 401:
                    raise AuthenticationError(f"{self.host}: {response.reason}")
                body = await response.json(content_type=None) if response.status < 600 else {}
                if response.status != 200:
                    raise KvorumError(f"{self.host}: {_sentence(body, response.reason)}")
                return body.get("data") if isinstance(body, dict) else None
        except aiohttp.ServerFingerprintMismatch as error:
            raise KvorumError(
                f"{self.host} shows another certificate than expected: its fingerprint is "
                f"{colons(error.got)}, given was {self._fingerprint}"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"{self.host}: {error or 'no answer in time'}") from None

    def _compare_clocks(self, date: str) -> None:
        try:
            self.clock_ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
        except (ValueError, TypeError):
            self.clock_ahead_s = None


def _watched(info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose connection ends by itself some time after its other side is gone (tcp(7)).

    A peer that lost its power answers nothing, not even that it is gone; who waits would wait to the end.
    """
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_S // 4),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, GONE_S // 4),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_S * 1000),
    ):
        made.setsockopt(level, option, value)
    return made


def _sentence(body: object, reason: str | None) -> str:
    message = str(body.get("message") or "").strip() if isinstance(body, dict) else ""
    errors = body.get("errors") if isinstance(body, dict) else None
    details = "; ".join(f"{k}: {v}" for k, v in errors.items()) if isinstance(errors, dict) else ""
    return " ".join(part for part in (message or reason or "", details) if part)
