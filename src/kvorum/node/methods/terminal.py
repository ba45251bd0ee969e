"""A node's shell: asked for, then had over a websocket."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvorum.core.errors import NotImplementedHere, ParameterError
from kvorum.interface import Boolean, Context, Conversation, NodeName, Parameters, Privilege, Where, method
from kvorum.node.terminal import shell
from kvorum.tasks.consoles import ConsoleOffer, SocketQuestion, Wanted, offer, taken

_CONSOLE = Privilege("/nodes/{node}", "Sys.Console")


class ShellParameters(Parameters):
    node: NodeName
    cmd: Literal["ceph_install", "login", "upgrade"] = Field("login", description="What to run; login.")
    cmd_opts: str = Field("", alias="cmd-opts", description="Parameters for it; login takes none.")


class SocketParameters(SocketQuestion):
    node: NodeName


@method("POST", "/nodes/{node}/termproxy", permission=_CONSOLE, where=Where.NODE, protected=True)
async def terminal(ctx: Context, p: ShellParameters) -> ConsoleOffer:
    """Creates a VNC Shell proxy."""
    if p.cmd != "login":
        raise ParameterError({"cmd": f"'{p.cmd}' is not had here; use 'login'"})
    if p.cmd_opts:
        raise ParameterError({"cmd-opts": "login takes no options"})
    user = ctx.identity.name
    return offer(ctx, Wanted(_path(p.node), lambda socket: shell(socket, user), task="vncshell"))


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
    return taken(ctx, p, _path(p.node))


def _path(node: str) -> str:
    return f"/nodes/{node}"
