"""Further hardware of a guest as values: randomness, watchdog, sound, NUMA nodes, SMBIOS, sets of CPUs.

Each is parsed from its property string; what is wrong is one sentence.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvorum.core import property_string

_SET = re.compile(r"\d+(?:-\d+)?")
_MAX_CPU = 8191


def known(parts: Mapping[str, str], what: str, names: Iterable[str]) -> None:
    """Raise ``ValueError`` for a property that is none of these."""
    allowed = tuple(names)
    for key in parts:
        if key not in allowed:
            raise ValueError(f"'{key}' is no option of {what}; known: {', '.join(allowed)}")


def one_of(parts: Mapping[str, str], key: str, default: str, words: tuple[str, ...]) -> str:
    """A property that is one of some words; raises ``ValueError``."""
    value = parts.get(key, default)
    if value not in words:
        raise ValueError(f"{key}={value}: choose one of {', '.join(words)}")
    return value


def whole(parts: Mapping[str, str], key: str, low: int) -> int | None:
    """A property that is a whole number of ``low`` or more; raises ``ValueError``."""
    value = parts.get(key)
    if value is not None and (not re.fullmatch(r"\d+", value) or int(value) < low):
        raise ValueError(f"{key}={value} is no whole number, {low} or more")
    return None if value is None else int(value)


def numbers(text: str, separator: str = ",") -> frozenset[int]:
    """The numbers of ``0-3,7``; raises ``ValueError``."""
    found: set[int] = set()
    for word in text.split(separator):
        if not _SET.fullmatch(word):
            raise ValueError(f"'{word}' in '{text}' is no number and no range such as 0-3")
        first, _, last = word.partition("-")
        low, high = int(first), int(last or first)
        if low > high or high > _MAX_CPU:
            raise ValueError(f"'{word}' in '{text}' is no range: write the smaller first, {_MAX_CPU} at most")
        found.update(range(low, high + 1))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Rng:
    """A source of randomness for the guest: at most so many bytes each period, none of both: no limit."""

    source: str
    max_bytes: int
    period_ms: int

    @classmethod
    def parse(cls, text: str) -> Rng:
        """Parse ``SOURCE,max_bytes=…,period=…``; raises ``ValueError``."""
        parts = property_string.parse(text, "source")
        known(parts, "rng0", ("source", "max_bytes", "period"))
        source = one_of(parts, "source", "", ("/dev/urandom", "/dev/random", "/dev/hwrng"))
        max_bytes, period_ms = whole(parts, "max_bytes", 0), whole(parts, "period", 1)
        return cls(source, 1024 if max_bytes is None else max_bytes, period_ms or 1000)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """A watchdog that the guest feeds, and what QEMU does when it doesn't."""

    model: str
    action: str

    @classmethod
    def parse(cls, text: str) -> Watchdog:
        """Parse ``MODEL,action=…``; raises ``ValueError``."""
        parts = property_string.parse(text, "model")
        known(parts, "watchdog", ("model", "action"))
        model = one_of(parts, "model", "i6300esb", ("i6300esb", "ib700"))
        actions = ("reset", "shutdown", "poweroff", "pause", "debug", "none")
        return cls(model, one_of(parts, "action", "reset", actions))


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound card, and where its sound goes."""

    device: str
    driver: str

    @classmethod
    def parse(cls, text: str) -> Audio:
        """Parse ``device=…,driver=…``; raises ``ValueError``."""
        parts = property_string.parse(text)
        known(parts, "audio0", ("device", "driver"))
        device = one_of(parts, "device", "", ("ich9-intel-hda", "intel-hda", "AC97"))
        return cls(device, one_of(parts, "driver", "spice", ("spice", "none")))


@dataclass(frozen=True, slots=True)
class SpiceEnhancements:
    """What a SPICE client is given besides."""

    folder_sharing: bool = False
    """The guest sees a folder of the client's, by WebDAV."""
    video_streaming: str = ""
    """Which parts of the screen are sent as video: ``off``, ``all``, ``filter``; empty: QEMU decides."""

    @classmethod
    def parse(cls, text: str) -> SpiceEnhancements:
        """Parse ``foldersharing=…,videostreaming=…``; raises ``ValueError``."""
        parts = property_string.parse(text)
        known(parts, "spice_enhancements", ("foldersharing", "videostreaming"))
        streaming = ""
        if "videostreaming" in parts:
            streaming = one_of(parts, "videostreaming", "off", ("off", "all", "filter"))
        return cls(property_string.boolean(parts.get("foldersharing", "0")), streaming)


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One NUMA node of the guest: its CPUs, its memory, and where that lies on the host."""

    cpus: frozenset[int]
    memory_mib: int
    host_nodes: frozenset[int]
    policy: str

    @classmethod
    def parse(cls, text: str) -> NumaNode:
        """Parse ``cpus=0-1;4,memory=…,hostnodes=…,policy=…``; raises ``ValueError``."""
        parts = property_string.parse(text)
        known(parts, "a NUMA node", ("cpus", "memory", "hostnodes", "policy"))
        if "cpus" not in parts or "memory" not in parts:
            raise ValueError(f"'{text}' lacks cpus or memory: write cpus=0-1,memory=1024")
        policy = one_of(parts, "policy", "preferred", ("preferred", "bind", "interleave"))
        hosts = numbers(parts["hostnodes"], ";") if "hostnodes" in parts else frozenset()
        if "policy" in parts and not hosts:
            raise ValueError(f"'{text}' has a policy, but no hostnodes to which it applies")
        return cls(numbers(parts["cpus"], ";"), whole(parts, "memory", 1) or 0, hosts, policy)


_SMBIOS_TEXTS = ("manufacturer", "product", "version", "serial", "sku", "family")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Smbios:
    """What the firmware tells about the machine (SMBIOS type 1), in order."""

    fields: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Smbios:
        """Parse ``uuid=…,serial=…``, texts in base64 with ``base64=1``; raises ``ValueError``."""
        parts = property_string.parse(text, "uuid")
        known(parts, "smbios1", ("uuid", *_SMBIOS_TEXTS, "base64"))
        encoded = property_string.boolean(parts.pop("base64", "0"))
        if "uuid" in parts and not _UUID.fullmatch(parts["uuid"]):
            raise ValueError(f"'{parts['uuid']}' is no UUID")
        if encoded:
            parts = {k: v if k == "uuid" else _decoded(k, v) for k, v in parts.items()}
        return cls(parts)


def _decoded(key: str, value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"{key}={value} is no base64 of a text, though base64=1 says so") from None


_USB_ID = re.compile(r"(?:0x)?([0-9A-Fa-f]{4}):(?:0x)?([0-9A-Fa-f]{4})")
_USB_PORT = re.compile(r"(\d+)-(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Usb:
    """A USB device: of the host (by ids or by port), by a mapping's name, or SPICE's."""

    host: str
    """As it was written."""
    ids: str = ""
    """``VENDOR:PRODUCT`` in lower-case hex."""
    port: str = ""
    """``BUS-PORT`` as sysfs names it."""
    mapping: str = ""
    spice: bool = False

    @classmethod
    def parse(cls, text: str) -> Usb:
        """Parse ``host=…,usb3=…`` or ``mapping=…``; raises ``ValueError``."""
        parts = property_string.parse(text, "host")
        known(parts, "usb", ("host", "mapping", "usb3"))
        if ("host" in parts) == ("mapping" in parts):
            raise ValueError(f"'{text}' needs either host or mapping")
        property_string.boolean(parts.get("usb3", "0"))  # every port carries USB 3
        if "mapping" in parts:
            return cls("", mapping=parts["mapping"])
        host = parts["host"]
        if host.lower() == "spice":
            return cls(host, spice=True)
        if ids := _USB_ID.fullmatch(host):
            return cls(host, ids=f"{ids[1]}:{ids[2]}".lower())
        if _USB_PORT.fullmatch(host):
            return cls(host, port=host)
        raise ValueError(f"host={host} is no device: write VENDOR:PRODUCT, BUS-PORT or spice")


@dataclass(frozen=True, slots=True)
class Startup:
    """When the guest is started among those of its node: small numbers first, switched off in reverse."""

    order: int | None
    up_s: int | None
    """How long to wait after its start."""
    down_s: int | None
    """How long its shutdown may take."""

    @classmethod
    def parse(cls, text: str) -> Startup:
        """Parse ``order=…,up=…,down=…`` or ``ORDER``; raises ``ValueError``."""
        parts = property_string.parse(text, "order")
        known(parts, "startup", ("order", "up", "down"))
        return cls(whole(parts, "order", 0), whole(parts, "up", 0), whole(parts, "down", 0))


HOTPLUG = ("network", "disk", "cpu", "memory", "usb", "cloudinit")


def hotplug(text: str) -> frozenset[str]:
    """What may be plugged while the guest runs; raises ``ValueError``."""
    if text in ("0", "1"):
        return frozenset({"network", "disk", "usb"}) if text == "1" else frozenset()
    words = frozenset(text.replace(";", ",").split(","))
    if wrong := sorted(words - set(HOTPLUG)):
        raise ValueError(f"'{wrong[0]}' can't be plugged; choose among {', '.join(HOTPLUG)}")
    return words
