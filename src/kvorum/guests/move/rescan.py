"""Volumes that no configuration names are found, and sizes that are noted wrong are set right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.devices import render_size
from kvorum.guests.manager import GuestManager
from kvorum.interface import TaskLog
from kvorum.storage import StorageError, Storages, Volume
from kvorum.store import Store


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
        if volume.vmid == config.vmid and not is_named(text, volid):
            before = config.unused.keys()
            config = config.keep(Disk(volid, {}))
            key = next(iter(config.unused.keys() - before))
            lines.append(f"{key}: found '{volid}'")
    return config, lines


def is_named(text: str, volid: str) -> bool:
    """Whether a configuration names a volume: as a drive, in a snapshot, in what waits, as a saved state."""
    return re.search(rf"(?<![\w./-]){re.escape(volid)}(?![\w./-])", text) is not None


def once(volumes: Iterable[tuple[Volume, Path]], text: str) -> list[Volume]:
    """Each volume once, where two storages have one place: by the name that ``text`` knows, else the first.
    Pure.
    """
    by_path: dict[Path, Volume] = {}
    for volume, path in volumes:
        if path not in by_path or (is_named(text, volume.volid) and not is_named(text, by_path[path].volid)):
            by_path[path] = volume
    return list(by_path.values())


async def all_volumes(
    storages: Storages, store: Store, passed_over: Callable[[str], None], vmid: int | None = None
) -> list[Volume]:
    """The images on all storages of this node, of one guest or of all; each once. What does not answer is
    passed over, with a sentence."""
    found: list[tuple[Volume, Path]] = []
    for entry in storages.config().entries:
        if "images" not in entry.content or not entry.available_on(store.node):
            continue
        try:
            kind = storages.open(entry)
            volumes = await storages.content(entry.id, vmid, ("images",))
            found += [(volume, kind.path(VolumeId.parse(volume.volid))) for volume in volumes]
        except StorageError as error:
            passed_over(f"storage '{entry.id}' is passed over: {error}")
    files = (store.read(path) for path in store.guests().values())
    return once(found, "\n".join(file.text for file in files if file is not None))


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
        volumes = await all_volumes(self._storages, self._manager.store, log.warn, vmid)
        after, lines = rescanned(config, volumes)
        for line in lines:
            log.line(f"VM {vmid} {line}")
        if lines and not dry_run:
            await self._manager.registry.replace(config, after, who=who)
