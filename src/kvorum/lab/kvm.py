"""Whether machines get /dev/kvm: not where a node has found, since this host booted, that it runs no guest.

A node probes KVM at each of its boots (``guests/machine/accelerator.py``). Where /dev/kvm opens and hangs
guests, that takes three seconds. All nodes have the host's kernel, so the first one's answer holds for the
rest until the host boots again (or the file in the cache is removed).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from kvorum.guests.machine.accelerator import Accelerator, this_boot
from kvorum.lab import cache

DEVICE = "/dev/kvm"
_FOUND = Path("run/kvorum/accelerator.json")
"""Where a node keeps what it found, below its root."""


class _Node(msgspec.Struct, frozen=True):
    """Of what a node keeps, what the lab asks for (its boot's name is its own)."""

    result: Accelerator


class _Kept(msgspec.Struct, frozen=True):
    boot: str
    result: Accelerator


def runs_guests() -> bool:
    """False if a node found since the host's boot that KVM runs no guest here; true while nobody knows."""
    try:
        kept = msgspec.json.decode(_place().read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.MsgspecError):
        return True
    return kept.boot != this_boot() or kept.result.name == "kvm"


def note(root: Path) -> None:
    """Keep what a running node with the device has found; nothing if that is nothing, or it is gone again."""
    try:
        found = msgspec.json.decode((root / _FOUND).read_bytes(), type=_Node)
    except (FileNotFoundError, ProcessLookupError, msgspec.MsgspecError):
        return
    place = _place()
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".accelerator-", dir=place.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(_Kept(this_boot(), found.result)))
    Path(draft).replace(place)


def _place() -> Path:
    return cache.place() / "accelerator.json"
