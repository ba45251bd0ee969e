"""What a move of a disk is asked to do, and the configuration before and after. All of it is pure."""

from __future__ import annotations

from dataclasses import dataclass

from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import is_disk_key, owned
from kvorum.guests.errors import GuestError


@dataclass(frozen=True, slots=True)
class Wish:
    """One disk to another storage, or into another format."""

    vmid: int
    key: str
    storage: str
    format: str | None = None
    delete: bool = False
    """Remove the old volume; else it becomes ``unused``."""
    digest: str = ""
    rate_kib_s: int = 0
    who: str = "root@pam"


def disk_of(config: GuestConfig, key: str) -> Disk:
    """A drive or an unused volume of a guest; raises ``GuestError``."""
    disk = {**config.disks, **config.unused}.get(key)
    if disk is None:
        has = ", ".join([*config.disks, *config.unused]) or "none"
        raise GuestError(f"disk '{key}' does not exist; VM {config.vmid} has {has}")
    return disk


def volume_of(config: GuestConfig, key: str) -> VolumeId:
    """The volume that is to go elsewhere. Raises ``GuestError`` for what is none, or waits to be changed."""
    disk = disk_of(config, key)
    volume = disk.volume
    if volume is None or disk.is_cdrom:
        raise GuestError(f"you can't move a CD drive or a path: {key} is '{disk.file}'")
    if key in config.pending.changes or key in config.pending.delete:
        raise GuestError(
            f"{key} has a change that waits for the next start of VM {config.vmid}; revert it, or start anew"
        )
    return volume


def snapshots_with(config: GuestConfig, volume: VolumeId) -> list[str]:
    """The snapshots of a guest that name a volume."""
    found = []
    for name in config.document.sections:
        settings = config.document.settings(name)
        drives = (Disk.parse(setting.value) for key, setting in settings.items() if is_disk_key(key))
        if name != "PENDING" and any(disk.file == str(volume) for disk in drives):
            found.append(name)
    return found


def check(config: GuestConfig, wish: Wish, present_format: str, format: str) -> None:
    """Raise ``GuestError`` when a move changes nothing, or would take what a snapshot needs."""
    volume = volume_of(config, wish.key)
    if wish.storage == volume.storage and format == present_format:
        raise GuestError(
            f"you can't move {wish.key} to where it is: '{volume}' is on '{wish.storage}' as {format}; "
            "give another storage or another format"
        )
    if wish.key == "tpmstate0" and format != "raw":
        raise GuestError(
            f"tpmstate0 can't become {format}: swtpm writes raw volumes only; move it without a format"
        )
    if wish.delete and (needing := snapshots_with(config, volume)):
        raise GuestError(
            f"you can't move {wish.key} and delete the source: snapshot '{needing[0]}' needs '{volume}'; "
            "delete its snapshots first, or move without --delete"
        )


def moved(config: GuestConfig, wish: Wish, volume: VolumeId, size_bytes: int) -> GuestConfig:
    """The configuration with the disk on its new volume; the old one is unused, or nobody's."""
    old = disk_of(config, wish.key)
    if wish.key.startswith("unused"):
        new = Disk(str(volume), {})
        then = config.edit({wish.key: str(new)})
    else:
        then = config.edit({wish.key: str(old.with_volume(volume, size_bytes))})
    kept = owned(config.vmid, old) is not None and not wish.delete
    return then.keep(old) if kept else then
