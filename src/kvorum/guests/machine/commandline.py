"""QEMU's command line from a guest's configuration: a pure function, pinned by golden files in the tests.

Sockets and taps come as file descriptors that the daemon has opened, so QEMU needs no right to make them.
Every device has a fixed name and PCI address (the addresses guests know from Proxmox, so that a guest's
network card keeps its name), because a migration's target must build the very same machine.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kvorum.guests.config import Disk, GuestConfig, Nic
from kvorum.guests.config.devices import NIC_MODELS
from kvorum.guests.config.options import unsupported
from kvorum.guests.errors import GuestConfigError
from kvorum.guests.machine import usb
from kvorum.guests.machine.cpu import cpu_argument
from kvorum.guests.machine.firmware import board, compact, platform, uefi
from kvorum.guests.machine.iothreads import served_by, threads
from kvorum.guests.machine.memory import memory
from kvorum.guests.machine.peripherals import iommu, peripherals

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
CONSOLES = "none,share=force-shared"
"""VNC that listens nowhere: who may look is handed in over QMP."""
MONITORS = ("qmp", "mon")
"""Two QMP sockets a guest: one for pvedaemon, one for ``qm monitor`` and rescue."""
AGENT = "qga"

_SCSI_CONTROLLERS = {
    "lsi": "lsi53c895a",
    "lsi53c810": "lsi53c810",
    "virtio-scsi-pci": "virtio-scsi-pci",
    "virtio-scsi-single": "virtio-scsi-pci",
    "megasas": "megasas",
    "pvscsi": "pvscsi",
}
_DISPLAYS = {
    "std": "VGA",
    "virtio": "virtio-vga",
    "qxl": "qxl-vga",
    "cirrus": "cirrus-vga",
    "vmware": "vmware-svga",
}
_CACHE = {  # QEMU's manual, -drive cache=: (write-back for the guest, O_DIRECT, ignore flushes)
    "none": (True, True, False),
    "writethrough": (False, False, False),
    "writeback": (True, False, False),
    "unsafe": (True, False, True),
    "directsync": (False, True, False),
}
_NO_DISK_OPTIONS = {
    "snapshot": " (a snapshot and a rollback throw changes away)",
    "scsiblock": " (QEMU is not allowed to send commands to the host's disks)",
}
"""Options of a disk that can't be honoured, and what does it instead."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the command line depends on besides the configuration."""

    binary: str
    version: str
    """QEMU's version, such as ``10.0.2``."""
    accelerator: str
    """``kvm`` or ``tcg``: what the probe found to work here."""
    machines: Mapping[str, str]
    """The versioned machine type behind ``pc`` and ``q35``."""
    reason: str = ""
    """Why there is no KVM, as a sentence."""
    machine_types: frozenset[str] = frozenset()
    """Every machine type that QEMU can make here."""


@dataclass(frozen=True, slots=True)
class Drive:
    """Where a disk's data is on this node."""

    path: str
    format: str
    direct_io: bool = True
    """Whether the file can be opened with O_DIRECT."""
    backing: Drive | None = None
    """The base that a linked clone rests on: named here, so that QEMU follows no name inside the image."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a network card hangs on: a tap's descriptors, or (without one) QEMU's own NAT."""

    fds: tuple[int, ...] = ()
    """One for each queue."""
    vhost_fds: tuple[int, ...] = ()
    mtu: int = 0
    """What the bridge carries, for a card that is to have the same."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the daemon has opened for one start: listening sockets by name, taps, disks."""

    sockets: Mapping[str, int]
    drives: Mapping[str, Drive] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    tpm_fd: int | None = None
    """QEMU's end of the line to the guest's swtpm; ``None``: no guest will run, its volumes are served."""
    usb_fds: Mapping[str, int] = field(default_factory=dict)
    """The host's USB devices by key, opened."""


def socket_names(config: GuestConfig) -> tuple[str, ...]:
    """The names of the sockets a guest needs: monitors, serial ports, the agent's channel."""
    serial = tuple(key for key, value in config.serials.items() if value == "socket")
    return (*MONITORS, *serial, *((AGENT,) if config.agent.enabled else ()))


def accelerator(config: GuestConfig, facts: NodeFacts) -> str:
    """``kvm`` or ``tcg`` for this guest: its ``kvm`` setting decides, else what works on the node."""
    if "kvm" in config.settings:
        return "kvm" if config.flag("kvm") else "tcg"
    return facts.accelerator


def machine_type(config: GuestConfig, facts: NodeFacts, running: str = "") -> str:
    """The versioned machine type: the one it already runs with, else the newest of its family."""
    wanted = running or config.machine.type
    return facts.machines.get(wanted, wanted)


