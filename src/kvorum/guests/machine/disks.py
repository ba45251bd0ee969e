"""A guest's disks as QEMU is told of them: block nodes, controllers, devices. Pure.

Every device has a fixed name and address, also when it is plugged while the guest runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.machine.firmware import compact
from kvorum.guests.machine.iothreads import served_by, threads

_SCSI_CONTROLLERS = {
    "lsi": "lsi53c895a",
    "lsi53c810": "lsi53c810",
    "virtio-scsi-pci": "virtio-scsi-pci",
    "virtio-scsi-single": "virtio-scsi-pci",
    "megasas": "megasas",
    "pvscsi": "pvscsi",
}
_CACHE = {  # QEMU's manual, -drive cache=: (write-back for the guest, O_DIRECT, ignore flushes)
    "none": (True, True, False),
    "writethrough": (False, False, False),
    "writeback": (True, False, False),
    "unsafe": (True, False, True),
    "directsync": (False, True, False),
}


@dataclass(frozen=True, slots=True)
class Drive:
    """Where a disk's data is on this node."""

    path: str
    format: str
    direct_io: bool = True
    """Whether the file can be opened with O_DIRECT."""
    backing: Drive | None = None
    """The base that a linked clone rests on: named here, so that QEMU follows no name inside the image."""


def arguments(config: GuestConfig, drives: Mapping[str, Drive]) -> list[str]:
    """The disks of QEMU's command line, with their threads and controllers."""
    line: list[str] = []
    boot = {name: index for index, name in enumerate(config.boot_devices)}
    disks = config.bus_disks
    for thread in threads(config):
        line += ["-object", f"iothread,id={thread}"]
    for controller in controllers(config):
        line += ["-device", controller]
    for key, disk in disks.items():
        drive = drives.get(key)
        if drive is not None:
            line += ["-blockdev", compact(blockdev(key, disk, drive))]
        index = f",bootindex={100 + boot[key]}" if key in boot else ""
        line += ["-device", disk_device(config, key, disk, drive is not None) + index]
    return line


def node_name(disk: str) -> str:
    """The block node that a disk's device is attached to."""
    return f"drive-{disk}"


def blockdev(key: str, disk: Disk, drive: Drive) -> dict[str, object]:
    """The ``-blockdev`` (or ``blockdev-add``) definition of a disk: a format node over a protocol node."""
    _, direct, no_flush = _CACHE[disk.options.get("cache", "none")]
    direct = direct and drive.direct_io
    read_only = disk.is_cdrom or disk.flag("ro")
    cache = {"direct": direct, "no-flush": no_flush}
    discard = "unmap" if disk.options.get("discard") == "on" else "ignore"
    aio = disk.options.get("aio", "native" if direct else "threads")
    protocol: dict[str, object] = {
        "driver": "host_device" if drive.path.startswith("/dev/") else "file",
        "node-name": f"file-{key}",
        "filename": drive.path,
        "aio": aio if direct or aio != "native" else "threads",
        "cache": cache,
        "discard": discard,
        "read-only": read_only,
    }
    node: dict[str, object] = {
        "driver": drive.format,
        "node-name": node_name(key),
        "file": protocol,
        "cache": cache,
        "discard": discard,
        "read-only": read_only,
    }
    if drive.backing is not None:
        node["backing"] = _base(drive.backing)
    if not read_only and disk.flag("detect_zeroes", True):
        node["detect-zeroes"] = "unmap" if discard == "unmap" else "on"
    return node


def _base(drive: Drive) -> dict[str, object]:
    """A clone's base, only ever read. Its cache is the host's, since many clones read the same."""
    protocol = "host_device" if drive.path.startswith("/dev/") else "file"
    file = {"driver": protocol, "filename": drive.path, "read-only": True}
    return {"driver": drive.format, "file": file, "read-only": True}


