"""A guest's configuration as typed values, read from its document; what the rest of the room works with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvorum.core import property_string
from kvorum.guests.config import devices, options
from kvorum.guests.config.devices import STATE_DISKS, Agent, Cpu, Disk, Machine, Nic, Vga
from kvorum.guests.config.document import Document
from kvorum.guests.config.drives import free_key, is_disk_key, kept_volumes, taken_up
from kvorum.guests.config.hardware import (
    Audio,
    NumaNode,
    Rng,
    Smbios,
    SpiceEnhancements,
    Startup,
    Usb,
    Watchdog,
    hotplug,
    numbers,
)
from kvorum.guests.config.pending import SECTION, Pending

_NET_KEY = re.compile(r"net(\d+)")
_NUMA_KEY = re.compile(r"numa\d+")
_USB_KEY = re.compile(r"usb\d+")
_SERIAL_KEY = re.compile(r"serial(\d+)")


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """One guest's configuration. ``settings`` are the checked values of the main part, as text."""

    vmid: int
    document: Document
    settings: Mapping[str, str]

    @classmethod
    def parse(cls, vmid: int, text: str, file: str = "") -> GuestConfig:
        """Parse and check a whole file; raises ``GuestConfigError`` naming file, line and key."""
        document = Document.parse(text, file or f"{vmid}.conf")
        main = document.settings()
        for key, setting in main.items():
            try:
                options.check(key, setting.value)
            except ValueError as error:
                raise document.error(setting.line, str(error)) from None
        for key, setting in document.settings(SECTION).items():
            try:
                if key != "delete":
                    options.check(key, setting.value)
            except ValueError as error:
                raise document.error(setting.line, str(error)) from None
        return cls(vmid, document, {key: setting.value for key, setting in main.items()})

    def edit(self, changes: Mapping[str, str], delete: frozenset[str] = frozenset()) -> GuestConfig:
        """With settings changed; raises ``GuestConfigError`` when the result is wrong."""
        text = self.document.edit(changes, delete).render()
        return GuestConfig.parse(self.vmid, text, self.document.file)

    @property
    def pending(self) -> Pending:
        """What waits for the next start."""
        return Pending.of(self.document)

    def with_pending(self, pending: Pending) -> GuestConfig:
        """With exactly this waiting."""
        return GuestConfig.parse(self.vmid, pending.put(self.document).render(), self.document.file)

    def changed(
        self, changes: Mapping[str, str], delete: frozenset[str], destroy: frozenset[str] = frozenset()
    ) -> GuestConfig:
        """As ``edit``, and volumes that no drive has any more become ``unused``, but those in ``destroy``."""
        kept = kept_volumes(self.settings, delete - destroy, changes)
        return self.edit({**changes, **kept}, delete | taken_up(self.settings, changes))

    def keep(self, disk: Disk) -> GuestConfig:
        """With a drive's volume as ``unused``."""
        return self.edit({free_key("unused", self.settings): disk.file})

    def applied(self) -> GuestConfig:
        """As it is once what waits has taken effect; volumes to be destroyed are then ``unused``."""
        pending = self.pending
        return self.with_pending(Pending()).changed(pending.changes, frozenset(pending.delete))

    def text(self, key: str, default: str = "") -> str:
        """A setting as text."""
        return self.settings.get(key, default)

    def number(self, key: str, default: int) -> int:
        """A whole number."""
        return int(self.settings[key]) if key in self.settings else default

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        return property_string.boolean(self.settings[key]) if key in self.settings else default

    @property
    def name(self) -> str:
        """The guest's name; ``VM 100`` where none is set."""
        return self.settings.get("name", f"VM {self.vmid}")

    @property
    def memory_mib(self) -> int:
        """The guest's memory; 512 MiB where none is set."""
        return devices.memory_mib(self.settings.get("memory", "512"))

    @property
    def cores(self) -> int:
        """Cores per socket."""
        return self.number("cores", 1)

    @property
    def sockets(self) -> int:
        """CPU sockets."""
        return self.number("sockets", self.number("smp", 1) if "smp" in self.settings else 1)

    @property
    def cpus(self) -> int:
        """Virtual CPUs that are plugged."""
        return min(self.number("vcpus", self.cores * self.sockets), self.cores * self.sockets)

    @property
    def lock(self) -> str | None:
        """The operation that holds the guest."""
        return self.settings.get("lock")

    @property
    def template(self) -> bool:
        """Whether this is a template, which never runs."""
        return self.flag("template")

    @property
    def cpu(self) -> Cpu:
        """The CPU type; ``x86-64-v2-AES`` where none is set."""
        return Cpu.parse(self.settings.get("cpu", "x86-64-v2-AES"))

    @property
    def machine(self) -> Machine:
        """The machine type; ``pc`` where none is set."""
        return Machine.parse(self.settings.get("machine", "pc"))

    @property
    def vga(self) -> Vga:
        """The display; ``std`` where none is set."""
        return Vga.parse(self.settings.get("vga", "std"))

    @property
    def agent(self) -> Agent:
        """The guest agent's channel; off where nothing is set."""
        return Agent.parse(self.settings.get("agent", "0"))

    @property
    def disks(self) -> dict[str, Disk]:
        """All drives by key (``scsi0``), CD drives among them, and the volumes of firmware and TPM
        (``efidisk0``, ``tpmstate0``), sorted by bus and number.
        """
        found = {key: Disk.parse(value) for key, value in self.settings.items() if is_disk_key(key)}
        return dict(sorted(found.items(), key=lambda item: _numbered(item[0])))

    @property
    def bus_disks(self) -> dict[str, Disk]:
        """Those of ``disks`` that hang on a bus, which the guest sees as disks."""
        return {key: disk for key, disk in self.disks.items() if key not in STATE_DISKS}

    @property
    def unused(self) -> dict[str, Disk]:
        """Volumes that belong to the guest and are plugged nowhere."""
        return {k: Disk.parse(v) for k, v in self.settings.items() if re.fullmatch(r"unused\d+", k)}

    @property
    def nics(self) -> dict[str, Nic]:
        """All network cards by key (``net0``), sorted."""
        found = {key: Nic.parse(value) for key, value in self.settings.items() if _NET_KEY.fullmatch(key)}
        return dict(sorted(found.items(), key=lambda item: _numbered(item[0])))

    @property
    def serials(self) -> dict[str, str]:
        """All serial ports by key, sorted: ``socket`` or a device of the host."""
        return {k: v for k, v in sorted(self.settings.items()) if _SERIAL_KEY.fullmatch(k)}

    @property
    def efi(self) -> bool:
        """Whether the firmware is UEFI's (OVMF)."""
        return self.text("bios", "seabios") == "ovmf"

    @property
    def rng(self) -> Rng | None:
        """The generator of randomness."""
        return Rng.parse(self.settings["rng0"]) if "rng0" in self.settings else None

    @property
    def usbs(self) -> dict[str, Usb]:
        """The USB devices by key, in their numbers' order."""
        keys = sorted((key for key in self.settings if _USB_KEY.fullmatch(key)), key=lambda key: int(key[3:]))
        return {key: Usb.parse(self.settings[key]) for key in keys}

    @property
    def host_usbs(self) -> dict[str, Usb]:
        """Those that are devices of a node, not of a SPICE client."""
        return {key: usb for key, usb in self.usbs.items() if not usb.spice}

    @property
    def watchdog(self) -> Watchdog | None:
        """The watchdog that the guest feeds."""
        return Watchdog.parse(self.settings["watchdog"]) if "watchdog" in self.settings else None

    @property
    def audio(self) -> Audio | None:
        """The sound card."""
        return Audio.parse(self.settings["audio0"]) if "audio0" in self.settings else None

    @property
    def spice_enhancements(self) -> SpiceEnhancements:
        """What a SPICE client is given besides the display."""
        text = self.text("spice_enhancements")
        return SpiceEnhancements.parse(text) if text else SpiceEnhancements()

    @property
    def windows(self) -> bool:
        """Whether the guest is a Windows."""
        return self.text("ostype").startswith("w")

    @property
    def smbios(self) -> Smbios:
        """What the firmware tells about the machine."""
        return Smbios.parse(self.settings["smbios1"]) if "smbios1" in self.settings else Smbios({})

    @property
    def numa_nodes(self) -> dict[str, NumaNode]:
        """The NUMA nodes by key, sorted; without any, ``numa`` makes one for each socket."""
        return {k: NumaNode.parse(v) for k, v in sorted(self.settings.items()) if _NUMA_KEY.fullmatch(k)}

    @property
    def affinity(self) -> frozenset[int]:
        """The host's CPUs that the guest may run on; empty: all."""
        return numbers(self.settings["affinity"]) if "affinity" in self.settings else frozenset()

    @property
    def startup(self) -> Startup:
        """When it is started among the guests of its node."""
        return (
            Startup.parse(self.settings["startup"])
            if "startup" in self.settings
            else Startup(None, None, None)
        )

    @property
    def hotplug(self) -> frozenset[str]:
        """What may be plugged while the guest runs."""
        return hotplug(self.text("hotplug", "1"))

    @property
    def boot_devices(self) -> tuple[str, ...]:
        """The devices to boot from, in order; without ``boot``: first disk, CD drives, first card."""
        order = devices.boot_order(self.settings["boot"]) if "boot" in self.settings else ("c", "d", "n")
        return tuple(name for entry in order for name in self._boot_entry(entry))

    def _boot_entry(self, entry: str) -> Iterator[str]:
        if len(entry) > 1:
            yield entry
        elif entry == "c":
            first = next((key for key, disk in self.bus_disks.items() if not disk.is_cdrom), None)
            if chosen := self.settings.get("bootdisk", first):
                yield chosen
        elif entry == "d":
            yield from (key for key, disk in self.bus_disks.items() if disk.is_cdrom)
        elif entry == "n":
            yield from list(self.nics)[:1]

    @property
    def boot_disk_bytes(self) -> int:
        """The size of the first disk to boot from; 0 without one."""
        disks = self.disks
        names = [name for name in self.boot_devices if name in disks and not disks[name].is_cdrom]
        return (disks[names[0]].size_bytes or 0) if names else 0


def _numbered(key: str) -> tuple[str, int]:
    match = re.fullmatch(r"([a-z]+)(\d+)", key)
    assert match
    return match[1], int(match[2])
