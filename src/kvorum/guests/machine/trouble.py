"""Why QEMU has a guest stand still that was not asked to: a disk's storage is full, or fails. Pure.

QEMU stops a guest at a write for which there is no room (``werror=enospc``, its default), and tries that
write again when the guest goes on (QEMU's QMP reference, BLOCK_IO_ERROR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kvorum.guests.config import GuestConfig
from kvorum.guests.machine.nodes import names


def told(config: GuestConfig, data: Mapping[str, Any]) -> str:
    """What an event BLOCK_IO_ERROR says, and what to do."""
    key = _disk(config, str(data.get("node-name", "")), str(data.get("qom-path", "")))
    reason = f"{data.get('operation', 'an access')} failed: {data.get('reason', 'I/O error')}"
    return _sentence(config, key, "no room" if data.get("nospace") else reason)


def found(config: GuestConfig, devices: Sequence[Mapping[str, Any]]) -> str:
    """What QEMU's devices say of a guest that stood still before this daemon began, and what to do."""
    for device in devices:
        status = device.get("io-status", "ok")
        if status != "ok":
            inserted = device.get("inserted") or {}
            key = _disk(config, str(inserted.get("node-name", "")), str(device.get("qdev", "")))
            return _sentence(config, key, "no room" if status == "nospace" else "an access failed")
    return _sentence(config, "", "an access failed")


def _disk(config: GuestConfig, node: str, path: str) -> str:
    """The disk that a block node or a device's path belongs to; empty when none does."""
    parts = path.split("/")
    return next((key for key in config.disks if node in names(key) or key in parts), "")


def _sentence(config: GuestConfig, key: str, what: str) -> str:
    disk = config.disks.get(key)
    where = f"{key} ('{disk.file}')" if disk is not None else "one of its disks"
    mend = "make room on its storage" if what == "no room" else "look at its storage"
    return f"{what} at {where}; {mend}, then qm resume {config.vmid}"
