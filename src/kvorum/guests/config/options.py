"""The settings a guest's configuration may have: for each, how a value is checked and what is allowed.

The table follows the schema of the API (pve-apidoc.json); numbered families (``net[n]``) are patterns.
A check raises ``ValueError`` with a sentence. Settings whose hardware this version can't make yet are
known and kept,
but a guest that has one is refused at start (``UNSUPPORTED``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

from kvorum.core import ids, property_string
from kvorum.guests.config import devices

Check = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its check, and what is allowed as a phrase."""

    check: Check
    allowed: str


def option(key: str) -> Option:
    """The setting of this name; raises ``ValueError`` when there is none."""
    if found := _OPTIONS.get(key):
        return found
    match = re.fullmatch(r"([a-z]+)(\d+)", key)
    if match and (family := _FAMILIES.get(match[1])):
        limit, found = family
        number = match[2]
        if number == str(int(number)) and int(number) < limit:
            return found
        raise ValueError(f"'{key}' is out of range: {match[1]}0 to {match[1]}{limit - 1} are allowed")
    raise ValueError(f"unknown setting '{key}'; allowed are those of qm.conf, such as {_examples(key)}")


def check(key: str, value: str) -> None:
    """Check one setting; raises ``ValueError`` saying what is wrong and what is allowed."""
    found = option(key)
    try:
        found.check(value)
    except ValueError as error:
        raise ValueError(f"key '{key}': {error}; allowed: {found.allowed}") from None


