"""Threads of QEMU that serve one disk each (``iothread=1``): its I/O waits for nothing else of the machine.

The thread belongs to what the guest talks to: a virtio disk itself, or the one controller that a SCSI disk
has with ``virtio-scsi-single``. Elsewhere the setting has no meaning, as users know it.
"""

from __future__ import annotations

from kvorum.guests.config import GuestConfig


def thread_of(config: GuestConfig, key: str) -> str | None:
    """The name of the thread that serves a disk; ``None``: QEMU's main loop does."""
    disk = config.disks.get(key)
    if disk is None or not disk.flag("iothread"):
        return None
    if key.startswith("virtio"):
        return f"iothread-{key}"
    if key.startswith("scsi") and config.text("scsihw") == "virtio-scsi-single":
        return f"iothread-virtioscsi{key.removeprefix('scsi')}"
    return None


def threads(config: GuestConfig) -> list[str]:
    """All of them, in the order of the disks."""
    return [name for key in config.bus_disks if (name := thread_of(config, key)) is not None]


def served_by(config: GuestConfig, key: str) -> str:
    """What the device that a thread serves says of it, as the end of a ``-device`` argument."""
    name = thread_of(config, key)
    return f",iothread={name}" if name else ""


def without_meaning(config: GuestConfig) -> str:
    """A sentence naming the disks whose ``iothread`` changes nothing; empty: there are none."""
    asked = [key for key, disk in config.bus_disks.items() if disk.flag("iothread")]
    lacking = [key for key in asked if thread_of(config, key) is None]
    if not lacking:
        return ""
    meant = "for virtio disks and with scsihw virtio-scsi-single alone"
    return f"{', '.join(lacking)}: iothread has a meaning {meant}"
