"""Answers API requests: who asks, what is meant, and where it is carried out.

One class for both daemons. It carries out what it may, hands what is protected to pvedaemon, and what is
another node's to that node. The path from request to method is short and free of middleware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast
from urllib.parse import unquote

from aiohttp import hdrs, web

from kvorum.access import Authentication, Credentials, NodeCall
from kvorum.cluster.rename.names import FORMER, present_name
from kvorum.core.errors import AuthenticationError, KvorumError, NotImplementedHere, ParameterError
from kvorum.core.ids import Upid
from kvorum.interface import (
    Anyone,
    Caller,
    Conversation,
    Identity,
    Match,
    Pairs,
    Route,
    Router,
    Where,
    is_picture,
    is_viewer_file,
    read_form,
    read_json,
)
from kvorum.server import credentials, replies
from kvorum.server.description import Description
from kvorum.server.events import PATH as PATH_OF_EVENTS
from kvorum.server.events import Events
from kvorum.server.events.ring import Right
from kvorum.server.forward import FORWARDED, DaemonForwarder, NodeForwarder
from kvorum.server.sockets import converse, wanted
from kvorum.server.uploaded import UploadedFile
from kvorum.store import Store
from kvorum.tasks.follow import Follower

PREFIX = "/api2/"
BODY_TIMEOUT_S = 30.0

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class TooManyRedirections(KvorumError):
    """A request that was forwarded once already would have to be forwarded again."""

    code = 599


class Api:
    """The API as one daemon answers it.

    ``daemon`` is where protected methods go; ``None`` in pvedaemon itself. ``trusted`` says who a peer
    without credentials is. ``events`` are the streams, ``follow`` reads the log of a task of this node.
    """

    def __init__(
        self,
        router: Router,
        store: Store,
        caller: Caller,
        authentication: Authentication,
        nodes: NodeForwarder,
        daemon: DaemonForwarder | None = None,
        trusted: Callable[[web.BaseRequest], Identity | None] = lambda request: None,
        events: Events | None = None,
        follow: Callable[[str], Follower] | None = None,
    ) -> None:
        self._router = router
        self._store = store
        self._caller = caller
        self._authentication = authentication
        self._nodes = nodes
        self._daemon = daemon
        self._trusted = trusted
        self._events = events
        self._follow = follow
        self._description = Description()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request whose path begins with ``/api2/``. It never raises but when it is cancelled."""
        path = request.raw_path.partition("?")[0]
        flavour, slash, rest = path[len(PREFIX) :].partition("/")
        if flavour in replies.FORMATS:
            return await self.handle_as(request, (slash + rest).rstrip("/") or "/", flavour)
        if self._description.answers(path):
            return self._description.handle(request, path)
        if path == PATH_OF_EVENTS:
            return await self.handle_as(request, path, flavour)
        unknown = NotImplementedHere(f"unknown format '{flavour[:20]}': use /api2/json")
        return replies.failure(unknown, flavour)

    async def handle_as(self, request: web.BaseRequest, path: str, flavour: str) -> web.StreamResponse:
        """Answer a request as one for ``path`` (without ``/api2/json``), wherever it was sent to."""
        query = request.raw_path.partition("?")[2]
        try:
            if path == PATH_OF_EVENTS:
                return await self._stream(request, query)
            return await self._answer(request, path, query, flavour)
        except KvorumError as error:
            return replies.failure(error, flavour)
        except web.HTTPRequestEntityTooLarge:
            return replies.reply({"data": None, "message": "the body is too large\n"}, 413, "body too large")
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            answer = replies.unexpected(error, f"{request.method} {path}", flavour)
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()  # a stream had begun: its end says that it is not whole
            return answer

    async def _answer(
        self, request: web.BaseRequest, path: str, query: str, flavour: str
    ) -> web.StreamResponse:
        match = self._router.match(request.method, path)
        _has_format(match, flavour)
        sent = credentials.read(request.headers)
        if sent.token and self._daemon is not None and not _open(match):
            return await self._with_token(request, sent, self._daemon)
        identity = self._identify(request, path, sent, match)
        target = match.target
        if isinstance(target, Route):
            if target.method.where is Where.NODE:
                match = self._localise(match)
                node = match.values["node"]
                if node != self._store.node and not (target.method.remembered and self._gone(node)):
                    return await self._to_node(request, node, sent, identity, target)
            if target.method.protected and self._daemon is not None:
                self._require_login(identity, target)
                return await self._daemon.forward(request, _address(request))
        if isinstance(target, Route) and target.method.upload:
            # Who may not do it does not get to send a file first; the object stands in the path.
            self._caller.authorise(match, identity, read_form(query))
            fields, file = await UploadedFile.begin(request, BODY_TIMEOUT_S)
            sent_along = [*read_form(query), *fields]
            return replies.result(await self._caller.call(match, identity, sent_along, file), flavour)
        given = await self._parameters(request, query)
        self._caller.authorise(match, identity, given)
        if isinstance(target, Route) and target.method.websocket:
            talk = cast(Conversation, await self._caller.call(match, identity, given))
            if not wanted(request):
                raise ParameterError({}, "this is a websocket: ask with 'Upgrade: websocket'")
            return await converse(request, talk)
        return replies.result(await self._caller.call(match, identity, given), flavour)

    async def _with_token(
        self, request: web.BaseRequest, sent: Credentials, daemon: DaemonForwarder
    ) -> web.StreamResponse:
        """Hand a token's request to pvedaemon, since only root sees what is kept of tokens' secrets.

        Raises ``AuthenticationError`` when there is no such token.
        """
        self._authentication.known_token(sent)
        return await daemon.forward(request, _address(request))

    def _identify(
        self, request: web.BaseRequest, path: str, sent: Credentials, match: Match
    ) -> Identity | None:
        address = _address(request)
        if not sent:
            trusted = self._trusted(request)
            return trusted or (Identity(user="nobody@none", address=address) if _open(match) else None)
        if _open(match) and not sent.node_ticket:
            # Who logs in anew still sends the old cookie along: it must not stand in the way.
            return Identity(user="nobody@none", address=address)
        return self._authentication.identify(
            sent,
            changes=request.method not in _READING and not _uploads_from_no_page(request, match),
            address=address,
            call=NodeCall(self._store.node, request.method, unquote(path)) if sent.node_ticket else None,
        )

    async def _stream(self, request: web.BaseRequest, query: str) -> web.StreamResponse:
        """Answer with a stream of events, or with that of one task's log from where the task is."""
        if request.method != hdrs.METH_GET or self._events is None:
            raise NotImplementedHere(f"Method '{request.method} /events' not implemented")
        sent = credentials.read(request.headers)
        if sent.token and self._daemon is not None:
            return await self._with_token(request, sent, self._daemon)

        def who() -> Identity | None:
            if not sent:
                return self._trusted(request)
            return self._authentication.identify(sent, changes=False, address=_address(request))

        identity = who()
        if identity is None or identity.node is not None:
            raise AuthenticationError("No ticket")
        given = dict(read_form(query))
        task = given.pop("task", None)
        if given:
            raise ParameterError(dict.fromkeys(given, "there is no such parameter: use task=UPID"))
        if task is None:
            return await self._events.listen(request, identity, who)
        try:
            upid = Upid.parse(task)
        except ValueError as error:
            raise ParameterError({"task": str(error)}) from None
        node = self._named_now(upid.node)
        if node != self._store.node:
            self._once(request, node)
            return await self._nodes.forward(request, node, self._own_ticket(sent, identity))
        if self._daemon is not None:
            return await self._daemon.forward(request, _address(request))
        assert self._follow is not None, "pvedaemon knows its tasks"
        self._events.require(identity, Right(f"/nodes/{node}", "Sys.Audit", upid.user))
        return await self._events.follow(request, self._follow(task), who)

    def _require_login(self, identity: Identity | None, route: Route) -> None:
        """Keep strangers away from what a request costs behind this daemon; rights are checked there."""
        if not isinstance(route.method.permission, Anyone) and identity is None:
            self._caller.authorise(Match(route, {}), None, ())

    def _localise(self, match: Match) -> Match:
        node = match.values["node"]
        now = self._store.node if node == "localhost" else self._named_now(node)
        return match if now == node else replace(match, values={**match.values, "node": now})

    def _named_now(self, node: str) -> str:
        """What a node is called that was renamed: tasks' ids and bookmarks have its former name."""
        if node == self._store.node or any(node == one.name for one in self._store.membership.members):
            return node
        former = self._store.read(FORMER)
        return present_name(former.text, node) if former is not None else node

    def _gone(self, node: str) -> bool:
        return node not in {member.name for member in self._store.membership.members if member.online}

    async def _to_node(
        self,
        request: web.BaseRequest,
        node: str,
        sent: Credentials,
        identity: Identity | None,
        route: Route,
    ) -> web.StreamResponse:
        self._require_login(identity, route)
        self._once(request, node)
        return await self._nodes.forward(request, node, self._own_ticket(sent, identity))

    def _once(self, request: web.BaseRequest, node: str) -> None:
        """Raise ``TooManyRedirections`` for what was forwarded to this node already."""
        if FORWARDED in request.headers:
            raise TooManyRedirections(
                f"too many redirections: node '{request.headers[FORWARDED][:64]}' sent a request for node "
                f"'{node}' to node '{self._store.node}'"
            )

    def _own_ticket(self, sent: Credentials, identity: Identity | None) -> dict[str, str]:
        """Headers for another node in the name of a command, which has no ticket of its own."""
        if sent or identity is None:
            return {}
        ticket, csrf = self._authentication.issue(identity.user)
        return {hdrs.AUTHORIZATION: f"PVEAuthCookie={ticket}", credentials.CSRF_HEADER: csrf}

    async def _parameters(self, request: web.BaseRequest, query: str) -> Pairs:
        """All parameters beside those in the path, from query and body."""
        pairs = read_form(query) if query else ()
        if not request.body_exists:
            return pairs
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read()
        except TimeoutError:
            raise ParameterError({}, f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        return [*pairs, *_read_body(request.content_type, body)]


def _read_body(content_type: str, body: bytes) -> Pairs:
    if not body:
        return ()
    if content_type == "application/json":
        return read_json(body)
    if content_type in ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain"):
        try:
            return read_form(body.decode("utf-8"))
        except UnicodeDecodeError:
            raise ParameterError({}, "the body is not UTF-8 text") from None
    raise ParameterError({}, f"the body's type '{content_type[:80]}' is not known: send a form or JSON")


def _has_format(match: Match, flavour: str) -> None:
    """Refuse to do what can't be answered in the format it is asked in. Raises ``NotImplementedHere``."""
    result = match.target.method.result if isinstance(match.target, Route) else None
    if flavour == replies.PNG and not is_picture(result):
        raise NotImplementedHere("this method has no picture: use /api2/json")
    if flavour == replies.SPICE and not is_viewer_file(result):
        raise NotImplementedHere("this method has no file for a viewer: use /api2/json")


def _open(match: Match) -> bool:
    return isinstance(match.target, Route) and isinstance(match.target.method.permission, Anyone)


def _uploads_from_no_page(request: web.BaseRequest, match: Match) -> bool:
    """Known clients send no CSRF token with an upload; a page, the one to be misled, names its origin."""
    route = match.target
    return isinstance(route, Route) and route.method.upload and hdrs.ORIGIN not in request.headers


def _address(request: web.BaseRequest) -> str:
    """The client's address; on pvedaemon's socket, where ``remote`` is empty, by pveproxy's word."""
    return request.remote or request.headers.get(credentials.FORWARDED_FOR) or ""
