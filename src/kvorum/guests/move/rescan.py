"""Volumes that no configuration names are found, and sizes that are noted wrong are set right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.devices import render_size
from kvorum.guests.manager import GuestManager
from kvorum.interface import TaskLog
from kvorum.storage import StorageError, Storages, Volume


def rescanned(config: GuestConfig, volumes: Iterable[Volume]) -> tuple[GuestConfig, list[str]]:
    """The configuration as the storages have it, and what was changed, a line each. Pure."""
    found = {volume.volid: volume for volume in volumes if volume.content == "images"}
    lines = []
    for key, disk in config.disks.items():
        volume = found.get(disk.file)
        if volume is None or disk.is_cdrom or disk.size_bytes == volume.size:
            continue
        noted = disk.options.get("size", "no size")
        config = config.edit({key: str(disk.with_volume(VolumeId.parse(disk.file), volume.size))})
        lines.append(f"{key}: '{disk.file}' has {render_size(volume.size)}, not {noted}")
    text = config.document.render()
    for volid, volume in sorted(found.items()):
        if volume.vmid == config.vmid and not _named(text, volid):
            before = config.unused.keys()
            config = config.keep(Disk(volid, {}))
            key = next(iter(config.unused.keys() - before))
            lines.append(f"{key}: found '{volid}'")
    return config, lines


def _named(text: str, volid: str) -> bool:
    """Whether a configuration names a volume: as a drive, in a snapshot, in what waits, as a saved state."""
    return re.search(rf"(?<![\w./-]){re.escape(volid)}(?![\w./-])", text) is not None


class Rescan:
    """Looks at all storages that hold images, for guests of this node."""

    def __init__(self, manager: GuestManager, storages: Storages) -> None:
        self._manager = manager
        self._storages = storages

    async def run(self, vmids: Sequence[int], log: TaskLog, who: str, *, dry_run: bool = False) -> None:
        """Set these guests' configurations right; one that is busy or locked is left alone."""
        for vmid in vmids:
            try:
                async with self._manager.exclusive(vmid, "rescan"):
                    await self._one(vmid, log, who, dry_run)
            except KvorumError as error:
                log.warn(f"VM {vmid} is left as it is: {error}")

    async def _one(self, vmid: int, log: TaskLog, who: str, dry_run: bool) -> None:
        config = self._manager.registry.config(vmid)
        self._manager.check_unlocked(config)
        after, lines = rescanned(config, await self._volumes(vmid, log))
        for line in lines:
            log.line(f"VM {vmid} {line}")
        if lines and not dry_run:
            await self._manager.registry.replace(config, after, who=who)

    async def _volumes(self, vmid: int, log: TaskLog) -> list[Volume]:
        found: list[Volume] = []
        for entry in self._storages.config().entries:
            if "images" in entry.content and entry.available_on(self._manager.store.node):
                try:
                    found += await self._storages.content(entry.id, vmid, ("images",))
                except StorageError as error:
                    log.warn(f"storage '{entry.id}' is passed over: {error}")
        return found
