"""A guest's display by SPICE: the file that a remote viewer opens, and the way of each of its channels."""

from __future__ import annotations

from pydantic import Field

from kvorum.access import Authentication, SpiceTicket
from kvorum.core.errors import AuthenticationError, KvorumError, PermissionDenied
from kvorum.guests.console.spice import SpiceSessions, show
from kvorum.guests.console.viewer_file import SpiceConfig, spice_config
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.interface import (
    Anyone,
    Context,
    Conversation,
    Privilege,
    ViewerFile,
    WebSocket,
    Where,
    Work,
    method,
)
from kvorum.tasks import TaskRunner

_BASE = "/nodes/{node}/qemu/{vmid}"
_CA = "pve-root-ca.pem"


class SpiceParameters(GuestPath):
    proxy: str | None = Field(
        default=None,
        max_length=255,
        pattern=r"^[A-Za-z0-9.:_\[\]-]+$",
        description="The node, by a name or address that the client reaches, whose proxy it is to use; the "
        "guest's own if not given.",
    )


class SpiceSocketParameters(GuestPath):
    ticket: str = Field(max_length=1024, description="The session's ticket.")


@method("POST", f"{_BASE}/spiceproxy", permission=Privilege("/vms/{vmid}", "VM.Console"), where=Where.NODE,
        protected=True)  # fmt: skip
async def spice(ctx: Context, p: SpiceParameters) -> ViewerFile[SpiceConfig]:
    """Returns a SPICE configuration to connect to the virtual machine.

    The format ``spiceconfig`` answers with the file that virt-viewer opens. A client has to come within 40 s.
    """
    manager = ctx.service(GuestManager)
    guest = manager.need_running(p.vmid)
    if not guest.config.vga.screens:
        raise GuestError(
            f"VM {p.vmid}: its display is '{guest.config.vga.type}', and SPICE wants 'vga: qxl'; "
            "use 'vncproxy'"
        )
    certificate, ca = ctx.store.read(f"nodes/{ctx.store.node}/pve-ssl.pem"), ctx.store.read(_CA)
    if certificate is None or ca is None:
        raise KvorumError(f"node '{ctx.store.node}' has no certificate of the cluster's yet: try again")
    sessions = ctx.service(SpiceSessions)
    session = sessions.begin(p.vmid, ctx.identity)
    try:
        ticket = ctx.service(Authentication).spice_ticket(SpiceTicket(p.vmid, ctx.store.node, session.id))
        title = f"VM {p.vmid} - {guest.config.name}"
        proxy = p.proxy or ctx.store.membership.address_of(ctx.store.node) or ctx.store.node
        config = spice_config(title, ticket, proxy, certificate.text, ca.text, session.password)
        work = Work("spiceproxy", str(p.vmid), lambda log: sessions.serve(session, manager, guest, log))
        ctx.service(TaskRunner).start(work, ctx.identity.name)
    except BaseException:
        sessions.end(session)
        raise
    return ViewerFile(config, f"vm-{p.vmid}.vv")


@method("GET", f"/kvorum{_BASE}/spicesocket", permission=Anyone(), where=Where.NODE, protected=True,
        websocket=True)  # fmt: skip
async def channel(ctx: Context, p: SpiceSocketParameters) -> Conversation:
    """Opens a websocket for one channel of a SPICE session, for the node's spiceproxy.

    The ticket says which session; its password is asked for inside, and its user's right looked at anew.
    """
    ticket = ctx.service(Authentication).spice_ticket_of(p.ticket)
    if ticket is None or (ticket.vmid, ticket.node) != (p.vmid, ctx.store.node.lower()):
        raise AuthenticationError("permission denied - invalid SPICE ticket")
    manager, session = ctx.service(GuestManager), ctx.service(SpiceSessions).find(ticket.session, p.vmid)
    if not ctx.authority.allowed(session.identity, f"/vms/{p.vmid}", "VM.Console"):
        raise PermissionDenied(f"Permission check failed (/vms/{p.vmid}, VM.Console)")
    guest = manager.need_running(p.vmid)

    async def talk(socket: WebSocket) -> None:
        if reason := await show(socket, manager, guest, session):
            raise KvorumError(reason)

    return talk