def command_line(
    config: GuestConfig,
    facts: NodeFacts,
    wiring: Wiring,
    *,
    machine: str = "",
    pinned: str = "",
    cpu: str = "",
    incoming: bool = False,
) -> list[str]:
    """QEMU's argument list; the guest is started stopped (``-S``).

    ``machine`` and ``pinned`` are the machine type and the accelerator of a running guest that comes in,
    ``cpu`` the value of ``-cpu`` that one had whose memory was kept.
    Raises ``GuestConfigError`` for a setting that this version can't make.
    """
    _refuse_unsupported(config)
    kind = pinned or accelerator(config, facts)
    arguments = [facts.binary, "-name", f"{config.name.replace(',', ',,')},debug-threads=on"]
    arguments += ["-no-user-config", "-nodefaults", "-display", "none", "-S", "-sandbox", SANDBOX]
    arguments += ["-vnc", CONSOLES]
    for name in MONITORS:
        arguments += _socket(wiring, name)
        arguments += ["-mon", f"chardev={name},mode=control"]
    arguments += ["-machine", f"type={machine_type(config, facts, machine)}{board(config, kind)}"]
    arguments += ["-accel", kind]
    arguments += ["-cpu", cpu or cpu_argument(config, kind)]
    arguments += ["-smp", f"{config.cpus},sockets={config.sockets},cores={config.cores},"
                  f"maxcpus={config.cores * config.sockets}"]  # fmt: skip
    arguments += [*memory(config), "-msg", "timestamp=on"]
    arguments += [*platform(config, kind), *uefi(config, _variables(config, wiring))]
    arguments += iommu(config, kind)
    for device in (*buses(config), *_display(config), *_balloon(config)):
        arguments += ["-device", device]
    arguments += _serials(config, wiring)
    arguments += _agent(config, wiring)
    arguments += _drives(config, wiring)
    arguments += _nics(config, wiring)
    arguments += peripherals(config, wiring.tpm_fd)
    arguments += usb.arguments(config, wiring.usb_fds)
    if wiring.tpm_fd is None and (state := wiring.drives.get("tpmstate0")):
        arguments += ["-blockdev", compact(blockdev("tpmstate0", config.disks["tpmstate0"], state))]
    arguments += shlex.split(config.text("args"))
    if incoming:
        arguments += ["-incoming", "defer"]
    return arguments


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


def _refuse_unsupported(config: GuestConfig) -> None:
    if config.template:
        raise GuestConfigError(f"VM {config.vmid} is a template; clone it and start the clone")
    found = sorted(key for key in config.settings if unsupported(key))
    if found:
        raise GuestConfigError(
            f"VM {config.vmid}: {', '.join(found)}: not supported by this version; remove it"
        )
    for key, disk in config.disks.items():
        for option, instead in _NO_DISK_OPTIONS.items():
            if disk.flag(option):
                raise GuestConfigError(
                    f"VM {config.vmid}: {key}: {option}=1: not supported by this version; remove it{instead}"
                )


def _socket(wiring: Wiring, name: str) -> list[str]:
    return ["-chardev", f"socket,id={name},fd={wiring.sockets[name]},server=on,wait=off"]


def _variables(config: GuestConfig, wiring: Wiring) -> dict[str, object] | None:
    """The block node of the UEFI firmware's variables."""
    disk, drive = config.disks.get("efidisk0"), wiring.drives.get("efidisk0")
    if disk is None or drive is None:
        return None
    return blockdev("efidisk0", replace(disk, options={**disk.options, "cache": "writeback"}), drive)


def buses(config: GuestConfig) -> Iterator[str]:
    """PCI bridges, and only those that something hangs on, so that the same guest always gets the same."""
    if config.machine.is_q35:
        yield "pcie-pci-bridge,id=pci.0,bus=pcie.0,addr=0x1e"
    if any(int(key[3:]) > 5 for key in config.nics):
        yield "pci-bridge,id=pci.1,chassis_nr=1,bus=pci.0,addr=0x1e"
    if any(key.startswith("virtio") and int(key[6:]) > 5 for key in config.disks):
        yield "pci-bridge,id=pci.2,chassis_nr=2,bus=pci.0,addr=0x1f"
    single = config.text("scsihw") == "virtio-scsi-single"
    if single and any(key.startswith("scsi") for key in config.disks):
        yield "pci-bridge,id=pci.3,chassis_nr=3,bus=pci.0,addr=0x5"


