"""A running guest's drives copied while it goes on: mirrors until all are in step, then one moment at rest.

A mirror's failure (no room, a dead storage) is the copy's alone: the guest's writes do not fail with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from kvorum.guests.errors import GuestError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration.memory import finish_disks, give_up_disks, mirror_disks
from kvorum.guests.snapshots.standstill import Standstill
from kvorum.interface import TaskLog


async def copy_running(
    manager: GuestManager,
    guest: RunningGuest,
    targets: Mapping[str, tuple[str, str]],
    rate_kib_s: int,
    log: TaskLog,
) -> None:
    """Copy drives (by key) to files (path and format); all copies are of one instant, with the guest's file
    systems at rest if its agent can. Raises ``GuestError``; the guest goes on as before.
    """
    nodes = {key: _node(path, format) for key, (path, format) in targets.items()}
    if not nodes:
        return

    def alive() -> None:
        if guest.process.ended.is_set():
            raise GuestError(f"VM {guest.vmid} ended while it was copied")

    try:
        await mirror_disks(guest.monitor, nodes, alive, log, rate_kib_s)
        async with Standstill(manager, guest, log) as still:
            await still.freeze()
            await still.pause()
            await finish_disks(guest.monitor, list(nodes))
    except BaseException:
        if not guest.monitor.closed.is_set():
            await asyncio.shield(give_up_disks(guest.monitor, list(nodes)))
        raise


async def give_up_earlier(manager: GuestManager, guest: RunningGuest) -> None:
    """End the copies of a guest that an earlier daemon had begun when it died; a migration's are its own."""
    if guest.record.incoming or manager.registry.config(guest.vmid).lock == "migrate":
        return
    await give_up_disks(guest.monitor, list(guest.config.disks))


def _node(path: str, format: str) -> dict[str, object]:
    """A new file as a block node; blanks stay holes."""
    protocol = "host_device" if path.startswith("/dev/") else "file"
    return {
        "driver": format,
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "file": {"driver": protocol, "filename": path, "discard": "unmap"},
    }
