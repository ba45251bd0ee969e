"""What a change of drives does to volumes: none is lost unasked, none is in two places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kvorum.core.ids import VolumeId
from kvorum.guests.config.devices import BUSES, STATE_DISKS, Disk

_CLOUDINIT = re.compile(r"(?:.*/)?vm-\d+-cloudinit(?:\.[a-z0-9]+)?")


def is_disk_key(key: str) -> bool:
    """Whether a setting is a drive, such as ``scsi0``, or a volume of the firmware or the TPM."""
    return key in STATE_DISKS or (key.rstrip("0123456789") in BUSES and key[-1].isdigit())


def is_cloudinit(disk: Disk) -> bool:
    """Whether this is the drive that cloud-init in the guest reads, which can be made anew at any time."""
    volume = disk.volume
    name = volume.name if volume is not None else ""
    return name == "cloudinit" or _CLOUDINIT.fullmatch(name) is not None


def carries_itself(key: str, disk: Disk, *, running: bool) -> bool:
    """Whether the content of a drive that moves is not copied: cloud-init's is made anew, and what the TPM of
    a running guest keeps comes with its memory.
    """
    return is_cloudinit(disk) or (running and key == "tpmstate0")


def owned(vmid: int, disk: Disk) -> VolumeId | None:
    """The drive's volume, if it belongs to this guest: no CD, and no other guest's."""
    volume = disk.volume
    own = volume.name.rpartition("/")[2] if volume is not None else ""  # a clone's has its base's in front
    return volume if f"-{vmid}-" in own and (not disk.is_cdrom or is_cloudinit(disk)) else None


def kept_volumes(
    settings: Mapping[str, str], delete: Iterable[str], made: Mapping[str, str]
) -> dict[str, str]:
    """Volumes of drives that are taken away or replaced become ``unused``."""
    kept: dict[str, str] = {}
    attached, going = _attached(made), frozenset(delete)
    for key, disk in _drives(settings).items():
        gone = key in going or (key in made and Disk.parse(made[key]).file != disk.file)
        if gone and disk.volume is not None and not disk.is_cdrom and disk.file not in attached:
            kept[free_key("unused", {**settings, **kept})] = disk.file
    return kept


def taken_up(settings: Mapping[str, str], made: Mapping[str, str]) -> frozenset[str]:
    """The ``unused`` entries whose volumes are a drive's from now on."""
    attached = _attached(made)
    unused = {key: Disk.parse(value) for key, value in settings.items() if key.startswith("unused")}
    return frozenset(key for key, disk in unused.items() if disk.file in attached)


def free_key(family: str, taken: Iterable[str]) -> str:
    """The first numbered setting of a family that is not taken."""
    used = frozenset(taken)
    return next(key for number in range(10_000) if (key := f"{family}{number}") not in used)


def _drives(settings: Mapping[str, str]) -> dict[str, Disk]:
    return {key: Disk.parse(value) for key, value in settings.items() if is_disk_key(key)}


def _attached(made: Mapping[str, str]) -> set[str]:
    return {disk.file for disk in _drives(made).values()}