def _display(config: GuestConfig) -> Iterator[str]:
    vga = config.vga
    model = _DISPLAYS.get(vga.type)
    if vga.type in ("virtio-gl", "qxl2", "qxl3", "qxl4"):
        raise GuestConfigError(
            f"VM {config.vmid}: vga: {vga.type}: not supported by this version; use std or virtio"
        )
    if model:
        key = "max_hostmem" if vga.type == "virtio" else "vgamem_mb"
        value = (vga.memory_mib or 0) << 20 if vga.type == "virtio" else vga.memory_mib
        memory = f",{key}={value}" if vga.memory_mib and vga.type != "cirrus" else ""
        yield f"{model},id=vga,bus=pci.0,addr=0x2{memory}"
    if model and config.flag("tablet", True):
        yield f"piix3-usb-uhci,id=uhci,bus=pci.0,addr={'0x1' if config.machine.is_q35 else '0x1.0x2'}"
        yield "usb-tablet,id=tablet,bus=uhci.0,port=1"


def _balloon(config: GuestConfig) -> Iterator[str]:
    if config.number("balloon", 1):
        yield "virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on"


def _serials(config: GuestConfig, wiring: Wiring) -> list[str]:
    arguments = []
    for key, value in config.serials.items():
        if value == "socket":
            arguments += _socket(wiring, key)
        else:
            arguments += ["-chardev", f"serial,id={key},path={value}"]
        arguments += ["-device", f"isa-serial,chardev={key},index={key[-1]}"]
    return arguments


def _agent(config: GuestConfig, wiring: Wiring) -> list[str]:
    if not config.agent.enabled:
        return []
    name = "name=org.qemu.guest_agent.0"
    if config.agent.type == "isa":
        return [*_socket(wiring, AGENT), "-device", f"isa-serial,chardev={AGENT},index=3"]
    bus = ["-device", "virtio-serial-pci,id=vserial0,bus=pci.0,addr=0x8"]
    return [*_socket(wiring, AGENT), *bus, "-device", f"virtserialport,bus=vserial0.0,chardev={AGENT},{name}"]


def _drives(config: GuestConfig, wiring: Wiring) -> list[str]:
    arguments: list[str] = []
    boot = {name: index for index, name in enumerate(config.boot_devices)}
    disks = config.bus_disks
    for thread in threads(config):
        arguments += ["-object", f"iothread,id={thread}"]
    for controller in controllers(config):
        arguments += ["-device", controller]
    for key, disk in disks.items():
        drive = wiring.drives.get(key)
        if drive is not None:
            arguments += ["-blockdev", compact(blockdev(key, disk, drive))]
        index = f",bootindex={100 + boot[key]}" if key in boot else ""
        arguments += ["-device", disk_device(config, key, disk, drive is not None) + index]
    return arguments


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


def _nics(config: GuestConfig, wiring: Wiring) -> list[str]:
    arguments: list[str] = []
    boot = {name: index for index, name in enumerate(config.boot_devices)}
    for key, nic in config.nics.items():
        link = wiring.links.get(key, Link())
        if not link.fds:
            arguments += ["-netdev", f"user,id={key}"]
        else:
            vhost = f",vhost=on,{_descriptors('vhostfd', link.vhost_fds)}" if link.vhost_fds else ""
            arguments += ["-netdev", f"tap,id={key},{_descriptors('fd', link.fds)}{vhost}"]
        index = f",bootindex={100 + boot[key]}" if key in boot else ""
        arguments += ["-device", nic_device(key, nic, link) + index]
    return arguments


def _descriptors(name: str, numbers: Sequence[int]) -> str:
    """One descriptor, or one for each queue."""
    return f"{name}={numbers[0]}" if len(numbers) == 1 else f"{name}s={':'.join(map(str, numbers))}"


def nic_device(key: str, nic: Nic, link: Link) -> str:
    """The device of a network card, over the net back end of the same name."""
    number = int(key[3:])
    where = f"bus=pci.0,addr={hex(0x12 + number)}" if number < 6 else f"bus=pci.1,addr={hex(number - 5)}"
    tail = ""
    if nic.model == "virtio":
        mtu = int(nic.options.get("mtu", "0"))
        if mtu := link.mtu if mtu == 1 else mtu:
            tail += f",host_mtu={mtu}"
        if len(link.fds) > 1:  # for each queue one vector each way, one for the configuration, one to control
            tail += f",mq=on,vectors={2 * len(link.fds) + 2}"
    return f"{NIC_MODELS[nic.model]},mac={nic.mac},netdev={key},{where},id={key}{tail}"
