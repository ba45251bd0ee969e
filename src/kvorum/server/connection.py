"""Connections that answer a broken request as any other: JSON, the sentence in the reason phrase."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from kvorum.server import replies


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to a failure that no handler answered; the connection ends."""
        found = super().handle_error(request, status, exc, message)
        text = replies.reason(message or "") if status < 500 else "internal server error"
        answer = replies.reply({"data": None, "message": text}, found.status, text)
        answer.force_close()
        return answer


class Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)
