"""The devices in a guest's configuration as values: disks, network cards, CPU, display, agent, boot order.

Each is parsed from its property string and printed back; unknown properties are refused with what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote

from kvorum.core import property_string
from kvorum.core.ids import VolumeId

BUSES = {"ide": 4, "sata": 6, "scsi": 31, "virtio": 16}
STATE_DISKS = ("efidisk0", "tpmstate0")
"""Volumes that hang on no bus: the variables of the UEFI firmware, and what the TPM keeps."""

_DISK_KEYS = frozenset(
    [
        "aio",
        "backup",
        "bps",
        "bps_max_length",
        "bps_rd",
        "bps_rd_length",
        "bps_rd_max_length",
        "bps_wr",
        "bps_wr_length",
        "bps_wr_max_length",
        "cache",
        "detect_zeroes",
        "discard",
        "format",
        "import-from",
        "iops",
        "iops_max",
        "iops_max_length",
        "iops_rd",
        "iops_rd_length",
        "iops_rd_max",
        "iops_rd_max_length",
        "iops_wr",
        "iops_wr_length",
        "iops_wr_max",
        "iops_wr_max_length",
        "iothread",
        "mbps",
        "mbps_max",
        "mbps_rd",
        "mbps_rd_max",
        "mbps_wr",
        "mbps_wr_max",
        "media",
        "model",
        "product",
        "queues",
        "replicate",
        "rerror",
        "ro",
        "scsiblock",
        "serial",
        "shared",
        "size",
        "snapshot",
        "ssd",
        "vendor",
        "volume",
        "werror",
        "wwn",
        "file",
    ]
)
_STATE_KEYS = {
    "efidisk0": ("efitype", "format", "import-from", "ms-cert", "pre-enrolled-keys", "size"),
    "tpmstate0": ("format", "import-from", "size", "version"),
}
_ONLY_STATE = frozenset(key for keys in _STATE_KEYS.values() for key in keys) - _DISK_KEYS
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "cache": ("none", "writethrough", "writeback", "unsafe", "directsync"),
    "aio": ("native", "threads", "io_uring"),
    "discard": ("ignore", "on"),
    "media": ("cdrom", "disk"),
    "format": ("raw", "qcow2", "vmdk", "qcow", "qed", "cloop"),
    "rerror": ("ignore", "report", "stop"),
    "werror": ("enospc", "ignore", "report", "stop"),
    "efitype": ("2m", "4m"),
    "ms-cert": ("2011", "2023", "2023w", "2023k"),
    "version": ("v1.2", "v2.0"),
}
_FLAGS = frozenset(
    {"iothread", "ssd", "ro", "backup", "replicate", "shared", "snapshot", "detect_zeroes",
     "pre-enrolled-keys"}
)  # fmt: skip
_NAMED = {"serial": 20, "model": 40, "vendor": 8, "product": 16}
"""Texts that a disk tells its guest, percent-encoded, and how many characters they may have."""
THROTTLES = frozenset(name for name in _DISK_KEYS if name.startswith(("bps", "iops", "mbps")))
"""A disk's limits: numbers, those of ``mbps`` with a fraction."""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Disk:
    """A drive: a volume, an empty CD drive, or what a new disk shall be."""

    file: str
    """``STORAGE:NAME``, an absolute path, ``none``, or ``STORAGE:SIZE_IN_GIB`` for a new disk."""
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Disk:
        """Parse ``FILE,key=value,…``; raises ``ValueError`` naming the key that is wrong."""
        parts = property_string.parse(text, "file")
        file = parts.pop("file", None) or parts.pop("volume", None)
        if file is None:
            raise ValueError(f"'{text}' names no volume")
        for key, value in parts.items():
            if key not in _DISK_KEYS | _ONLY_STATE:
                raise ValueError(f"'{key}' is no option of a disk; known: {', '.join(sorted(_DISK_KEYS))}")
            if key in _CHOICES and value not in _CHOICES[key]:
                raise ValueError(f"{key}={value}: choose one of {', '.join(_CHOICES[key])}")
            if key in _FLAGS:
                property_string.boolean(value)
            form = r"\d+(\.\d+)?" if key.startswith("mbps") else r"\d+"
            if key in THROTTLES and not re.fullmatch(form, value):
                raise ValueError(f"{key}={value} is no number, 0 or more")
            _check_told(key, value)
        if "size" in parts:
            parse_size(parts["size"])
        if not file.startswith("/") and file not in ("none", "cdrom"):
            VolumeId.parse(file)
        return cls(file, parts)

    def __str__(self) -> str:
        return ",".join([self.file, *(f"{key}={value}" for key, value in self.options.items())])

    @property
    def is_cdrom(self) -> bool:
        """Whether this is a CD drive."""
        return self.options.get("media") == "cdrom"

    @property
    def volume(self) -> VolumeId | None:
        """The volume, if it has one (not a path, not an empty drive)."""
        return None if self.file.startswith("/") or ":" not in self.file else VolumeId.parse(self.file)

    @property
    def new_size_gib(self) -> float | None:
        """The size in GiB when the file asks for a new disk (``STORAGE:SIZE_IN_GIB``)."""
        volume = self.volume
        match = re.fullmatch(r"\d+(\.\d+)?", volume.name) if volume else None
        return float(match[0]) if match else None

    @property
    def size_bytes(self) -> int | None:
        """The size noted in the configuration."""
        return parse_size(self.options["size"]) if "size" in self.options else None

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean option."""
        return property_string.boolean(self.options[name]) if name in self.options else default

    def named(self, name: str) -> str:
        """An option that names the disk to its guest (``serial``, ``model``, …), decoded; empty: none."""
        return unquote(self.options.get(name, ""))

    def with_volume(self, volume: VolumeId, size_bytes: int) -> Disk:
        """The same drive on a volume, with its size noted; what made the volume is dropped."""
        kept = {k: v for k, v in self.options.items() if k not in ("size", "format", "import-from")}
        return Disk(str(volume), {**kept, "size": render_size(size_bytes)})


def _check_told(key: str, value: str) -> None:
    """Check what a disk tells its guest; raises ``ValueError``."""
    if key in _NAMED:
        decoded = unquote(value)
        if not 1 <= len(decoded.encode()) <= _NAMED[key] or not decoded.isprintable() or "," in decoded:
            raise ValueError(f"{key}={value} is no text of up to {_NAMED[key]} bytes without a comma")
    if key == "wwn" and not re.fullmatch(r"0x[0-9a-fA-F]{16}", value):
        raise ValueError(f"wwn={value} is no world wide name: write 0x and 16 hexadecimal digits")
    if key == "queues" and not (value.isdigit() and 2 <= int(value) <= 256):
        raise ValueError(f"queues={value} is no whole number from 2 to 256")


def bus_disk(text: str) -> Disk:
    """A drive on a bus; raises ``ValueError`` also for options of the firmware's and the TPM's volumes."""
    disk = Disk.parse(text)
    for key in disk.options:
        if key in _ONLY_STATE:
            raise ValueError(f"'{key}' is no option of a disk; known: {', '.join(sorted(_DISK_KEYS))}")
    return disk


def state_disk(family: str, text: str) -> Disk:
    """The volume of ``efidisk0`` or ``tpmstate0``; raises ``ValueError``."""
    disk = Disk.parse(text)
    for key in disk.options:
        if key not in _STATE_KEYS[family]:
            raise ValueError(f"'{key}' is no option of {family}; known: {', '.join(_STATE_KEYS[family])}")
    return disk


def parse_size(text: str) -> int:
    """Bytes of ``4G``, ``512M``, ``1.5G`` or plain bytes; raises ``ValueError``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not match:
        raise ValueError(f"'{text}' is no size; write a number, then K, M, G or T")
    return int(float(match[1]) * _UNITS[match[2]])


