"""A node's shell: asked for, then had over a websocket."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from kvorum.access import Authentication
from kvorum.core.errors import AuthenticationError, KvorumError, NotImplementedHere, ParameterError
from kvorum.interface import (
    Boolean,
    Context,
    Conversation,
    NodeName,
    Parameters,
    Privilege,
    WebSocket,
    Where,
    Work,
    method,
)
from kvorum.node.terminal import Consoles
from kvorum.tasks import TaskRunner

_CONSOLE = Privilege("/nodes/{node}", "Sys.Console")


class ShellParameters(Parameters):
    node: NodeName
    cmd: Literal["ceph_install", "login", "upgrade"] = Field("login", description="What to run; login.")
    cmd_opts: str = Field("", alias="cmd-opts", description="Parameters for it; login takes none.")


class SocketParameters(Parameters):
    node: NodeName
    port: int = Field(ge=5900, le=5999, description="The number that the request for a console gave.")
    vncticket: str = Field(max_length=512, description="The console's ticket.")


class ConsoleOffer(TypedDict):
    """How to come to a console."""

    port: int
    ticket: str
    upid: str
    user: str


@method("POST", "/nodes/{node}/termproxy", permission=_CONSOLE, where=Where.NODE, protected=True)
async def terminal(ctx: Context, p: ShellParameters) -> ConsoleOffer:
    """Creates a VNC Shell proxy."""
    if p.cmd != "login":
        raise ParameterError({"cmd": f"'{p.cmd}' is not had here; use 'login'"})
    if p.cmd_opts:
        raise ParameterError({"cmd-opts": "login takes no options"})
    user, consoles = ctx.identity.name, ctx.service(Consoles)
    ticket = ctx.service(Authentication).console_ticket(user, _path(p.node))
    console = consoles.reserve(user)
    try:
        work = Work("vncshell", "", lambda log: consoles.serve(console, log))
        upid = ctx.service(TaskRunner).start(work, user)
    except BaseException:
        consoles.release(console)
        raise
    return ConsoleOffer(port=console.port, ticket=ticket, upid=upid, user=user)


class VncShellParameters(ShellParameters):
    height: int | None = Field(None, ge=16, le=2160, description="Sets the height of the console in pixels.")
    width: int | None = Field(None, ge=16, le=4096, description="Sets the width of the console in pixels.")
    websocket: Boolean | None = Field(None, description="Use websocket instead of standard vnc.")


class SpiceShellParameters(ShellParameters):
    proxy: str | None = Field(None, max_length=255, description="The client's way to the node.")


@method("POST", "/nodes/{node}/vncshell", permission=_CONSOLE, where=Where.NODE, protected=True)
async def vnc_shell(ctx: Context, p: VncShellParameters) -> ConsoleOffer:
    """Creates a VNC Shell proxy. A node's shell is had by ``termproxy`` alone."""
    raise _not_had("VNC", p.node)


@method("POST", "/nodes/{node}/spiceshell", permission=_CONSOLE, where=Where.NODE, protected=True)
async def spice_shell(ctx: Context, p: SpiceShellParameters) -> ConsoleOffer:
    """Creates a SPICE shell. A node's shell is had by ``termproxy`` alone."""
    raise _not_had("SPICE", p.node)


def _not_had(kind: str, node: str) -> NotImplementedHere:
    return NotImplementedHere(
        f"a node's shell is not had by {kind}: use POST /nodes/{node}/termproxy, a terminal over a websocket"
    )


@method(
    "GET", "/nodes/{node}/vncwebsocket", permission=_CONSOLE, where=Where.NODE, protected=True, websocket=True
)
async def websocket(ctx: Context, p: SocketParameters) -> Conversation:
    """Opens a websocket for VNC traffic."""
    user, authentication = ctx.identity.name, ctx.service(Authentication)
    if not authentication.console_ticket_valid(p.vncticket, user, _path(p.node)):
        raise AuthenticationError("permission denied - invalid PVEVNC ticket")
    console = ctx.service(Consoles).find(p.port, user)

    async def talk(socket: WebSocket) -> None:
        greeting = (await socket.receive() or b"").decode("utf-8", "replace").rstrip("\n")
        name, _, ticket = greeting.partition(":")
        if name != user or not authentication.console_ticket_valid(ticket, user, _path(p.node)):
            raise KvorumError("permission denied - invalid PVEVNC ticket")
        if console.came.done():
            raise KvorumError(f"another client has the console on port {p.port}")
        await socket.send(b"OK")
        console.came.set_result(socket)
        await console.ended.wait()

    return talk


def _path(node: str) -> str:
    return f"/nodes/{node}"
