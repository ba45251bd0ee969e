"""A websocket (RFC 6455) to pvedaemon over its unix socket, as a client has it.

As in ``client.py``, the standard library alone: a command must not pay for an HTTP library.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path

from kvorum.cli.failures import CallRefused, DaemonSilent

_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING = 0x0, 0x1, 0x2, 0x8, 0x9
_PONG = 0xA
_MAX_HEAD_BYTES = 64 << 10
_MAX_FRAME_BYTES = 8 << 20
_HANDSHAKE_TIMEOUT_S = 30.0


class WebSocketClient:
    """One open websocket. ``fileno`` and ``pending`` are for waiting on several things at once."""

    def __init__(self, path: Path, target: str) -> None:
        """Open ``target`` (path and query, encoded); raises ``CallRefused`` or ``DaemonSilent``."""
        self.reason = ""
        """Why the other side closed, if it said so."""
        self._rest = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_HANDSHAKE_TIMEOUT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            f"GET {target} HTTP/1.1",
            "Host: localhost",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Protocol: binary",
        ]
        try:
            self._socket.connect(str(path))
            self._socket.sendall("\r\n".join([*head, "", ""]).encode())
            self._opened()
        except OSError as error:
            self._socket.close()
            raise DaemonSilent(f"pvedaemon does not answer at {path} ({error})") from None
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Say goodbye, whether or not it is heard."""
        try:
            self._send(_CLOSE, (1000).to_bytes(2))
        except OSError:
            pass
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send one message; raises ``ConnectionError``."""
        self._send(_BINARY, data)

    def receive(self) -> list[bytes] | None:
        """Wait for bytes; the messages that are whole now, or ``None`` when the other side has closed."""
        data = self._socket.recv(1 << 16)
        if not data:
            return None
        self._rest += data
        found: list[bytes] = []
        while (frame := self._frame()) is not None:
            code, content = frame
            if code == _PING:
                self._send(_PONG, content)
            elif code == _CLOSE:
                self.reason = content[2:].decode("utf-8", "replace")
                return None
            elif code in (_CONTINUED, _TEXT, _BINARY):
                found.append(content)
        return found

    def _opened(self) -> None:
        while b"\r\n\r\n" not in self._rest:
            data = self._socket.recv(1 << 16)
            if not data or len(self._rest) > _MAX_HEAD_BYTES:
                raise DaemonSilent(
                    "pvedaemon stopped in the middle of its answer: systemctl status pvedaemon"
                )
            self._rest += data
        head, _, rest = bytes(self._rest).partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("utf-8", "replace").split(" ", 2)
        if status[1:2] != ["101"]:
            code = int(status[1]) if status[1:2] and status[1].isdigit() else 500
            raise CallRefused(code, _sentence(rest) or " ".join(status[2:]))
        self._rest = bytearray(rest)

    def _frame(self) -> tuple[int, bytes] | None:
        """The frame at the front, taken away; ``None`` while it is not whole. A server's are not masked."""
        rest = self._rest
        if len(rest) < 2:
            return None
        length, at = rest[1] & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            if len(rest) < at:
                return None
            length = int.from_bytes(rest[2:at])
        if length > _MAX_FRAME_BYTES:
            raise ConnectionAbortedError(f"a message of {length} bytes")
        if len(rest) < at + length:
            return None
        frame = rest[0] & 0x0F, bytes(rest[at : at + length])
        del rest[: at + length]
        return frame

    def _send(self, code: int, data: bytes) -> None:
        """Send one frame, masked as a client's must be."""
        length = len(data)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 1 << 16:
            size = bytes([0x80 | 126]) + length.to_bytes(2)
        else:
            size = bytes([0x80 | 127]) + length.to_bytes(8)
        mask = os.urandom(4)
        pad = int.from_bytes((mask * (length // 4 + 1))[:length])
        masked = (int.from_bytes(data) ^ pad).to_bytes(length)
        self._socket.sendall(bytes([0x80 | code]) + size + mask + masked)


def _sentence(body: bytes) -> str:
    """The refusal's own words, where its body has them."""
    try:
        content = json.loads(body)
    except ValueError:
        return ""
    return str(content.get("message", "")).strip() if isinstance(content, dict) else ""