def render_size(size_bytes: int) -> str:
    """The size with the largest unit that divides it."""
    for unit in ("T", "G", "M", "K"):
        if size_bytes and size_bytes % _UNITS[unit] == 0:
            return f"{size_bytes // _UNITS[unit]}{unit}"
    return str(size_bytes)


NIC_MODELS = {
    "virtio": "virtio-net-pci",
    "e1000": "e1000",
    "e1000-82540em": "e1000-82540em",
    "e1000-82544gc": "e1000-82544gc",
    "e1000-82545em": "e1000-82545em",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "vmxnet3": "vmxnet3",
    "ne2k_pci": "ne2k_pci",
    "pcnet": "pcnet",
    "i82551": "i82551",
    "i82557b": "i82557b",
    "i82559er": "i82559er",
}
_NIC_KEYS = ("bridge", "firewall", "link_down", "macaddr", "model", "mtu", "queues", "rate", "tag", "trunks")
_MAC = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}")
_BRIDGE = re.compile(r"[-_.\w]{1,15}")


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card. Without a bridge it has user networking (NAT by QEMU)."""

    model: str
    mac: str
    """Upper-case; empty when one is still to be made."""
    bridge: str | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Nic:
        """Parse ``MODEL=MAC,bridge=…`` or ``model=…,macaddr=…``; raises ``ValueError``."""
        parts = property_string.parse(text, "model")
        model, mac = parts.pop("model", ""), parts.pop("macaddr", "")
        for name in NIC_MODELS.keys() & parts.keys():
            model, mac = name, parts.pop(name)
        for key in parts:
            if key not in _NIC_KEYS:
                raise ValueError(f"'{key}' is no option of a network card; known: {', '.join(_NIC_KEYS)}")
        if model not in NIC_MODELS:
            raise ValueError(f"'{model}' is no model of a network card; known: {', '.join(NIC_MODELS)}")
        mac = mac.upper()
        if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
            raise ValueError(f"'{mac}' is no unicast MAC address; write six pairs such as BC:24:11:00:00:01")
        bridge = parts.pop("bridge", None)
        if bridge is not None and not _BRIDGE.fullmatch(bridge):
            raise ValueError(f"'{bridge}' is no name of a bridge: up to 15 letters, digits, '-', '_', '.'")
        for key, low, high in (("mtu", 1, 65520), ("queues", 0, 64), ("tag", 1, 4094)):
            if key in parts and not (parts[key].isdigit() and low <= int(parts[key]) <= high):
                raise ValueError(f"{key}={parts[key]} is no whole number from {low} to {high}")
        for key in ("link_down", "firewall"):
            if key in parts:
                property_string.boolean(parts[key])
        made = cls(model, mac, bridge, parts)
        _ = made.trunks, made.rate_bytes_s
        return made

    def __str__(self) -> str:
        head = f"{self.model}={self.mac}" if self.mac else self.model
        bridge = [f"bridge={self.bridge}"] if self.bridge else []
        return ",".join([head, *bridge, *(f"{key}={value}" for key, value in sorted(self.options.items()))])

    @property
    def link_down(self) -> bool:
        """Whether the cable is unplugged."""
        return property_string.boolean(self.options.get("link_down", "0"))

    @property
    def tag(self) -> int:
        """The VLAN that the guest sees untagged; 0: none was asked for."""
        return int(self.options.get("tag", "0"))

    @property
    def trunks(self) -> tuple[tuple[int, int], ...]:
        """The VLANs that pass tagged, as ranges with both ends. Raises ``ValueError``."""
        ranges = []
        for word in (part for part in self.options.get("trunks", "").split(";") if part):
            first, dash, last = word.partition("-")
            numbers = [
                int(each) if each.isdigit() else 0 for each in ((first, last) if dash else (first, first))
            ]
            if not all(1 <= number <= 4094 for number in numbers) or numbers[0] > numbers[1]:
                raise ValueError(f"trunks: '{word}' is no VLAN and no range of them; write such as 2;10-20")
            ranges.append((numbers[0], numbers[1]))
        return tuple(ranges)

    @property
    def rate_bytes_s(self) -> int:
        """The most that passes in either direction; 0: no limit. Raises ``ValueError``."""
        text = self.options.get("rate", "0")
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text):
            raise ValueError(f"rate={text} is no rate in megabytes a second; write such as 12.5")
        return int(float(text) * 1_000_000)

    @property
    def queues(self) -> int:
        """How many queues the card and its tap have; only virtio has more than one."""
        return max(1, int(self.options.get("queues", "0"))) if self.model == "virtio" else 1

    def with_mac(self, mac: str) -> Nic:
        """The same card with an address."""
        return Nic(self.model, mac, self.bridge, self.options)


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU type the guest sees, and flags added (+) or taken (-)."""

    type: str
    flags: tuple[str, ...]
    options: Mapping[str, str]

    _KEYS: ClassVar[tuple[str, ...]] = (
        "cputype", "flags", "hidden", "hv-vendor-id", "phys-bits", "guest-phys-bits",
        "reported-model", "level",
    )  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> Cpu:
        """Parse ``TYPE,flags=+a;-b``; raises ``ValueError``."""
        parts = property_string.parse(text, "cputype")
        for key in parts:
            if key not in cls._KEYS:
                raise ValueError(f"'{key}' is no option of cpu; known: {', '.join(cls._KEYS)}")
        kind = parts.pop("cputype", "")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", kind):
            raise ValueError(f"'{kind}' is no CPU type; write one such as x86-64-v2-AES, host or max")
        flags = tuple(word for word in parts.pop("flags", "").split(";") if word)
        for flag in flags:
            if not re.fullmatch(r"[+-][A-Za-z0-9_.-]+", flag):
                raise ValueError(f"'{flag}' is no CPU flag; write +NAME or -NAME")
        bits = parts.get("phys-bits", "host")
        if bits != "host" and not (bits.isdigit() and 8 <= int(bits) <= 64):
            raise ValueError(f"phys-bits={bits} is no whole number from 8 to 64, and not host")
        for key, low, high in (("guest-phys-bits", 32, 64), ("level", 0, 0x7FFF_FFFF)):
            if key in parts and not (parts[key].isdigit() and low <= int(parts[key]) <= high):
                raise ValueError(f"{key}={parts[key]} is no whole number from {low} to {high}")
        if not re.fullmatch(r"[A-Za-z0-9 _-]{1,12}", parts.get("hv-vendor-id", "x")):
            raise ValueError(f"hv-vendor-id={parts['hv-vendor-id']}: up to 12 letters, digits, '-', '_'")
        property_string.boolean(parts.get("hidden", "0"))
        return cls(kind, flags, parts)


