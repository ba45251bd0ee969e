"""What a configuration says of a guest suspended to disk, and what is to be done with what was left. Pure.

``lock: suspending`` notes that the memory is being saved; while it stands nothing is decided. ``lock:
suspended`` with ``vmstate``, ``runningmachine`` and ``runningcpu`` decides: from then on the guest is what
lies on disk, and what QEMU still holds of it must never run again. Taking them away decides the other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError

SUSPENDING = "suspending"
SUSPENDED = "suspended"
_KEPT = frozenset({"vmstate", "runningmachine", "runningcpu", "running-nets-host-mtu"})
_SAVED = "postmigrate"
"""QEMU's state once its memory is wholly in the file; it stands still."""


class Left(Enum):
    """What is to be done with a guest that nobody holds."""

    NOTHING = auto()
    END = auto()
    """It lies on disk: what is left of its QEMU ends."""
    FORGET = auto()
    """It was let run in spite of that: what lies on disk is of the past."""
    GIVE_UP = auto()
    """Its memory was not wholly saved: it goes on, or is off as after a power cut."""
    GO_ON = auto()
    """It stands still for nobody any more."""


def left(lock: str | None, status: str | None, standing: bool) -> Left:
    """``status`` is its QEMU's (``None``: it has none), ``standing`` the word in its record.

    Only to be asked once the last write that was sent is known to have taken effect, or never to.
    """
    if lock == SUSPENDED:
        if status is None:
            return Left.NOTHING
        return Left.FORGET if status == "running" else Left.END
    if lock == SUSPENDING:
        return Left.GIVE_UP
    return Left.GO_ON if standing and status is not None else Left.NOTHING


def undecided(lock: str | None, status: str) -> bool:
    """Whether a guest must stand still until the store says which way its suspension, or its waking, went."""
    return lock == SUSPENDED or (lock == SUSPENDING and status == _SAVED)


def begun(config: GuestConfig) -> GuestConfig:
    """Noted that its memory is being saved."""
    return config.edit({"lock": SUSPENDING})


def suspended(config: GuestConfig, kept: Mapping[str, str]) -> GuestConfig:
    """It lies on disk; ``kept`` names the volume, and the machine and CPU that go on from it."""
    return config.edit({**kept, "lock": SUSPENDED})


def unlocked(config: GuestConfig) -> GuestConfig:
    """As before a suspension was begun."""
    return config.edit({}, frozenset({"lock"}))


def awake(config: GuestConfig) -> GuestConfig:
    """It does not lie on disk any more, or is not to go on from there."""
    return config.edit({}, (_KEPT & config.settings.keys()) | {"lock"})


def memory(config: GuestConfig) -> VolumeId | None:
    """The volume that holds the memory of a guest that is suspended to disk."""
    return VolumeId.parse(config.settings["vmstate"]) if "vmstate" in config.settings else None


def need_memory(config: GuestConfig) -> VolumeId:
    """As ``memory``; raises ``GuestError`` for a configuration that names none."""
    if (volume := memory(config)) is None:
        raise GuestError(
            f"VM {config.vmid} is suspended to disk, but its configuration names no 'vmstate' to go on from; "
            f"'qm unlock {config.vmid}' lets it start anew"
        )
    return volume
