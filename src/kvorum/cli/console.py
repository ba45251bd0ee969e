"""A guest's console at a terminal: ``qm terminal`` (Ctrl-O ends it), ``qm vncproxy`` (bytes as they are)."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

from kvorum.cli.client import form
from kvorum.cli.failures import CommandFailure
from kvorum.cli.websocket import WebSocketClient

ESCAPE = b"\x0f"
_CHUNK_BYTES = 4 << 10
_TAKEN = b"OK"


def talk(daemon: Path, path: str, offer: object) -> int:
    """Have the console that was offered on standard input and output; the exit status.

    Raises ``CommandFailure`` with what the other side said at its end.
    """
    if not isinstance(offer, dict):
        raise CommandFailure("pvedaemon offers no console")
    place, _, kind = path.rpartition("/")
    terminal = kind == "termproxy"
    query = form({"port": str(offer["port"]), "vncticket": str(offer["ticket"])})
    console = WebSocketClient(daemon, f"/api2/json{place}/vncwebsocket?{query}")
    try:
        if terminal:
            console.send(f"{offer['user']}:{offer['ticket']}\n".encode())
            first = _once_taken(console)
            print("starting serial terminal (press Ctrl+O to exit)", file=sys.stderr, flush=True)
            with _Raw():
                _write(sys.stdout.fileno(), first)
                _exchange(console, framed, escape=ESCAPE)
        else:
            _exchange(console, bytes, escape=b"")
    except ConnectionError as error:
        raise CommandFailure(f"the console is lost: {error}") from None
    finally:
        console.close()
    if console.reason:
        raise CommandFailure(console.reason)
    return 0


def framed(keys: bytes) -> bytes:
    """Keys as a terminal's client sends them."""
    return b"0:%d:%s" % (len(keys), keys)


def _once_taken(console: WebSocketClient) -> bytes:
    """Wait until the console is given; what it has shown by then."""
    said = b""
    while len(said) < len(_TAKEN):
        messages = console.receive()
        if messages is None:
            raise CommandFailure(console.reason or "the console was not given")
        said += b"".join(messages)
    return said.removeprefix(_TAKEN)


def _exchange(console: WebSocketClient, wrap: Callable[[bytes], bytes], *, escape: bytes) -> None:
    """Pass bytes both ways until either side ends, or the escape is typed."""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready, _, _ = select.select([keyboard, console], [], [])
        if console in ready:
            messages = console.receive()
            if messages is None:
                return
            for message in messages:
                _write(screen, message)
        if keyboard in ready:
            keys = os.read(keyboard, _CHUNK_BYTES)
            before, typed_escape, _ = keys.partition(escape) if escape else (keys, b"", b"")
            if before:
                console.send(wrap(before))
            if not keys or typed_escape:
                return


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Raw:
    """The terminal gives each key as it is, as long as this holds; nothing to do where there is none."""

    def __enter__(self) -> None:
        self._before = None
        if sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setraw(sys.stdin)

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
