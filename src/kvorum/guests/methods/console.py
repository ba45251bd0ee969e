"""A guest's consoles: its display, its serial ports as terminals, a picture, its keyboard, QEMU's monitor."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.guests.console import SerialPorts
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    Conversation,
    Download,
    Privilege,
    WebSocket,
    Where,
    method,
)
from kvorum.tasks.consoles import ConsoleOffer, SocketQuestion, Wanted, offer, taken

_BASE = "/nodes/{node}/qemu/{vmid}"
_CONSOLE = Privilege("/vms/{vmid}", "VM.Console")
_CA = "pve-root-ca.pem"


class KeyParameters(GuestPath):
    key: str
    skiplock: Boolean = False


class MonitorParameters(GuestPath):
    command: str


class DisplayParameters(GuestPath):
    websocket: Boolean = Field(
        default=True, description="A console is had over a websocket; nothing listens elsewhere."
    )
    generate_password: Boolean = Field(
        default=False,
        alias="generate-password",
        description="Make a password that the console asks for, instead of its ticket.",
    )


class DisplayOffer(TypedDict):
    """How to come to a guest's display."""

    port: int
    ticket: str
    upid: str
    user: str
    cert: str
    password: NotRequired[str]


class TerminalParameters(GuestPath):
    serial: Literal["serial0", "serial1", "serial2", "serial3"] | None = Field(
        default=None, description="Which serial port; the first there is."
    )


class GuestSocketParameters(SocketQuestion, GuestPath):
    """Which console of which guest."""


class Picture(TypedDict):
    """Where the picture lies on its node; the format ``png`` answers with the picture itself."""

    filename: str


@method("POST", f"{_BASE}/vncproxy", permission=_CONSOLE, where=Where.NODE, protected=True,
        commands=(Command("qm vncproxy", "vmid", output="console"),))  # fmt: skip
async def display(ctx: Context, p: DisplayParameters) -> DisplayOffer:
    """Creates a VNC proxy connection to the virtual machine's display.

    The websocket speaks RFB and asks for the password, by VNC's scheme. Without one of its own the password
    is the ticket, of which VNC takes eight characters, and may be left out: the websocket has checked it.
    """
    from kvorum.guests.console import display, rfb

    manager = ctx.service(GuestManager)
    guest = manager.need_running(p.vmid)
    shown = guest.config.vga.type
    if shown.startswith("serial"):
        raise GuestError(f"VM {p.vmid}: its display is {shown}: use 'termproxy'")
    password = rfb.new_password() if p.generate_password else ""

    async def talk(socket: WebSocket) -> str:
        secret = password or found["ticket"]
        return await display.show(socket, manager, guest, secret, demanded=p.generate_password)

    found = offer(ctx, Wanted(_path(p.vmid), talk, id=str(p.vmid), greets=False))
    ca = ctx.store.read(_CA)
    answer = DisplayOffer(
        port=found["port"],
        ticket=found["ticket"],
        upid=found["upid"],
        user=found["user"],
        cert="" if ca is None else ca.text,
    )
    if password:
        answer["password"] = password
    return answer


@method("POST", f"{_BASE}/termproxy", permission=_CONSOLE, where=Where.NODE, protected=True,
        commands=(Command("qm terminal", "vmid", output="console"),))  # fmt: skip
async def terminal(ctx: Context, p: TerminalParameters) -> ConsoleOffer:
    """Creates a proxy connection to a serial port of the virtual machine."""
    guest, ports = ctx.service(GuestManager).need_running(p.vmid), ctx.service(SerialPorts)
    there = sorted(key for key, value in guest.config.serials.items() if value == "socket")
    if not there:
        raise GuestError(
            f"VM {p.vmid} has no serial port to show: set 'serial0: socket', then stop it and start it again"
        )
    port = p.serial or there[0]
    if port not in there:
        raise ParameterError({"serial": f"VM {p.vmid} has no '{port}' to show; there is {', '.join(there)}"})
    wanted = Wanted(_path(p.vmid), lambda socket: ports.show(socket, guest, port), id=str(p.vmid))
    return offer(ctx, wanted)


@method("GET", f"{_BASE}/vncwebsocket", permission=_CONSOLE, where=Where.NODE, protected=True, websocket=True)
async def websocket(ctx: Context, p: GuestSocketParameters) -> Conversation:
    """Opens a websocket for a console that was asked for by ``vncproxy`` or ``termproxy``."""
    return taken(ctx, p, _path(p.vmid))


@method("GET", f"/kvorum{_BASE}/screenshot", permission=_CONSOLE, where=Where.NODE, protected=True)
async def screenshot(ctx: Context, p: GuestPath) -> Download[Picture]:
    """A picture of what the virtual machine's display shows (returns PNG)."""
    from kvorum.guests.console import display

    manager = ctx.service(GuestManager)
    guest = manager.need_running(p.vmid)
    file = manager.workshop.files.path(p.vmid, "png")
    await display.picture(guest, file)
    return Download(file, "image/png", f"vm-{p.vmid}.png", Picture(filename=str(file)))


@method("PUT", f"{_BASE}/sendkey", permission=_CONSOLE, where=Where.NODE,
        protected=True, commands=(Command("qm sendkey", "vmid", "key"),))  # fmt: skip
async def sendkey(ctx: Context, p: KeyParameters) -> None:
    """Send a key event to the virtual machine, such as ``ctrl-alt-delete``."""
    keys = [{"type": "qcode", "data": name} for name in p.key.split("-") if name]
    await ctx.service(GuestManager).need_running(p.vmid).monitor.execute("send-key", {"keys": keys})


@method("POST", f"{_BASE}/monitor", where=Where.NODE, protected=True,
        permission=Privilege("/vms/{vmid}", "Sys.Audit", "Sys.Modify", any_of=True),
        commands=(Command("qm monitor", "vmid", "command..."),))  # fmt: skip
async def monitor(ctx: Context, p: MonitorParameters) -> str:
    """Execute a command of QEMU's human monitor. Who may only look, may only ask ``info`` and ``help``."""
    word = p.command.split()[:1]
    if word not in (["info"], ["help"]) and not ctx.allowed(f"/vms/{p.vmid}", "Sys.Modify"):
        raise PermissionDenied(f"Permission check failed (/vms/{p.vmid}, Sys.Modify)")
    guest = ctx.service(GuestManager).need_running(p.vmid)
    return str(await guest.monitor.execute("human-monitor-command", {"command-line": p.command}))


def _path(vmid: int) -> str:
    return f"/vms/{vmid}"
