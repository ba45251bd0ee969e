"""HTTP/1.1 to pvedaemon over its unix socket, in the standard library's socket and json alone.

A command lives for milliseconds, so each call is one connection with ``Connection: close`` (RFC 9112).
Who calls is told by the socket (SO_PEERCRED): root needs no ticket here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from kvorum.cli.failures import CallRefused, DaemonSilent

Value: TypeAlias = str | Sequence[str]
ANSWER_TIMEOUT_S = 300.0
MAX_ANSWER_BYTES = 64 << 20

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode a text for one path segment or one form value (RFC 3986: all but unreserved)."""
    return "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in text.encode())


def form(parameters: Mapping[str, Value]) -> str:
    """Parameters as ``name=value&…``; a sequence repeats its name."""
    pairs: Iterable[tuple[str, str]] = (
        (name, part)
        for name, value in parameters.items()
        for part in ([value] if isinstance(value, str) else value)
    )
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


class Client:
    """Calls of the API on this node."""

    def __init__(self, path: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s

    def call(self, verb: str, path: str, parameters: Mapping[str, Value] | None = None) -> object:
        """Call ``verb path`` (without ``/api2/json``, already percent-encoded); return the answer's ``data``.

        Raises ``CallRefused`` with the API's error and ``DaemonSilent`` when there is no whole answer.
        """
        text = form(parameters or {})
        in_url = (
            verb == "GET"
        )  # else in the body, for an address is written down where a password must not be
        target = f"/api2/json{path}" + (f"?{text}" if in_url and text else "")
        body = b"" if in_url else text.encode()
        head = [
            f"{verb} {target} HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            "Accept: application/json",
        ]
        if not in_url:
            head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        answer = self._exchange("\r\n".join([*head, "", ""]).encode() + body)
        return _data(*_split(answer, self.path))

    def _exchange(self, request: bytes) -> bytes:
        """Send a request and read to the end of the connection."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout_s)
            try:
                connection.connect(str(self.path))
            except PermissionError:
                raise DaemonSilent(f"only root may use {self.path}: run this as root") from None
            except OSError:
                raise DaemonSilent(
                    f"pvedaemon does not answer at {self.path}: systemctl status pvedaemon"
                ) from None
            try:
                connection.sendall(request)
                answer = bytearray()
                while part := connection.recv(1 << 16):
                    answer += part
                    if len(answer) > MAX_ANSWER_BYTES:
                        raise DaemonSilent(f"pvedaemon's answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
            except TimeoutError:
                raise DaemonSilent(
                    f"pvedaemon took the request and did not answer within {self._timeout_s:g} s: "
                    "look at what was done before trying again"
                ) from None
            except OSError as error:
                raise DaemonSilent(
                    f"pvedaemon went away before it answered ({error}): systemctl status pvedaemon"
                ) from None
        return bytes(answer)


def _split(answer: bytes, path: Path) -> tuple[int, str, bytes]:
    """An answer's status, reason phrase and body, the body whole; raises ``DaemonSilent`` when it is cut."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code, _, reason = rest.partition(" ")
    if not blank or not version.startswith("HTTP/1.") or not code.isdigit():
        raise DaemonSilent(f"what answers at {path} is not pvedaemon, or it stopped half-way")
    fields = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _unchunk(body)
    elif len(body) < int(fields.get("content-length", "0")):
        raise DaemonSilent("pvedaemon stopped in the middle of its answer: systemctl status pvedaemon")
    return int(code), reason, body


def _unchunk(body: bytes) -> bytes:
    """Join the chunks of a chunked body (RFC 9112, 7.1); raises ``DaemonSilent`` when the last is missing."""
    parts: list[bytes] = []
    rest = body
    while True:
        size_text, line_end, rest = rest.partition(b"\r\n")
        try:
            size = int(size_text.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if not line_end or size < 0 or len(rest) < size:
            raise DaemonSilent("pvedaemon stopped in the middle of its answer: systemctl status pvedaemon")
        if size == 0:
            return b"".join(parts)
        parts.append(rest[:size])
        rest = rest[size + 2 :]


def _data(code: int, reason: str, body: bytes) -> object:
    """The answer's ``data``, or ``CallRefused``; the reason phrase stands in for a body without message."""
    try:
        content = json.loads(body) if body.strip() else {}
    except ValueError:
        content = {}
    if not isinstance(content, dict):
        content = {}
    if 200 <= code < 300:
        return content.get("data")
    errors = content.get("errors")
    message = content.get("message")
    raise CallRefused(
        code,
        message if isinstance(message, str) and message.strip() else reason,
        {str(k): str(v).strip() for k, v in errors.items()} if isinstance(errors, dict) else None,
    )
