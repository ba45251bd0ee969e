"""What is inside an OVA (a tar of a descriptor and its disks), found in place: nothing is ever unpacked.

So no member's name or link can reach a path, and a disk in it needs no room but its own. It blocks.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from kvorum.storage import ovf
from kvorum.storage.ovf import Appliance, NotAnAppliance

MAX_MEMBERS = 1000
_PLAIN = re.compile(r"(?:\./)?(?P<name>[A-Za-z0-9_. @()+-]+)")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file that are a file of their own."""

    path: Path
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"


def parts(path: Path) -> dict[str, Part]:
    """The plain files in an OVA, by name; raises ``NotAnAppliance`` for what is no tar."""
    found: dict[str, Part] = {}
    try:
        whole = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for number, member in enumerate(archive):
                if number >= MAX_MEMBERS:
                    raise NotAnAppliance(f"'{path}' has more than {MAX_MEMBERS} files")
                match = _PLAIN.fullmatch(member.name)
                if match is None or not member.isreg() or member.issparse() or match["name"] in found:
                    continue
                if member.offset_data + member.size > whole:
                    raise NotAnAppliance(f"'{path}' is cut off: '{match['name']}' is not all there")
                found[match["name"]] = Part(path, member.offset_data, member.size, match["name"])
    except NotAnAppliance:
        raise
    except (tarfile.TarError, ValueError, OverflowError, EOFError, LookupError) as error:
        raise NotAnAppliance(f"'{path}' is no OVA, which is a tar: {error}") from None
    except OSError as error:
        raise NotAnAppliance(f"'{path}' can't be read: {error.strerror}") from None
    return found


def part(path: Path, name: str) -> Part:
    """One file in an OVA; raises ``NotAnAppliance`` naming those that are there."""
    found = parts(path)
    if name not in found:
        raise NotAnAppliance(f"'{path}' has no '{name[:80]}'; it has: {', '.join(found) or 'nothing'}")
    return found[name]


def read(path: Path) -> Appliance:
    """The machine that an OVA or an OVF describes, whose disks are all there; raises ``NotAnAppliance``."""
    if path.suffix == ".ovf":
        try:
            with path.open("rb") as file:
                data = file.read(ovf.MAX_BYTES + 1)
        except OSError as error:
            raise NotAnAppliance(f"'{path}' can't be read: {error.strerror}") from None
        return ovf.parse(data)
    found = parts(path)
    descriptor = next((each for name, each in found.items() if name.endswith(".ovf")), None)
    if descriptor is None:
        raise NotAnAppliance(f"'{path}' has no OVF descriptor; it has: {', '.join(found) or 'nothing'}")
    with path.open("rb") as file:
        file.seek(descriptor.offset)
        machine = ovf.parse(file.read(min(descriptor.size, ovf.MAX_BYTES + 1)))
    for disk in machine.disks:
        if disk.file not in found:
            raise NotAnAppliance(f"'{path}' lacks '{disk.file}', which its descriptor has as {disk.key}")
    return machine
