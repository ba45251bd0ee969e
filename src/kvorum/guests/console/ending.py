"""Why a guest's console ended, in a sentence for who looked at it."""

from __future__ import annotations

from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager

END_DEADLINE_S = 5.0
"""QEMU closes its sockets a moment before it has ended."""


async def why_ended(manager: GuestManager, guest: RunningGuest) -> str:
    """What became of a guest whose QEMU has let a console go."""
    vmid, here = guest.vmid, manager.store.node
    if not await guest.process.wait(END_DEADLINE_S):
        return f"VM {vmid} closed this console; open it anew"
    owner = manager.registry.owner(vmid)
    if owner is not None and owner != here:
        return f"VM {vmid} has moved to node '{owner}': open its console anew"
    if guest.end_reason:
        return f"VM {vmid} is off ({guest.end_reason})"
    return f"VM {vmid}: QEMU died; its last output is in the log of node '{here}'"
