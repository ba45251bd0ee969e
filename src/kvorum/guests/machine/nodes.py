"""The block node that a disk's device is on: it changes when the disk is moved while the guest runs.

QEMU can't rename a node. So a disk has two names, and one of them is in use at any time; a QEMU that is
started anew has the first. QEMU says which by ``query-block``, where a device is known by its id or, with
virtio, by the path of its back end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvorum.guests.errors import GuestError
from kvorum.guests.machine.disks import node_name
from kvorum.guests.machine.qmp import Monitor


def names(key: str) -> tuple[str, str]:
    """The two names that the block node of a disk can have."""
    return node_name(key), f"{node_name(key)}-moved"


async def present(monitor: Monitor) -> Mapping[str, Mapping[str, Any]]:
    """All block nodes of a QEMU by name."""
    nodes = await monitor.execute("query-named-block-nodes", {"flat": True})
    return {str(node["node-name"]): node for node in nodes}


async def current(monitor: Monitor, key: str) -> str:
    """The node that a disk's device is on now. Raises ``GuestError`` when QEMU has no such disk."""
    return str((await _inserted(monitor, key))["node-name"])


async def current_file(monitor: Monitor, key: str) -> str:
    """The path that a disk's device reads and writes now, also below a job. Raises as ``current``."""
    return str((await _inserted(monitor, key))["file"])


async def _inserted(monitor: Monitor, key: str) -> Mapping[str, Any]:
    for device in await monitor.execute("query-block"):
        qdev, inserted = str(device.get("qdev", "")), device.get("inserted")
        # Firmware's variables are on no device of ours: QEMU calls it /machine/system.flash1.
        if inserted and (qdev == key or f"/{key}/" in qdev or inserted["node-name"] in names(key)):
            return dict(inserted)
    raise GuestError(f"QEMU has no disk '{key}': it waits for the guest's next start")