def integer(low: int, high: int | None = None) -> Option:
    """A whole number within bounds."""
    allowed = f"a whole number from {low} to {high}" if high is not None else f"a whole number, {low} or more"

    def run(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or int(text) < low or (high is not None and int(text) > high):
            raise ValueError(f"'{text}' is not {allowed}")
        return int(text)

    return Option(run, allowed)


def number(low: float, high: float) -> Option:
    """A number within bounds."""

    def run(text: str) -> float:
        if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
            raise ValueError(f"'{text}' is no number from {low:g} to {high:g}")
        return float(text)

    return Option(run, f"a number from {low:g} to {high:g}")


def choice(*words: str) -> Option:
    """One of some words."""

    def run(text: str) -> str:
        if text not in words:
            raise ValueError(f"'{text}' is none of them")
        return text

    return Option(run, ", ".join(words))


def pattern(expression: str, allowed: str) -> Option:
    """Text of a form."""
    compiled = re.compile(expression)

    def run(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"'{text}' does not have the form")
        return text

    return Option(run, allowed)


def _examples(key: str) -> str:
    names = (*_OPTIONS, *(f"{family}0" for family in _FAMILIES))
    near = difflib.get_close_matches(key, names, 6, 0.5)
    return ", ".join(near or ["name", "memory", "cores", "scsi0", "net0", "boot"])


BOOLEAN = Option(property_string.boolean, "1 or 0")
TEXT = pattern(r"[^\x00-\x1f\x7f]*", "one line of text")
DISK = Option(devices.Disk.parse, "STORAGE:VOLUME or none, then options such as size=4G,cache=none")
PROPERTIES = Option(lambda text: property_string.parse(text, "value"), "key=value,key=value")
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_DNS_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
NAME = pattern(rf"(?=.{{1,253}}$){_DNS_LABEL}(?:\.{_DNS_LABEL})*", "a DNS name: letters, digits, '-' and '.'")
UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
LOCKS = (
    "backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending",
    "suspended",
)  # fmt: skip
OSTYPES = (
    "other", "wxp", "w2k", "w2k3", "w2k8", "wvista",
    "win7", "win8", "win10", "win11", "l24", "l26", "solaris",
)  # fmt: skip
MACHINE = r"(pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?)"

_OPTIONS: dict[str, Option] = {
    **dict.fromkeys(
        (
            "acpi", "allow-ksm", "autostart", "ciupgrade", "freeze", "keephugepages",
            "kvm", "localtime", "numa",
            "onboot", "protection", "reboot", "tablet", "tdf", "template",
        ),
        BOOLEAN,
    ),
    **dict.fromkeys(
        (
            "affinity", "args", "cicustom", "cipassword", "ciuser", "hookscript",
            "hotplug", "nameserver", "parent",
            "searchdomain", "sshkeys", "startdate", "startup", "vmstate", "vmstatestorage", "description",
            "runningmachine", "runningcpu", "running-nets-host-mtu", "keyboard",
            "citype", "watchdog", "import-working-storage",
        ),
        TEXT,
    ),
    **dict.fromkeys(
        (
            "amd-sev", "audio", "efidisk0", "intel-tdx", "ivshmem", "meta", "rng0",
            "spice_enhancements", "tpmstate0",
        ),
        PROPERTIES,
    ),
    "agent": Option(devices.Agent.parse, "1 or 0, then options such as fstrim_cloned_disks=1,type=virtio"),
    "arch": choice("x86_64"),
    "balloon": integer(0),
    "bios": choice("seabios", "ovmf"),
    "boot": Option(devices.boot_order, "order=DEVICE;DEVICE, or letters of c, d, n"),
    "bootdisk": pattern(r"(ide|sata|scsi|virtio)\d+", "a disk, such as scsi0"),
    "cdrom": DISK,
    "cores": integer(1, 4096),
    "cpu": Option(devices.Cpu.parse, "a CPU type, then flags=+FLAG;-FLAG"),
    "cpulimit": number(0, 128),
    "cpuunits": integer(1, 262144),
    "hugepages": choice("any", "2", "1024"),
    "lock": choice(*LOCKS),
    "machine": Option(devices.Machine.parse, "pc, q35, or a versioned one such as pc-i440fx-10.0"),
    "memory": Option(devices.memory_mib, "MiB, a whole number from 16 to 4178944"),
    "migrate_downtime": number(0, 2000),
    "migrate_speed": integer(0),
    "name": NAME,
    "ostype": choice(*OSTYPES),
    "scsihw": choice("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    "shares": integer(0, 50000),
    "smbios1": Option(devices.smbios_uuid, "uuid=UUID and further fields"),
    "smp": integer(1),
    "snaptime": integer(0),
    "snapstate": TEXT,
    "sockets": integer(1, 64),
    "tags": pattern(rf"{_TAG}(?:[;, ]+{_TAG})*", "tags, separated by ';'"),
    "vcpus": integer(1, 4096),
    "vga": Option(devices.Vga.parse, "a display type such as std, virtio, qxl, cirrus, serial0, none"),
    "vmgenid": pattern(rf"{UUID}|[01]", "a UUID, 1 or 0"),
}  # fmt: skip

_FAMILIES: dict[str, tuple[int, Option]] = {
    "ide": (4, DISK),
    "sata": (6, DISK),
    "scsi": (31, DISK),
    "virtio": (16, DISK),
    "unused": (256, DISK),
    "net": (
        32,
        Option(devices.Nic.parse, "MODEL=MAC,bridge=BRIDGE, models: virtio, e1000, e1000e, rtl8139, …"),
    ),
    "serial": (4, pattern(r"socket|/dev/.+", "socket, or /dev/DEVICE")),
    "parallel": (3, pattern(r"/dev/parport\d+|/dev/usb/lp\d+", "/dev/parportN or /dev/usb/lpN")),
    "usb": (14, PROPERTIES),
    "hostpci": (16, PROPERTIES),
    "numa": (8, PROPERTIES),
    "ipconfig": (32, PROPERTIES),
    "virtiofs": (10, PROPERTIES),
    "audio": (1, PROPERTIES),
}

_UNSUPPORTED = re.compile(
    r"args|amd-sev|audio0|efidisk0|hookscript|hostpci\d+|hugepages|intel-tdx|ivshmem|numa\d+|parallel\d+|"
    r"rng0|tpmstate0|usb\d+|virtiofs\d+|watchdog"
)


def unsupported(key: str) -> bool:
    """Whether this setting asks for hardware that this version can't make yet."""
    return _UNSUPPORTED.fullmatch(key) is not None


def vmid_of(path: str) -> int:
    """The guest's id in a configuration's path ``nodes/N/qemu-server/ID.conf``; raises ``ValueError``."""
    return ids.vmid(path.rpartition("/")[2].removesuffix(".conf"))


def names() -> list[str]:
    """Every setting that users may set, by name, the numbered ones spelled out, sorted."""
    internal = {"parent", "runningmachine", "runningcpu", "running-nets-host-mtu", "snaptime", "snapstate",
                "vmstate", "meta", "smp"}  # fmt: skip
    numbered = [
        f"{family}{n}" for family, (limit, _) in _FAMILIES.items() if family != "unused" for n in range(limit)
    ]
    return sorted({*_OPTIONS, *numbered} - internal)