@dataclass(frozen=True, slots=True)
class Vga:
    """The display."""

    type: str
    memory_mib: int | None
    clipboard: bool = False
    """Guest and VNC client share a clipboard."""

    _TYPES: ClassVar[tuple[str, ...]] = (
        "std", "virtio", "virtio-gl", "qxl", "qxl2", "qxl3", "qxl4", "cirrus", "vmware", "none",
        "serial0", "serial1", "serial2", "serial3",
    )  # fmt: skip

    @property
    def screens(self) -> int:
        """How many screens a SPICE client has; 0: it is no display by SPICE."""
        return int(self.type[3:] or 1) if self.type.startswith("qxl") else 0

    @classmethod
    def parse(cls, text: str) -> Vga:
        """Parse ``TYPE,memory=MIB``; raises ``ValueError``."""
        parts = property_string.parse(text, "type")
        kind = parts.get("type", "std")
        if kind not in cls._TYPES:
            raise ValueError(f"'{kind}' is no display type; known: {', '.join(cls._TYPES)}")
        for key in parts.keys() - {"type", "memory", "clipboard"}:
            raise ValueError(f"'{key}' is no option of vga; known: type, memory, clipboard")
        memory = parts.get("memory")
        if memory is not None and not (memory.isdigit() and 4 <= int(memory) <= 512):
            raise ValueError(f"memory={memory} is no whole number of MiB from 4 to 512")
        if parts.get("clipboard", "vnc") != "vnc":
            raise ValueError(f"clipboard={parts['clipboard']}: only vnc is known")
        return cls(kind, int(memory) if memory else None, "clipboard" in parts)


