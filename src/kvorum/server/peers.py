"""Calls other nodes' API with this node's word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypedDict
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from kvorum.access import Authentication, NodeCall
from kvorum.core.errors import (
    AuthenticationError,
    DeadlineExceeded,
    KvorumError,
    NotImplementedHere,
    ParameterError,
    PermissionDenied,
    Unreachable,
)
from kvorum.interface import Caller, Identity, Page, Peers, Router, plain
from kvorum.server.certificates import Certificates
from kvorum.server.forward import CONNECT_TIMEOUT_S, NodeForwarder, server_name, unreachable
from kvorum.store import Store

_BY_CODE: Mapping[int, type[KvorumError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    501: NotImplementedHere,
    595: Unreachable,
    596: DeadlineExceeded,
}
_QUERY = frozenset({"GET", "DELETE"})


class _Answer(TypedDict, total=False):
    data: object
    message: str
    errors: dict[str, str]


class NodePeers(Peers):
    """``Peers`` over HTTPS; a call to the local node goes straight to its method."""

    def __init__(
        self,
        store: Store,
        router: Router,
        caller: Caller,
        authentication: Authentication,
        nodes: NodeForwarder,
        certificates: Certificates,
    ) -> None:
        self._store = store
        self._router = router
        self._caller = caller
        self._authentication = authentication
        self._nodes = nodes
        self._certificates = certificates

    async def call(
        self,
        node: str,
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
    ) -> object:
        pairs = _pairs(parameters or {})
        if node != self._store.node:
            return await self._remote(node, verb, path, pairs, timeout)
        try:
            async with asyncio.timeout(timeout):
                return await self._local(verb, path, pairs)
        except TimeoutError:
            raise DeadlineExceeded(f"'{verb} {path}' did not end within {timeout:g} s") from None

    async def _local(self, verb: str, path: str, pairs: list[tuple[str, str]]) -> object:
        match = self._router.match(verb, path)
        identity = Identity(user=f"{self._store.node}@node", node=self._store.node, address="local")
        self._caller.authorise(match, identity, pairs)
        result = await self._caller.call(match, identity, pairs)
        return plain(result.rows if isinstance(result, Page) else result)

    async def _remote(
        self, node: str, verb: str, path: str, pairs: list[tuple[str, str]], timeout: float
    ) -> object:
        base, address = self._nodes.address(node)
        url = f"{base}/api2/json{quote(path, safe='/:@!~%')}"
        form = urlencode(pairs)
        if verb in _QUERY and form:
            url = f"{url}?{form}"
        word = self._authentication.node_word(self._store.node, NodeCall(node, verb, path))
        headers = {hdrs.AUTHORIZATION: f"KvorumNode={quote(word)}"}
        if verb not in _QUERY and form:
            headers[hdrs.CONTENT_TYPE] = "application/x-www-form-urlencoded"
        try:
            async with (
                asyncio.timeout(timeout),
                self._nodes.session().request(
                    verb,
                    URL(url, encoded=True),
                    headers=headers,
                    data=form.encode() if verb not in _QUERY else None,
                    ssl=self._certificates.client(),
                    server_hostname=server_name(node),
                    timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT_S),
                ) as answer,
            ):
                body = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise unreachable(node, address, error) from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"node '{node}' ({address}) did not answer '{verb} {path}' within {timeout:g} s"
            ) from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"node '{node}' ({address}) broke off its answer: {error}") from None
        return _data(node, answer.status, answer.reason or "", body)


def _data(node: str, status: int, reason: str, body: bytes) -> object:
    """The answer's ``data``; raises the error that it stands for."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        raise KvorumError(f"node '{node}' answered with no API answer: {status} {reason}") from None
    if status == 200:
        return answer.get("data")
    message = (answer.get("message") or reason).rstrip("\n")
    if status == 400:
        raise ParameterError(answer.get("errors") or {}, message)
    raise _BY_CODE.get(status, KvorumError)(message)


def _pairs(parameters: Mapping[str, object]) -> list[tuple[str, str]]:
    """Parameters as a form has them: lists repeat their name, booleans are 1 and 0, ``None`` is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((name, str(int(item)) if isinstance(item, bool) else str(item)))
    return pairs
