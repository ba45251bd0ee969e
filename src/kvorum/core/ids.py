"""The names things have: node names, guest ids, volume ids and task ids (UPIDs).

Parsing is strict and total: a function here returns a value or raises ``ValueError`` with a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VMID_MIN = 100
VMID_MAX = 999_999_999

_NODE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_STORAGE = re.compile(r"[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]")


def node_name(text: str) -> str:
    """Return ``text`` if it can be a node's name (one DNS label, RFC 1123), else raise ``ValueError``."""
    if not _NODE.fullmatch(text):
        raise ValueError(
            f"'{text}' is not a node name: use 1 to 63 letters, digits and dashes, no dash first or last"
        )
    return text


def vmid(value: int | str) -> int:
    """Return the guest id as an integer, or raise ``ValueError`` when it is not one of 100 to 999999999."""
    text = str(value)
    if not (text.isascii() and text.isdigit()) or not VMID_MIN <= int(text) <= VMID_MAX:
        raise ValueError(f"'{value}' is not a VM id: use a whole number from {VMID_MIN} to {VMID_MAX}")
    return int(text)


def storage_name(text: str) -> str:
    """Return ``text`` if it can be a storage's name, else raise ``ValueError``."""
    if not _STORAGE.fullmatch(text):
        raise ValueError(
            f"'{text}' is not a storage name: begin with a letter, "
            "then letters, digits, '-', '_', '.', the last a letter or digit"
        )
    return text


@dataclass(frozen=True, slots=True)
class VolumeId:
    """A volume's name in the cluster, ``STORAGE:NAME``, such as ``local:100/vm-100-disk-0.qcow2``."""

    storage: str
    name: str

    @classmethod
    def parse(cls, text: str) -> VolumeId:
        """Parse ``STORAGE:NAME``; raises ``ValueError`` for anything that could leave its storage."""
        storage, colon, name = text.partition(":")
        if not colon or not name:
            raise ValueError(f"'{text}' is not a volume id: write STORAGE:NAME")
        storage_name(storage)
        if name.startswith("/") or ".." in name.split("/") or any(ord(c) < 32 or c == "\x7f" for c in name):
            raise ValueError(f"'{text}' is not a volume id: its name leaves the storage")
        return cls(storage, name)

    def __str__(self) -> str:
        return f"{self.storage}:{self.name}"


_UPID = re.compile(
    r"UPID:(?P<node>[a-zA-Z0-9-]+):(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,16}):"
    r"(?P<starttime>[0-9A-Fa-f]{8}):(?P<type>[^:\s/]+):(?P<id>[^:\s/]*):(?P<user>[^:\s/]+):"
)


@dataclass(frozen=True, slots=True)
class Upid:
    """A task's id. ``pid`` and ``pstart`` name the process that runs it, ``starttime`` is in Unix seconds.

    ``pstart`` is the process's start in clock ticks since boot, shifted left by 16 bits, plus a count of the
    tasks that process has begun: two tasks of one process never share an id.
    """

    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str

    @classmethod
    def parse(cls, text: str) -> Upid:
        """Parse the nine colon-separated fields; raises ``ValueError`` when the text is no UPID."""
        match = _UPID.fullmatch(text)
        if not match:
            raise ValueError(f"unable to parse worker upid '{text}'")
        return cls(
            node=match["node"],
            pid=int(match["pid"], 16),
            pstart=int(match["pstart"], 16),
            starttime=int(match["starttime"], 16),
            type=match["type"],
            id=_unescape(match["id"]),
            user=_unescape(match["user"]),
        )

    def __str__(self) -> str:
        return (
            f"UPID:{self.node}:{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}:"
            f"{self.type}:{_escape(self.id)}:{_escape(self.user)}:"
        )


def _escape(text: str) -> str:
    """Escape, as bytes of UTF-8, what would break the colon-separated form, a file name or a line."""
    return "".join(
        c if c not in ":/\\" and c.isprintable() and not c.isspace() else _hex(c.encode()) for c in text
    )


def _hex(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _unescape(text: str) -> str:
    return re.sub(
        r"(?:\\x[0-9a-f]{2})+",
        lambda match: bytes.fromhex(match[0].replace("\\x", "")).decode("utf-8", "replace"),
        text,
    )