def queues(config: GuestConfig) -> int | None:
    """How many queues a virtio disk gets where CPUs can be plugged: one for each CPU that can be there.

    ``None``: QEMU's own number, that of the CPUs at the start. With CPUs plugged since it would be another
    at a migration's target.
    """
    return config.cores * config.sockets if "cpu" in config.hotplug else None


def controllers(config: GuestConfig) -> Iterator[str]:
    """The controllers that the disks hang on, as ``-device`` takes them."""
    keys = config.bus_disks
    scsi = [key for key in keys if key.startswith("scsi")]
    hardware = config.text("scsihw", "lsi")
    model = _SCSI_CONTROLLERS[hardware]
    many = f",num_queues={queues(config)}" if queues(config) and hardware.startswith("virtio") else ""
    if hardware == "virtio-scsi-single":
        for key in scsi:
            number = int(key[4:])
            own = keys[key].options.get("queues")
            asked = f",num_queues={own}" if own else many
            thread = served_by(config, key)
            yield f"{model},id=virtioscsi{number},bus=pci.3,addr={hex(number + 1)}{asked}{thread}"
    elif scsi:
        wide = hardware.startswith("virtio")
        per_controller = 31 if wide else 7
        for number in sorted({int(key[4:]) // per_controller for key in scsi}):
            name = "virtioscsi" if wide else "scsihw"
            yield f"{model},id={name}{number},bus=pci.0,addr={hex(5 + number)}{many}"
    if any(key.startswith("sata") for key in keys):
        yield "ahci,id=ahci0,bus=pci.0,addr=0x7"


def disk_device(config: GuestConfig, key: str, disk: Disk, has_medium: bool) -> str:
    """The device of a disk, over the block node of ``blockdev``."""
    bus = key.rstrip("0123456789")
    number = int(key[len(bus) :])
    write_back, _, _ = _CACHE[disk.options.get("cache", "none")]
    drive = f",drive={node_name(key)}" if has_medium else ""
    cache = "" if disk.is_cdrom else f",write-cache={'on' if write_back else 'off'}"
    rotation = ",rotation_rate=1" if disk.flag("ssd") and bus != "virtio" else ""
    tail = f"{drive},id={key}{cache}{_told(disk)}{rotation}"
    if bus == "virtio":
        where = f"bus=pci.0,addr={hex(10 + number)}" if number < 6 else f"bus=pci.2,addr={hex(number - 5)}"
        many = f",num-queues={queues(config)}" if queues(config) else ""
        return f"virtio-blk-pci,{where}{tail}{many}{served_by(config, key)}"
    if bus == "scsi":
        model = "scsi-cd" if disk.is_cdrom else "scsi-hd"
        return f"{model},{_scsi_place(config.text('scsihw', 'lsi'), number)}{tail}"
    model = "ide-cd" if disk.is_cdrom else "ide-hd"
    if bus == "sata":
        return f"{model},bus=ahci0.{number}{tail}"
    if config.machine.is_q35:
        return f"{model},bus=ide.{number}{tail}"
    return f"{model},bus=ide.{number // 2},unit={number % 2}{tail}"


def _told(disk: Disk) -> str:
    """What a disk tells the guest of itself, and what it does when the host can't read or write."""
    names = {name: disk.named(name) for name in ("serial", "model", "vendor", "product", "wwn")}
    errors = {name: disk.options.get(name, "") for name in ("rerror", "werror")}
    return "".join(f",{name}={value}" for name, value in (names | errors).items() if value)


def _scsi_place(hardware: str, number: int) -> str:
    if hardware == "virtio-scsi-single":
        return f"bus=virtioscsi{number}.0,channel=0,scsi-id=0,lun={number}"
    if hardware.startswith("virtio"):
        return f"bus=virtioscsi{number // 31}.0,channel=0,scsi-id=0,lun={number % 31}"
    return f"bus=scsihw{number // 7}.0,scsi-id={number % 7}"
