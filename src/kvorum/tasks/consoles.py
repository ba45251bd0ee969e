"""Consoles that were asked for: each a task that waits for its one websocket, then talks over it.

A console is known by a number from 5900 to 5999 and belongs to who asked for it and to what it shows. Nothing
listens on that number: it only names the console, since the known clients carry a port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict

from pydantic import Field

from kvorum.access import Authentication
from kvorum.core.errors import AuthenticationError, KvorumError
from kvorum.core.terminal_frames import BadFrame, Frame, Frames
from kvorum.interface import Context, Conversation, Parameters, TaskLog, WebSocket, Work
from kvorum.tasks.runner import TaskRunner

PORTS = range(5900, 6000)
COME_TIMEOUT_S = 40.0
"""How long a console waits for its websocket."""

Talk: TypeAlias = Callable[[WebSocket], Awaitable[str]]
"""What happens over a console's websocket; returns why it ended, empty when the client went."""


class SocketQuestion(Parameters):
    """Which console a websocket is for."""

    port: int = Field(ge=5900, le=5999, description="The number that the request for a console gave.")
    vncticket: str = Field(max_length=512, description="The console's ticket.")


class ConsoleOffer(TypedDict):
    """How to come to a console."""

    port: int
    ticket: str
    upid: str
    user: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a console is to be."""

    path: str
    """What it shows, as permissions and tickets name it: ``/nodes/n1``, ``/vms/100``."""
    talk: Talk
    task: str = "vncproxy"
    id: str = ""
    """The id in the task's UPID."""
    greets: bool = True
    """Its client says ``USER:TICKET`` first and is told ``OK``, as terminals' clients do."""


@dataclass(eq=False, slots=True)
class Console:
    """One console from its request to its end."""

    port: int
    user: str
    wanted: Wanted
    came: asyncio.Future[WebSocket] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Why it has ended, as the client is told; empty: there is nothing to say."""


class Consoles:
    """The consoles of this node, of itself and of its guests."""

    def __init__(self) -> None:
        self._open: dict[int, Console] = {}

    def reserve(self, user: str, wanted: Wanted) -> Console:
        """A new console for a user; raises ``KvorumError`` when too many are open."""
        for port in PORTS:
            if port not in self._open:
                self._open[port] = Console(port, user, wanted)
                return self._open[port]
        raise KvorumError(f"{len(PORTS)} consoles are open on this node: close some")

    def find(self, port: int, user: str, path: str) -> Console:
        """The console that waits for this user; raises ``KvorumError`` when none does."""
        console = self._open.get(port)
        if console is None or (console.user, console.wanted.path) != (user, path) or console.came.done():
            raise KvorumError(f"no console waits on port {port} for '{user}': ask for a new one")
        return console

    def release(self, console: Console, reason: str = "") -> None:
        """End a console; whoever waits for it learns why."""
        self._open.pop(console.port, None)
        console.came.cancel()
        if not console.ended.done():
            console.ended.set_result(reason)

    async def serve(self, console: Console, log: TaskLog) -> None:
        """Wait for the console's websocket and talk over it until that ends: the console's task."""
        reason = ""
        try:
            log.line(f"waiting for a client on port {console.port}")
            try:
                async with asyncio.timeout(COME_TIMEOUT_S):
                    socket = await console.came
            except TimeoutError:
                raise KvorumError(f"no client came within {COME_TIMEOUT_S:g} s") from None
            log.line("a client is connected")
            reason = await console.wanted.talk(socket)
            log.line(reason or "the console is closed")
        except KvorumError as error:
            reason = str(error)
            raise
        except ConnectionError:
            log.line("the client is gone")
        finally:
            self.release(console, reason)


def offer(ctx: Context, wanted: Wanted) -> ConsoleOffer:
    """Begin a console's task for the caller."""
    user, consoles = ctx.identity.name, ctx.service(Consoles)
    ticket = ctx.service(Authentication).console_ticket(user, wanted.path)
    console = consoles.reserve(user, wanted)
    try:
        work = Work(wanted.task, wanted.id, lambda log: consoles.serve(console, log))
        upid = ctx.service(TaskRunner).start(work, user)
    except BaseException:
        consoles.release(console)
        raise
    return ConsoleOffer(port=console.port, ticket=ticket, upid=upid, user=user)


def taken(ctx: Context, question: SocketQuestion, path: str) -> Conversation:
    """The caller's console, to be had over a websocket.

    Raises ``AuthenticationError`` for a ticket that is another's, of another place or too old, and
    ``KvorumError`` when no such console waits.
    """
    user, authentication = ctx.identity.name, ctx.service(Authentication)
    if not authentication.console_ticket_valid(question.vncticket, user, path):
        raise AuthenticationError("permission denied - invalid PVEVNC ticket")
    console = ctx.service(Consoles).find(question.port, user, path)

    async def talk(socket: WebSocket) -> None:
        if console.wanted.greets:
            greeting = (await socket.receive() or b"").decode("utf-8", "replace").rstrip("\n")
            name, _, ticket = greeting.partition(":")
            if name != user or not authentication.console_ticket_valid(ticket, user, path):
                raise KvorumError("permission denied - invalid PVEVNC ticket")
        if console.came.done():
            raise KvorumError(f"another client has the console on port {console.port}")
        if console.wanted.greets:
            await socket.send(b"OK")
        console.came.set_result(socket)
        if reason := await asyncio.shield(console.ended):
            raise KvorumError(reason)

    return talk


async def said(socket: WebSocket) -> AsyncIterator[Frame]:
    """What a terminal's client says until it goes; raises ``KvorumError`` for what is none of it."""
    frames = Frames()
    while (data := await socket.receive()) is not None:
        try:
            found = frames.feed(data)
        except BadFrame as error:
            raise KvorumError(f"the client does not speak the terminal's protocol: it sent {error}") from None
        for frame in found:
            yield frame
