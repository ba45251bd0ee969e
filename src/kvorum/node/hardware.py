"""This node's USB and PCI devices, read from sysfs (Documentation/ABI/testing/sysfs-bus-usb, sysfs-bus-pci).

Small files of the kernel's memory; a device that goes away meanwhile is left out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, object]

SYSFS = Path("/sys")
NAMES = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))
"""Where Debian's packages pci.ids and hwdata put the vendors' names; without them there are none."""
_USB = re.compile(r"(?P<bus>\d+)-(?P<port>\d+(?:\.\d+)*)")
_ROOT_HUB = re.compile(r"usb(?P<bus>\d+)")
_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def usb_devices(sysfs: Path = SYSFS) -> list[Row]:
    """Every USB device, hubs too, by bus and port; ``usbpath`` is what ``host=BUS-PORT`` of a guest names."""
    rows = []
    for folder in _folders(sysfs / "bus/usb/devices"):
        match, root = _USB.fullmatch(folder.name), _ROOT_HUB.fullmatch(folder.name)
        if match is None and root is None:
            continue  # an interface of a device, such as 1-2:1.0
        try:
            path = match["port"] if match else ""
            row: Row = {
                "busnum": int(_text(folder, "busnum")),
                "devnum": int(_text(folder, "devnum")),
                "level": path.count(".") + 1 if path else 0,
                "port": int(path.rpartition(".")[2]) - 1 if path else 0,
                "class": int(_text(folder, "bDeviceClass"), 16),
                "vendid": _text(folder, "idVendor"),
                "prodid": _text(folder, "idProduct"),
                "speed": _text(folder, "speed"),
            }
        except (OSError, ValueError):
            continue
        if path:
            row["usbpath"] = path
        for name in ("manufacturer", "product", "serial"):
            if text := _optional(folder, name):
                row[name] = text
        rows.append(row)
    return sorted(rows, key=lambda row: (row["busnum"], str(row.get("usbpath", ""))))


def pci_devices(
    hidden: Sequence[str], *, verbose: bool = True, sysfs: Path = SYSFS, names: Sequence[Path] = NAMES
) -> list[Row]:
    """PCI devices by address, without the classes whose codes begin with one of ``hidden`` (``06``: bridges).

    ``verbose``: with their vendors and names, not the addresses alone.
    """
    known = next((_names(file) for file in names if file.is_file()), {}) if verbose else {}
    rows = []
    for folder in _folders(sysfs / "bus/pci/devices"):
        if not _PCI.fullmatch(folder.name):
            continue
        try:
            kind = _text(folder, "class")
            if any(kind.removeprefix("0x").startswith(code.removeprefix("0x")) for code in hidden):
                continue
            rows.append(_pci_row(folder, kind, verbose, known))
        except OSError:
            continue
    return rows


def _pci_row(folder: Path, kind: str, verbose: bool, known: dict[str, str]) -> Row:
    if not verbose:
        return {"id": folder.name}
    vendor, device = _text(folder, "vendor"), _text(folder, "device")
    row: Row = {"id": folder.name, "class": kind, "vendor": vendor, "device": device}
    group = folder / "iommu_group"
    row["iommugroup"] = int(group.readlink().name) if group.is_symlink() else -1
    if (folder / "mdev_supported_types").is_dir():
        row["mdev"] = True
    for name in ("subsystem_vendor", "subsystem_device"):
        if text := _optional(folder, name):
            row[name] = text
    found = {
        "vendor_name": known.get(vendor.removeprefix("0x")),
        "device_name": known.get(f"{vendor}{device}".replace("0x", "")),
        "subsystem_vendor_name": known.get(str(row.get("subsystem_vendor", "")).removeprefix("0x")),
    }
    return row | {name: text for name, text in found.items() if text}


@functools.lru_cache(maxsize=2)
def _names(file: Path) -> dict[str, str]:
    """Names by ``VENDOR`` and ``VENDORDEVICE``, in lower-case hex: pci.ids' own format."""
    found: dict[str, str] = {}
    vendor = ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("C "):
            break  # classes follow
        if match := re.match(r"(\t?)([0-9a-f]{4})  (.+)", line):
            vendor = vendor if match[1] else match[2]
            found[vendor + match[2] if match[1] else vendor] = match[3]
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # a kernel without this bus


def _text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8", errors="replace").strip()


def _optional(folder: Path, name: str) -> str:
    try:
        return _text(folder, name)
    except OSError:
        return ""
