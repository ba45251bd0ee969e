"""USB devices of the host in a guest: found in sysfs, opened by the daemon, and handed over as descriptors.

QEMU runs under a uid of the guest's own and has no right on /dev/bus/usb; it gets each device as an fd set
(``-add-fd``) and drives it through libusb. They hang on an xHCI controller of their own, so that a guest
without them has the machine that it had before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kvorum.guests.config import GuestConfig
from kvorum.guests.config.hardware import Usb
from kvorum.guests.errors import GuestConfigError, GuestError
from kvorum.guests.machine.spice import redirected_usb

CONTROLLER_ID = "xhci"
CONTROLLER = f"qemu-xhci,id={CONTROLLER_ID},bus=pci.0,addr=0x1b,p2=15,p3=15"
"""Room for every ``usbN``, of USB 2 and of USB 3."""
FIRST_SET = 900
"""fd sets of the command line begin here; QEMU numbers those that come later from 0."""


def open_all(
    config: GuestConfig, sysfs: Path = Path("/sys"), devices: Path = Path("/dev/bus/usb")
) -> dict[str, int]:
    """A descriptor for each of the guest's USB devices, which the caller closes. Blocking, a millisecond.

    Raises ``GuestError`` naming the device that is not there, or of which there are several.
    """
    opened: dict[str, int] = {}
    try:
        for key, usb in config.host_usbs.items():
            opened[key] = open_one(key, usb, sysfs, devices)
    except BaseException:
        close_all(opened)
        raise
    return opened


def open_one(key: str, usb: Usb, sysfs: Path = Path("/sys"), devices: Path = Path("/dev/bus/usb")) -> int:
    """The same for one device."""
    check(key, usb)
    return _open(key, find(key, usb, sysfs, devices))


def close_all(opened: Mapping[str, int]) -> None:
    """Close our copies, once QEMU has its own or isn't coming."""
    for descriptor in opened.values():
        os.close(descriptor)


def check(key: str, usb: Usb) -> None:
    """Refuse what is no device of the host. Raises ``GuestConfigError``."""
    if usb.mapping:
        raise GuestConfigError(
            f"{key}: mapping={usb.mapping}: there are no mappings; name the device by host=VENDOR:PRODUCT"
        )


def find(key: str, usb: Usb, sysfs: Path, devices: Path) -> Path:
    """The device's file, such as /dev/bus/usb/002/007. Raises ``GuestError``."""
    found = [folder for folder in _folders(sysfs / "bus/usb/devices") if _fits(folder, usb)]
    if not found:
        raise GuestError(
            f"{key}: USB device {usb.host} is not on this node; plug it in, or look at what is there: "
            "pvesh get /nodes/NODE/hardware/usb"
        )
    if len(found) > 1:
        ports = ", ".join(sorted(f"host={folder.name}" for folder in found))
        raise GuestError(f"{key}: several USB devices are {usb.host}: name one by its port: {ports}")
    try:
        bus, number = (int((found[0] / name).read_text()) for name in ("busnum", "devnum"))
    except (OSError, ValueError):
        raise GuestError(f"{key}: USB device {usb.host} went away just now") from None
    return devices / f"{bus:03d}" / f"{number:03d}"


def arguments(config: GuestConfig, opened: Mapping[str, int]) -> Iterator[str]:
    """The controller, and each device on its port: one of the host, or a place for one of a SPICE client."""
    if not opened and not any(usb.spice for usb in config.usbs.values()):
        return
    yield from ("-device", CONTROLLER)
    for key, usb in config.usbs.items():
        if usb.spice:
            yield from redirected_usb(key, int(key[3:]) + 1)
            continue
        yield from ("-add-fd", f"fd={opened[key]},set={fd_set(key)},opaque={key}")
        yield from ("-device", device(key))


def device(key: str) -> str:
    """The device on its port, over its descriptor."""
    return f"usb-host,id={key},bus=xhci.0,port={int(key[3:]) + 1},hostdevice=/dev/fdset/{fd_set(key)}"


def fd_set(key: str) -> int:
    """The fd set that holds its descriptor."""
    return FIRST_SET + int(key[3:])


def _fits(folder: Path, usb: Usb) -> bool:
    if usb.port:
        return folder.name == usb.port
    try:
        ids = ":".join((folder / name).read_text().strip().lower() for name in ("idVendor", "idProduct"))
    except OSError:
        return False
    return ids == usb.ids


def _open(key: str, path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise GuestError(f"{key}: '{path}' can't be opened: {error.strerror}") from error


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
