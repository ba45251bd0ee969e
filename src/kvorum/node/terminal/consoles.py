"""Terminals that were asked for: each a task that waits for its one websocket, then runs a shell for it.

A console is known by a number from 5900 to 5999 and belongs to who asked for it. Nothing listens on that
number: it only names the console, since the known clients carry a port.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from kvorum.core.errors import KvorumError
from kvorum.interface import ROOT, TaskLog, WebSocket
from kvorum.node.terminal.frames import BadFrame, Frames, Resized, Typed
from kvorum.node.terminal.pty import Pty

PORTS = range(5900, 6000)
COME_TIMEOUT_S = 40.0
"""How long a console waits for its websocket."""


@dataclass(eq=False, slots=True)
class Console:
    """One terminal from its request to its end."""

    port: int
    user: str
    came: asyncio.Future[WebSocket] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Consoles:
    """The terminals of this node."""

    def __init__(self) -> None:
        self._open: dict[int, Console] = {}

    def reserve(self, user: str) -> Console:
        """A new console for a user; raises ``KvorumError`` when too many are open."""
        for port in PORTS:
            if port not in self._open:
                self._open[port] = Console(port, user)
                return self._open[port]
        raise KvorumError(f"{len(PORTS)} consoles are open on this node: close some")

    def find(self, port: int, user: str) -> Console:
        """The console that waits for this user; raises ``KvorumError`` when none does."""
        console = self._open.get(port)
        if console is None or console.user != user or console.came.done():
            raise KvorumError(f"no console waits on port {port} for '{user}': ask for a new one")
        return console

    def release(self, console: Console) -> None:
        """End a console; whoever waits for it learns so."""
        self._open.pop(console.port, None)
        console.came.cancel()
        console.ended.set()

    async def serve(self, console: Console, log: TaskLog) -> None:
        """Wait for the console's websocket and run the shell until either ends: the console's task."""
        try:
            log.line(f"waiting for a client on port {console.port}")
            try:
                async with asyncio.timeout(COME_TIMEOUT_S):
                    socket = await console.came
            except TimeoutError:
                raise KvorumError(f"no client came within {COME_TIMEOUT_S:g} s") from None
            log.line("a client is connected")
            await _talk(socket, console.user)
            log.line("the terminal is closed")
        finally:
            self.release(console)


def command(user: str) -> list[str]:
    """What runs on a terminal: root is logged in (login(1), ``-f``), anyone else is asked by login(1).

    A daemon that is no root's has nobody else's shell to give.
    """
    if os.geteuid() != 0:
        return ["/bin/sh", "-i"]
    return ["/bin/login", "-f", "root"] if user == ROOT else ["/bin/login"]


async def _talk(socket: WebSocket, user: str) -> None:
    home = {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    environment = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.defpath, **home}
    try:
        pty = await Pty.start(command(user), environment)
    except OSError as error:
        raise KvorumError(f"the shell did not start: {error}") from error
    try:
        talking = [
            asyncio.create_task(_show(socket, pty), name=f"show {user}"),
            asyncio.create_task(_type(socket, pty), name=f"type {user}"),
        ]
        try:
            done, _ = await asyncio.wait(talking, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
        for task in done:
            task.result()  # raises what ended it
    finally:
        await pty.close()


async def _show(socket: WebSocket, pty: Pty) -> None:
    while data := await pty.read():
        await socket.send(data)


async def _type(socket: WebSocket, pty: Pty) -> None:
    frames = Frames()
    while (data := await socket.receive()) is not None:
        try:
            found = frames.feed(data)
        except BadFrame as error:
            raise KvorumError(f"the client does not speak the terminal's protocol: it sent {error}") from None
        for frame in found:
            match frame:
                case Typed(keys):
                    await pty.write(keys)
                case Resized(columns, rows):
                    pty.resize(columns, rows)
