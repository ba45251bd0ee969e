"""OVF descriptors: what machine they describe, read from XML that anybody may have written. Pure.

The format is DMTF's DSP0243 (OVF 1.1), its numbers of hardware CIM's ``ResourceType``. A document type
declaration is refused, so there are no entities to expand or to fetch; size and depth are bounded; file names
must be plain ones, beside the descriptor. That is why expat alone does here (defusedxml would do no more).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from kvorum.storage.errors import StorageError

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_DISKS = 64
MAX_NICS = 32

_NAME = re.compile(r"[A-Za-z0-9_. @()+-]{1,200}")
_UNITS = re.compile(r"\s*byte\s*\*\s*2\s*\^\s*(\d{1,2})\s*", re.IGNORECASE)
_CPU, _MEMORY, _IDE, _SCSI, _NETWORK, _CD, _DVD, _DISK, _SATA = 3, 4, 5, 6, 10, 15, 16, 17, 20
_NIC_MODELS = {"e1000": "e1000", "e1000e": "e1000e", "vmxnet3": "vmxnet3", "virtio": "virtio"}
_SCSI_MODELS = {"lsilogic": "lsi", "lsilogicsas": "megasas", "virtualscsi": "pvscsi"}
_SCSI_PER_CONTROLLER = 15


class NotAnAppliance(StorageError):
    """The descriptor is none, or describes what can't be taken in; the sentence says what."""


@dataclass(frozen=True, slots=True)
class ApplianceDisk:
    """One disk."""

    key: str
    """The drive it becomes, such as ``scsi0``."""
    file: str
    """The file that has its data, beside the descriptor."""


@dataclass(frozen=True, slots=True)
class Appliance:
    """A machine as its descriptor says."""

    name: str = ""
    cores: int = 1
    memory_mib: int = 512
    disks: tuple[ApplianceDisk, ...] = ()
    nics: tuple[str, ...] = ()
    """The model of each network card."""
    scsihw: str = ""
    uefi: bool = False
    cdroms: int = 0
    """CD drives; they are left out."""


def parse(data: bytes) -> Appliance:
    """Read a descriptor; raises ``NotAnAppliance``."""
    if len(data) > MAX_BYTES:
        raise NotAnAppliance(f"the OVF descriptor has more than {MAX_BYTES >> 20} MiB")
    root = _tree(data)
    if root.name != "Envelope":
        raise NotAnAppliance(f"the OVF descriptor begins with '{root.name[:40]}', not with an Envelope")
    systems = [each for each in root.all() if each.name == "VirtualSystem"]
    if len(systems) != 1:
        raise NotAnAppliance(f"the OVF descriptor has {len(systems)} virtual systems; exactly one is needed")
    return _machine(root, systems[0])


# The document


@dataclass(slots=True)
class _Element:
    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[_Element] = field(default_factory=list)

    def all(self) -> Iterator[_Element]:
        """All that is below."""
        for child in self.children:
            yield child
            yield from child.all()

    def child(self, name: str) -> str:
        """The text of the first child of a name."""
        return next((each.text.strip() for each in self.children if each.name == name), "")


def _tree(data: bytes) -> _Element:
    """The elements by their local names."""
    top = _Element("", {})
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise NotAnAppliance(f"the OVF descriptor is nested deeper than {MAX_DEPTH}")
        element = _Element(_local(name), {_local(key): value for key, value in attributes.items()})
        stack[-1].children.append(element)
        stack.append(element)

    def end(name: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].text += text

    def refuse(*_: object) -> None:
        raise NotAnAppliance("the OVF descriptor declares a document type, which no OVF needs")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotAnAppliance(f"the OVF descriptor is no XML: {error}") from None
    return top.children[0]


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


# What it says


