"""Answers ``/api2/events``: without parameters all that changes, with ``task=UPID`` that task's log.

The streams are as browsers' EventSource reads them (WHATWG HTML, 9.2). ``Last-Event-ID`` goes on where one
ended; where that can't be, ``event: reset`` says so first. A listener that is too slow gets ``event: cut``
and the end of its stream, one whose ticket has expired ``event: expired``; both may come again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from kvorum.core.errors import AuthenticationError, KvorumError, PermissionDenied
from kvorum.core.waiting import until_first
from kvorum.interface import Authority, Identity, to_json
from kvorum.node.resource_rows import ResourceRows
from kvorum.server.events.ring import Lagged, Right, Ring
from kvorum.server.events.sources import Sources
from kvorum.store import Store
from kvorum.tasks.follow import Follower, LogEnd, LogLine, LogProgress, News

log = logging.getLogger(__name__)

PATH = "/api2/events"
KEEP_ALIVE_S = 15.0
GATHER_S = 0.05
"""How long events are gathered before listeners are woken: 200 of them get 20 writes a second, not 1,000."""
WRITE_TIMEOUT_S = 30.0
MOST_LISTENERS = 1000

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": "kvorum",
}


class TooManyListeners(KvorumError):
    """No further listener is taken."""

    code = 503


class Events:
    """The streams of one daemon, while ``streaming`` is open."""

    def __init__(self, store: Store, authority: Authority, rows: ResourceRows) -> None:
        self._authority = authority
        self._ring = Ring(secrets.token_hex(4))
        self._sources = Sources(store, rows, self._ring, self._told, lambda: self._listeners > 0)
        self._listeners = 0
        self._news = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def streaming(self) -> AsyncIterator[None]:
        """Feed the streams while open; at the end all end, and their listeners may come again."""
        feeding = asyncio.create_task(self._sources.run(), name="events")
        try:
            yield
        finally:
            self._ended.set()
            self._wake()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def listen(
        self, request: web.BaseRequest, identity: Identity, still_valid: Callable[[], object]
    ) -> web.StreamResponse:
        """Stream to one listener until it goes. ``still_valid`` raises ``AuthenticationError`` when the
        caller's credentials count no longer. Raises ``TooManyListeners``."""
        if self._listeners >= MOST_LISTENERS:
            raise TooManyListeners(f"{MOST_LISTENERS} listeners are here already; try again later")
        answer = web.StreamResponse(headers=_HEADERS)
        self._listeners += 1
        try:
            self._sources.look()
            first, cursor = self._begin(request.headers.get("Last-Event-ID", ""))
            await answer.prepare(request)
            await self._stream(answer, request, identity, still_valid, first, cursor)
        finally:
            self._listeners -= 1
        return answer

    async def follow(
        self, request: web.BaseRequest, follower: Follower, still_valid: Callable[[], object]
    ) -> web.StreamResponse:
        """Stream a task's log from the line after ``Last-Event-ID`` on, to its end."""
        last = request.headers.get("Last-Event-ID", "")
        follower.skip(int(last) if last.isascii() and last.isdigit() and len(last) < 12 else 0)
        answer = web.StreamResponse(headers=_HEADERS)
        await answer.prepare(request)
        while not self._ended.is_set():
            news = await self._next(follower)
            if news is None:
                break
            frames = [_task_frame(one) for one in news] or [b": still here\n\n"]
            if not await _written(answer, request, b"".join(frames)):
                break
            if any(isinstance(one, LogEnd) for one in news):
                break
            try:
                still_valid()
            except AuthenticationError as error:
                await _written(answer, request, _frame("expired", {"message": str(error)}))
                break
        return answer

    async def _next(self, follower: Follower) -> list[News] | None:
        """A task's next news; ``None`` when the daemon ends meanwhile."""
        asked = asyncio.create_task(follower.next(KEEP_ALIVE_S))
        ending = asyncio.create_task(self._ended.wait())
        return asked.result() if asked in await until_first(asked, ending) else None

    def require(self, identity: Identity, right: Right) -> None:
        """Raise ``PermissionDenied`` for a caller who may not see what ``right`` guards."""
        if not self._may(identity, right):
            raise PermissionDenied(f"Permission check failed ({right.path}, {right.privilege})")

    def _may(self, identity: Identity, right: Right) -> bool:
        own = right.user in (identity.user, identity.name)
        return not right.path or own or self._authority.allowed(identity, right.path, right.privilege)

    def _begin(self, last_id: str) -> tuple[bytes, int]:
        """What a new listener is told first, and where it begins."""
        if last_id:
            try:
                cursor = self._ring.cursor(last_id)
                return b": welcome back\n\n", cursor
            except Lagged as lagged:
                return _frame(
                    "reset", {"message": str(lagged)}, self._ring.id_at(self._ring.end)
                ), self._ring.end
        return b"id: %s\nevent: hello\ndata: {}\n\n" % self._ring.id_at(self._ring.end), self._ring.end

    async def _stream(
        self,
        answer: web.StreamResponse,
        request: web.BaseRequest,
        identity: Identity,
        still_valid: Callable[[], object],
        first: bytes,
        cursor: int,
    ) -> None:
        chunk = first
        while await _written(answer, request, chunk) and not self._ended.is_set():
            news = self._news
            if cursor == self._ring.end:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await news.wait()
                except TimeoutError:
                    pass
            try:
                still_valid()
                chunk, cursor = self._ring.take(
                    cursor, identity.name, lambda right: self._may(identity, right)
                )
            except (Lagged, AuthenticationError) as error:
                name = "cut" if isinstance(error, Lagged) else "expired"
                await _written(answer, request, _frame(name, {"message": str(error)}))
                return
            chunk = chunk or b"id: %s\n: still here\n\n" % self._ring.id_at(cursor)

    def _told(self) -> None:
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(GATHER_S, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._news.set()
        self._news = asyncio.Event()


async def _written(answer: web.StreamResponse, request: web.BaseRequest, data: bytes) -> bool:
    """Write, and wait for a slow reader; whether it is still there. One that reads nothing is thrown out."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await answer.write(data)
    except TimeoutError:
        with suppress(AttributeError):
            request.transport.abort()  # type: ignore[union-attr]  # it may be gone by itself
        return False
    except ConnectionError:
        return False
    return True


def _frame(name: str, data: object, last_id: bytes = b"") -> bytes:
    head = b"id: %s\n" % last_id if last_id else b""
    return head + b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(data))


def _task_frame(one: News) -> bytes:
    match one:
        case LogLine(number, text):
            return _frame("log", {"n": number, "t": text}, str(number).encode())
        case LogProgress(fraction, doing):
            return _frame("progress", {"progress": fraction, "doing": doing})
        case LogEnd(status, endtime):
            return _frame("end", {"exitstatus": status, "endtime": endtime})
