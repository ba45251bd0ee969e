"""QEMU's command line from a guest's configuration: a pure function, pinned by golden files in the tests.

Sockets and taps come as file descriptors that the daemon has opened, so QEMU needs no right to make them.
Every device has a fixed name and PCI address (the addresses guests know from Proxmox, so that a guest's
network card keeps its name), because a migration's target must build the very same machine.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from kvorum.guests.config import GuestConfig
from kvorum.guests.config.options import unsupported
from kvorum.guests.errors import GuestConfigError
from kvorum.guests.machine import cards, disks, spice, usb
from kvorum.guests.machine.cards import Link
from kvorum.guests.machine.cpu import cpu_argument
from kvorum.guests.machine.disks import Drive, blockdev
from kvorum.guests.machine.firmware import board, compact, platform, uefi
from kvorum.guests.machine.memory import memory
from kvorum.guests.machine.peripherals import iommu, peripherals

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
CONSOLES = "none,share=force-shared"
"""VNC that listens nowhere: who may look is handed in over QMP."""
MONITORS = ("qmp", "mon")
"""Two QMP sockets a guest: one for pvedaemon, one for ``qm monitor`` and rescue."""
AGENT = "qga"

_DISPLAYS = {
    "std": "VGA",
    "virtio": "virtio-vga",
    "cirrus": "cirrus-vga",
    "vmware": "vmware-svga",
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
    has_spice: bool = True
    """Whether QEMU's part of SPICE is installed."""


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
    arguments += ["-vnc", CONSOLES, *spice.server(config, facts.has_spice)]
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
    arguments += disks.arguments(config, wiring.drives)
    arguments += cards.arguments(config, wiring.links)
    arguments += peripherals(config, wiring.tpm_fd)
    arguments += usb.arguments(config, wiring.usb_fds)
    if wiring.tpm_fd is None and (state := wiring.drives.get("tpmstate0")):
        arguments += ["-blockdev", compact(blockdev("tpmstate0", config.disks["tpmstate0"], state))]
    arguments += shlex.split(config.text("args"))
    if incoming:
        arguments += ["-incoming", "defer"]
    return arguments


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
    if vga.type == "virtio-gl":
        raise GuestConfigError(
            f"VM {config.vmid}: vga: {vga.type}: not supported by this version; use std or virtio"
        )
    if model:
        key = "max_hostmem" if vga.type == "virtio" else "vgamem_mb"
        value = (vga.memory_mib or 0) << 20 if vga.type == "virtio" else vga.memory_mib
        memory = f",{key}={value}" if vga.memory_mib and vga.type != "cirrus" else ""
        yield f"{model},id=vga,bus=pci.0,addr=0x2{memory}"
    yield from spice.screens(config) if spice.wanted(config) else ()
    if (model or spice.wanted(config)) and config.flag("tablet", True):
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
