"""What ``pve-guests.service`` asks at the boot and the shutdown of a node."""

from __future__ import annotations

from kvorum.guests.host.boot import HostGuests
from kvorum.interface import Context, NodeName, Parameters, RootOnly, Where, Work, method

_BASE = "/kvorum/nodes/{node}/host"


class OfNode(Parameters):
    node: NodeName


@method("POST", f"{_BASE}/up", permission=RootOnly(), where=Where.NODE, protected=True)
async def up(ctx: Context, p: OfNode) -> str:
    """Begin the task that starts the guests with ``onboot``, in order, once there is quorum; its UPID."""
    return ctx.service(HostGuests).come_up()


@method("POST", f"{_BASE}/down", permission=RootOnly(), where=Where.NODE, protected=True, task=True)
async def down(ctx: Context, p: OfNode) -> Work:
    """Shut all guests of the node down, in reverse order; also without quorum, and whatever locks them."""
    return ctx.service(HostGuests).going_down()