def _machine(root: _Element, system: _Element) -> Appliance:
    items = [each for each in system.all() if each.name in ("Item", "StorageItem", "EthernetPortItem")]
    files = {
        each.attributes.get("id", ""): each.attributes.get("href", "")
        for each in root.all()
        if each.name == "File"
    }
    disks = {
        each.attributes.get("diskId", ""): files.get(each.attributes.get("fileRef", ""), "")
        for each in root.all()
        if each.name == "Disk"
    }
    kinds = {each.child("InstanceID"): _number(each, "ResourceType") for each in items}
    found, cores, memory, cdroms, nics, scsihw = [], 1, 512, 0, [], ""
    for item in items:
        match _number(item, "ResourceType"):
            case int(kind) if kind == _CPU:
                cores = _bounded(item, "VirtualQuantity", "CPUs", 1, 4096)
            case int(kind) if kind == _MEMORY:
                memory = _memory(item)
            case int(kind) if kind == _SCSI:
                scsihw = scsihw or _SCSI_MODELS.get(item.child("ResourceSubType").lower(), "")
            case int(kind) if kind == _NETWORK:
                nics.append(_NIC_MODELS.get(item.child("ResourceSubType").lower(), "e1000"))
            case int(kind) if kind in (_CD, _DVD):
                cdroms += 1
            case int(kind) if kind == _DISK:
                bus = {_IDE: "ide", _SATA: "sata"}.get(kinds.get(item.child("Parent")) or 0, "scsi")
                found.append((bus, _file(item, disks, files)))
    if len(found) > MAX_DISKS or len(nics) > MAX_NICS:
        raise NotAnAppliance(f"the OVF descriptor has more than {MAX_DISKS} disks or {MAX_NICS} cards")
    firmware = [e.attributes.get("value", "") for e in system.all() if e.attributes.get("key") == "firmware"]
    return Appliance(
        name=_host_name(system.child("Name") or system.attributes.get("id", "")),
        cores=cores,
        memory_mib=memory,
        disks=_numbered(found),
        nics=tuple(nics),
        scsihw=scsihw,
        uefi="efi" in firmware,
        cdroms=cdroms,
    )


def _numbered(found: list[tuple[str, str]]) -> tuple[ApplianceDisk, ...]:
    """Each disk under the next number of its bus; what does not fit there is a SCSI disk."""
    room = {"ide": 4, "sata": 6, "scsi": 31}
    used = dict.fromkeys(room, 0)
    disks = []
    for wanted, file in found:
        bus = wanted if used[wanted] < room[wanted] else "scsi"
        if used[bus] >= room[bus]:
            raise NotAnAppliance(f"the OVF descriptor has more than {room['scsi']} SCSI disks")
        disks.append(ApplianceDisk(f"{bus}{used[bus]}", file))
        used[bus] += 1
    return tuple(disks)


def _file(item: _Element, disks: dict[str, str], files: dict[str, str]) -> str:
    """The file of a disk: ``ovf:/disk/ID`` by the disk section, ``ovf:/file/ID`` at once."""
    named = item.child("HostResource").removeprefix("ovf:")
    kind, _, id = named.strip("/").partition("/")
    file = (disks if kind == "disk" else files).get(id, "")
    if not _NAME.fullmatch(file) or file.startswith("."):
        raise NotAnAppliance(
            f"the OVF descriptor's disk '{named[:80]}' has the file '{file[:80]}', which is no plain name"
        )
    return file


def _memory(item: _Element) -> int:
    """Memory in MiB: a quantity of units such as ``byte * 2^20``."""
    text = item.child("AllocationUnits")
    match = _UNITS.fullmatch(text)
    names = {"megabytes": 20, "mb": 20, "gigabytes": 30, "gb": 30, "kilobytes": 10, "": 20}
    power = int(match[1]) if match else names.get(text.strip().lower())
    if power is None or power > 40:
        raise NotAnAppliance(f"the OVF descriptor counts memory in '{text[:40]}', which is not understood")
    quantity = _bounded(item, "VirtualQuantity", "units of memory", 1, 1 << 40)
    mib = (quantity << power) >> 20
    if not 16 <= mib <= 4 << 20:
        raise NotAnAppliance(f"the OVF descriptor asks for {mib} MiB of memory; allowed: 16 MiB to 4 TiB")
    return mib


def _number(item: _Element, name: str) -> int | None:
    text = item.child(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _bounded(item: _Element, name: str, what: str, least: int, most: int) -> int:
    value = _number(item, name)
    if value is None or not least <= value <= most:
        raise NotAnAppliance(f"the OVF descriptor has '{item.child(name)[:40]}' {what}: no number that fits")
    return value


def _host_name(text: str) -> str:
    """A name that a guest may have: letters, digits and ``-``; empty where nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:63].strip("-")


def settings(machine: Appliance) -> dict[str, object]:
    """A guest's settings for a machine, without disks and cards."""
    found: dict[str, object] = {"cores": machine.cores, "memory": machine.memory_mib}
    if machine.name:
        found["name"] = machine.name
    if machine.scsihw:
        found["scsihw"] = machine.scsihw
    if machine.uefi:
        found["bios"] = "ovmf"
    if machine.disks:
        found["boot"] = f"order={machine.disks[0].key}"
    return found
