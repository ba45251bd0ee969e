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
from kvorum.guests.config import cloud, devices, hardware

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
DISK = Option(devices.bus_disk, "STORAGE:VOLUME or none, then options such as size=4G,cache=none")
PROPERTIES = Option(lambda text: property_string.parse(text, "value"), "key=value,key=value")
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_DNS_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
NAME = pattern(rf"(?=.{{1,253}}$){_DNS_LABEL}(?:\.{_DNS_LABEL})*", "a DNS name: letters, digits, '-' and '.'")
VOLUME = Option(ids.VolumeId.parse, "STORAGE:VOLUME")
KEYBOARDS = (
    "de", "de-ch", "da", "en-gb", "en-us", "es", "fi", "fr", "fr-be", "fr-ca", "fr-ch", "hu", "is", "it",
    "ja", "lt", "mk", "nl", "no", "pl", "pt", "pt-br", "sv", "sl", "tr",
)  # fmt: skip
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
            "args", "cipassword", "description", "import-working-storage", "parent", "running-nets-host-mtu",
            "runningcpu", "runningmachine", "vmstate",
        ),
        TEXT,
    ),
    **dict.fromkeys(("amd-sev", "intel-tdx", "ivshmem", "meta"), PROPERTIES),
    "affinity": Option(hardware.numbers, "CPUs of the host, such as 0-3,8"),
    "agent": Option(devices.Agent.parse, "1 or 0, then options such as fstrim_cloned_disks=1,type=virtio"),
    "arch": choice("x86_64"),
    "audio0": Option(
        hardware.Audio.parse, "device=ich9-intel-hda, intel-hda or AC97, then driver=spice or none"
    ),
    "balloon": integer(0),
    "bios": choice("seabios", "ovmf"),
    "boot": Option(devices.boot_order, "order=DEVICE;DEVICE, or letters of c, d, n"),
    "bootdisk": pattern(r"(ide|sata|scsi|virtio)\d+", "a disk, such as scsi0"),
    "cdrom": DISK,
    "cicustom": Option(cloud.custom, "user=, network=, meta= or vendor=STORAGE:snippets/NAME"),
    "citype": choice("nocloud", "configdrive2", "opennebula"),
    "ciuser": Option(cloud.check_user, "a user's name"),
    "cores": integer(1, 4096),
    "cpu": Option(devices.Cpu.parse, "a CPU type, then flags=+FLAG;-FLAG"),
    "cpulimit": number(0, 128),
    "cpuunits": integer(1, 262144),
    "efidisk0": Option(
        lambda text: devices.state_disk("efidisk0", text),
        "STORAGE:1 or STORAGE:VOLUME, then options such as efitype=4m,pre-enrolled-keys=1",
    ),
    "hookscript": VOLUME,
    "hotplug": Option(hardware.hotplug, f"0, 1, or words of {', '.join(hardware.HOTPLUG)}"),
    "hugepages": choice("any", "2", "1024"),
    "keyboard": choice(*KEYBOARDS),
    "lock": choice(*LOCKS),
    "machine": Option(devices.Machine.parse, "pc, q35, or a versioned one such as pc-i440fx-10.0"),
    "memory": Option(devices.memory_mib, "MiB, a whole number from 16 to 4178944"),
    "migrate_downtime": number(0, 2000),
    "migrate_speed": integer(0),
    "name": NAME,
    "nameserver": Option(cloud.check_nameservers, "IP addresses, separated by blanks"),
    "ostype": choice(*OSTYPES),
    "rng0": Option(hardware.Rng.parse, "source=/dev/urandom, then max_bytes=BYTES,period=MILLISECONDS"),
    "scsihw": choice("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    "searchdomain": Option(cloud.check_search_domains, "domains, separated by blanks"),
    "shares": integer(0, 50000),
    "smbios1": Option(hardware.Smbios.parse, "uuid=UUID and further fields"),
    "smp": integer(1),
    "snaptime": integer(0),
    "snapstate": TEXT,
    "sockets": integer(1, 64),
    "sshkeys": Option(cloud.ssh_keys, "public keys of SSH, one a line, percent-encoded"),
    "startdate": pattern(
        r"now|\d{4}-\d{1,2}-\d{1,2}(T\d{1,2}:\d{1,2}:\d{1,2})?", "now, or a date such as 2026-11-28T12:00:00"
    ),
    "spice_enhancements": Option(hardware.SpiceEnhancements.parse, "foldersharing=1,videostreaming=all"),
    "startup": Option(hardware.Startup.parse, "order=NUMBER,up=SECONDS,down=SECONDS"),
    "tags": pattern(rf"{_TAG}(?:[;, ]+{_TAG})*", "tags, separated by ';'"),
    "tpmstate0": Option(
        lambda text: devices.state_disk("tpmstate0", text), "STORAGE:1 or STORAGE:VOLUME, then version=v2.0"
    ),
    "vcpus": integer(1, 4096),
    "vga": Option(devices.Vga.parse, "a display type such as std, virtio, qxl, cirrus, serial0, none"),
    "vmgenid": pattern(rf"{UUID}|[01]", "a UUID, 1 or 0"),
    "vmstatestorage": pattern(r"[A-Za-z][A-Za-z0-9._-]*", "the name of a storage"),
    "watchdog": Option(hardware.Watchdog.parse, "model=i6300esb or ib700, then action=reset and others"),
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
    "usb": (14, Option(hardware.Usb.parse, "host=VENDOR:PRODUCT, host=BUS-PORT, mapping=NAME or spice")),
    "hostpci": (16, PROPERTIES),
    "numa": (8, Option(hardware.NumaNode.parse, "cpus=0-1,memory=MIB, then hostnodes=0,policy=bind")),
    "ipconfig": (32, Option(cloud.IpConfig.parse, "ip=ADDRESS/PREFIX or dhcp, gw=, ip6= (also auto), gw6=")),
    "virtiofs": (10, PROPERTIES),
}

_UNSUPPORTED = re.compile(r"amd-sev|hostpci\d+|hugepages|intel-tdx|ivshmem|parallel\d+|virtiofs\d+")


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
