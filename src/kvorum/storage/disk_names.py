"""What disks are called on storages of files: ``VMID/vm-VMID-disk-N.FORMAT``, bases, clones that name theirs.

A template's disk is ``100/base-100-disk-0.qcow2``; a linked clone of it carries its base's name in front:
``100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2``, and its file is ``101/vm-101-disk-0.qcow2``. So a
configuration says what rests on what. All of it is pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_FORM = re.compile(
    r"(?:(?P<parent>\d+/base-\d+-[A-Za-z0-9_.-]+\.(?:raw|qcow2))/)?"
    r"(?P<folder>\d+)/(?P<kind>vm|base)-(?P<vmid>\d+)-(?P<rest>[A-Za-z0-9_.-]+)\.(?P<format>raw|qcow2)"
)
_BACKING = re.compile(r"\.\./(?P<base>\d+/base-\d+-[A-Za-z0-9_.-]+\.(?:raw|qcow2))")


@dataclass(frozen=True, slots=True)
class DiskName:
    """One disk's name, taken apart."""

    folder: int
    """The guest whose folder the file lies in."""
    vmid: int
    """The guest that the file is named for; another one's where a user had it so."""
    rest: str
    """``disk-0``, ``state-NAME``, or what a user has chosen."""
    format: str
    is_base: bool = False
    parent: str = ""
    """The base's name that a linked clone rests on; empty: it stands alone."""

    @classmethod
    def parse(cls, text: str) -> DiskName | None:
        """The name taken apart; ``None`` when it is no disk's."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        return cls(
            int(match["folder"]),
            int(match["vmid"]),
            match["rest"],
            match["format"],
            match["kind"] == "base",
            match["parent"] or "",
        )

    @property
    def file(self) -> str:
        """Where the file is, below the storage's folder of images."""
        kind = "base" if self.is_base else "vm"
        return f"{self.folder}/{kind}-{self.vmid}-{self.rest}.{self.format}"

    def __str__(self) -> str:
        return f"{self.parent}/{self.file}" if self.parent else self.file

    def based(self) -> DiskName:
        """As a base."""
        return replace(self, is_base=True)

    def handed_to(self, vmid: int, rest: str = "") -> DiskName:
        """As another guest's; a file that was named for somebody else keeps its name, unless it gets one."""
        named = vmid if rest or self.vmid == self.folder else self.vmid
        return replace(self, folder=vmid, vmid=named, rest=rest or self.rest)

    def on(self, backing_file: str) -> DiskName:
        """With the base that the image itself names, when that is a base of the same storage."""
        match = _BACKING.fullmatch(backing_file)
        return replace(self, parent=match["base"] if match else "")

    @property
    def backing_file(self) -> str:
        """What the image must name as its backing file; empty: none."""
        return f"../{self.parent}" if self.parent else ""
