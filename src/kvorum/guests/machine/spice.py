"""A guest's display by SPICE, as QEMU's command line has it: wherever ``vga`` is one of qxl's.

QEMU's server listens nowhere (``port=0``): each channel of a client is handed to it over QMP, by a daemon
that asked for the password, so that QEMU asks for none. Debian has this part of QEMU as a package of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError

PACKAGE = "qemu-system-modules-spice"
SERVER = "port=0,disable-ticketing=on"
VGA_MIB = 16
"""QXL's own memory for one screen."""
_SCREENS = ("0x18", "0x19", "0x1a")
"""The addresses on pci.0 of the second to the fourth screen."""


def wanted(config: GuestConfig) -> bool:
    """Whether the guest has a display by SPICE."""
    return config.vga.screens > 0


def server(config: GuestConfig, available: bool) -> list[str]:
    """QEMU's SPICE server; raises ``GuestConfigError`` on a node whose QEMU has none."""
    if not wanted(config):
        _refuse_parts(config)
        return []
    if not available:
        raise GuestConfigError(
            f"VM {config.vmid}: vga: {config.vga.type}: this node's QEMU has no SPICE; install {PACKAGE} and "
            "restart pvedaemon, or use std or virtio"
        )
    streaming = config.spice_enhancements.video_streaming
    return ["-spice", f"{SERVER},streaming-video={streaming}" if streaming else SERVER]


def screens(config: GuestConfig) -> Iterator[str]:
    """The display's devices. Windows' driver wants one for each screen, Linux' has them all in one."""
    count, memory = config.vga.screens, config.vga.memory_mib
    if count > 1 and not config.windows:
        # All screens lie in one surface; the rest is in QEMU's own proportion (64 MiB for 16).
        each = memory or VGA_MIB * count
        yield (
            f"qxl-vga,id=vga,max_outputs={count},bus=pci.0,addr=0x2,vgamem_mb={each},"
            f"ram_size_mb={each * 4},vram_size_mb={each * 4}"
        )
        return
    size = f",vgamem_mb={memory}" if memory else ""
    yield f"qxl-vga,id=vga,bus=pci.0,addr=0x2{size}"
    for number, address in enumerate(_SCREENS[: count - 1], 1):
        yield f"qxl,id=vga{number},bus=pci.0,addr={address}{size}"


def channels(config: GuestConfig) -> Iterator[str]:
    """What a client shares with the guest besides the display: the agent's port, and a folder."""
    if not wanted(config):
        return
    if not config.vga.clipboard:  # which has the agent's port for VNC's clients
        yield from ("-chardev", "spicevmc,id=vdagent,name=vdagent")
        yield from ("-device", "virtserialport,bus=vserial0.0,chardev=vdagent,name=com.redhat.spice.0")
    if config.spice_enhancements.folder_sharing:
        yield from ("-chardev", "spiceport,id=folder,name=org.spice-space.webdav.0")
        yield from ("-device", "virtserialport,bus=vserial0.0,chardev=folder,name=org.spice-space.webdav.0")


def redirected_usb(key: str, port: int) -> Iterator[str]:
    """A place for a USB device that stands beside the client."""
    yield from ("-chardev", f"spicevmc,id={key}-redir,name=usbredir")
    yield from ("-device", f"usb-redir,id={key},chardev={key}-redir,bus=xhci.0,port={port}")


def _refuse_parts(config: GuestConfig) -> None:
    """Refuse what only a SPICE client can use, where none can come."""
    if config.audio is not None and config.audio.driver == "spice":
        raise GuestConfigError(
            f"VM {config.vmid}: audio0: driver=spice wants a display by SPICE; set 'vga: qxl', or write "
            "driver=none, and the guest has a card whose sound nobody hears"
        )
    for key, usb in config.usbs.items():
        if usb.spice:
            raise GuestConfigError(
                f"VM {config.vmid}: {key}: spice wants a display by SPICE; set 'vga: qxl', or remove it"
            )