@dataclass(frozen=True, slots=True)
class Agent:
    """The channel to the guest agent."""

    enabled: bool
    type: str
    freezes: bool = True
    """Whether it may bring the guest's file systems to rest for a snapshot or a copy."""
    trims: bool = False
    """Whether the guest gives back what it doesn't use once its disks were copied: moved, or migrated."""

    @classmethod
    def parse(cls, text: str) -> Agent:
        """Parse ``1,type=virtio``; raises ``ValueError``."""
        parts = property_string.parse(text, "enabled")
        known = {
            "enabled",
            "freeze-fs",
            "freeze-fs-on-backup",
            "fstrim_cloned_disks",
            "guest-fsfreeze",
            "type",
        }
        for key in parts.keys() - known:
            raise ValueError(f"'{key}' is no option of agent; known: {', '.join(sorted(known))}")
        kind = parts.get("type", "virtio")
        if kind not in ("virtio", "isa"):
            raise ValueError(f"type={kind}: choose virtio or isa")
        enabled = property_string.boolean(parts.get("enabled", "0"))
        wanted = parts.get("guest-fsfreeze", parts.get("freeze-fs", "1"))
        trims = property_string.boolean(parts.get("fstrim_cloned_disks", "0"))
        return cls(enabled, kind, enabled and property_string.boolean(wanted), enabled and trims)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine type: ``pc``, ``q35`` or a versioned one, and what belongs to it."""

    type: str
    viommu: str = ""
    """An IOMMU for the guest: ``intel``, ``virtio`` or none."""
    aw_bits: int | None = None
    """The width of the IOMMU's addresses."""
    sleep: Mapping[str, bool] = field(default_factory=dict)
    """Whether the guest may sleep (``s3``: in memory, ``s4``: on its disk), where this is said."""

    _FORM: ClassVar[re.Pattern[str]] = re.compile(
        r"pc|q35|pc-(?:i440fx|q35)-\d+(?:\.\d+)+(?:\+pve\d+)?(?:\.pxe)?"
    )

    @classmethod
    def parse(cls, text: str) -> Machine:
        """Parse ``TYPE,viommu=…``; raises ``ValueError``. What Proxmox adds to a version is left away."""
        parts = property_string.parse(text, "type")
        kind = parts.get("type", "pc")
        if not cls._FORM.fullmatch(kind):
            raise ValueError(f"'{kind}' is no machine type; write pc, q35 or one such as pc-q35-10.0")
        for key in parts.keys() - {"type", "viommu", "aw-bits", "enable-s3", "enable-s4"}:
            raise ValueError(
                f"'{key}' is no option of machine; known: type, viommu, aw-bits, enable-s3, enable-s4"
            )
        viommu = parts.get("viommu", "")
        if viommu not in ("", "intel", "virtio"):
            raise ValueError(f"viommu={viommu}: choose intel or virtio")
        if viommu and "q35" not in kind:
            raise ValueError(f"viommu={viommu} needs a machine of the q35 family, not '{kind}'")
        bits = parts.get("aw-bits")
        if bits is not None and not (bits.isdigit() and 32 <= int(bits) <= 64):
            raise ValueError(f"aw-bits={bits} is no whole number from 32 to 64")
        sleep = {s: property_string.boolean(parts[f"enable-{s}"]) for s in ("s3", "s4")
                 if f"enable-{s}" in parts}  # fmt: skip
        return cls(re.sub(r"(\+pve\d+)?(\.pxe)?$", "", kind), viommu, int(bits) if bits else None, sleep)

    @property
    def is_q35(self) -> bool:
        """Whether it is of the q35 family."""
        return "q35" in self.type


def memory_mib(text: str) -> int:
    """MiB of ``2048`` or ``current=2048``; raises ``ValueError``."""
    value = property_string.parse(text, "current").get("current", "")
    if not value.isdigit() or not 16 <= int(value) <= 4_178_944:
        raise ValueError(f"'{text}' is no amount of memory")
    return int(value)


def boot_order(text: str) -> tuple[str, ...]:
    """The devices of ``order=scsi0;net0``, or of the old form the letters; raises ``ValueError``."""
    parts = property_string.parse(text, "legacy")
    if "order" in parts and len(parts) == 1:
        devices = tuple(word for word in parts["order"].split(";") if word)
        for name in devices:
            if not re.fullmatch(r"(ide|sata|scsi|virtio|net|usb|hostpci)\d+", name):
                raise ValueError(f"'{name}' is no device to boot from; write one such as scsi0 or net0")
        return devices
    letters = parts.get("legacy", "")
    if set(parts) != {"legacy"} or not re.fullmatch(r"[acdn]{1,4}", letters):
        raise ValueError(f"'{text}' is no boot order")
    return tuple(letters)
