"""One task's events from pvedaemon (``/api2/events?task=UPID``), as they come over its unix socket.

As in ``client.py``, the standard library's socket and json alone: a command must not pay for an HTTP library.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from kvorum.cli.client import quote

SILENT_S = 40.0
"""The daemon says something every 15 s; who says nothing for longer is gone."""
_MAX_LINE = 1 << 20

Event: TypeAlias = tuple[str, dict[str, object]]
"""An event's name and data."""


class NoStream(Exception):
    """There is no stream, or it broke; ``forever`` when asking for it again is in vain."""

    def __init__(self, text: str, *, forever: bool = False) -> None:
        super().__init__(text)
        self.forever = forever


def task_events(path: Path, upid: str, shown: int) -> Iterator[Event]:
    """A task's events from the line after ``shown`` on, until the stream ends; raises ``NoStream``."""
    request = [
        f"GET /api2/events?task={quote(upid)} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Accept: text/event-stream",
        f"Last-Event-ID: {shown}",
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SILENT_S)
        try:
            connection.connect(str(path))
            connection.sendall("\r\n".join([*request, "", ""]).encode())
            with connection.makefile("rb") as answer:
                yield from _events(_body(answer))
        except (OSError, ValueError) as error:
            raise NoStream(str(error)) from None


def _body(answer: BinaryIO) -> Iterator[bytes]:
    """The pieces of an answer's body; raises ``NoStream`` when it is a refusal or ends half-way."""
    code = answer.readline(_MAX_LINE).split(b" ", 2)[1:2]
    chunked = False
    while (line := answer.readline(_MAX_LINE).strip().lower()) != b"":
        chunked = chunked or line == b"transfer-encoding: chunked"
    if code != [b"200"]:
        away = code in ([b"595"], [b"596"], [])
        raise NoStream(f"the daemon answered {code}", forever=not away)
    while not chunked:
        if not (piece := answer.readline(_MAX_LINE)):
            return
        yield piece
    while size := int(answer.readline(_MAX_LINE).partition(b";")[0], 16):
        piece = answer.read(size)
        answer.readline(_MAX_LINE)
        yield piece


def _events(pieces: Iterator[bytes]) -> Iterator[Event]:
    """The events in a body (WHATWG HTML, 9.2); comments and what is not JSON are left out."""
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            if b"data" in fields:
                data = json.loads(fields[b"data"])
                if isinstance(data, dict):
                    yield fields.get(b"event", b"message").decode(), data
