"""A guest's cloud-init drive: made on its storage, and made anew when what it says has changed.

What the drive says is noted in the configuration (``[special:cloudinit]``), so that anybody can tell what
waits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.cloudinit import documents
from kvorum.guests.cloudinit.disc import VOLUME_BYTES, disc
from kvorum.guests.cloudinit.settings import MASK, SECTION, Cloud, told
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import is_cloudinit
from kvorum.guests.errors import GuestError
from kvorum.storage import StorageError, StorageKind, Storages
from kvorum.storage.kind import Reserving, reserve_silently

_MOST_SNIPPET_BYTES = 1 << 20
_DEADLINE_S = 20.0
Row = dict[str, object]


class CloudInit:
    """The cloud-init drives of this node's guests."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages

    async def allocate(self, vmid: int, storage: str, reserving: Reserving = reserve_silently) -> VolumeId:
        """The volume of a guest's drive; one that is there already is taken."""
        kind = self._storages.get(storage)
        volume = _volume(kind, vmid)
        try:
            await asyncio.wait_for(kind.size(volume), _DEADLINE_S)
        except StorageError:
            name = volume.name.rpartition("/")[2]
            return await kind.allocate(vmid, VOLUME_BYTES, "raw", name, reserving)
        return volume

    async def texts(self, config: GuestConfig) -> dict[str, str]:
        """What the drive is to say: ``user``, ``network``, ``meta``, and ``vendor`` if there is a snippet
        for it.

        Raises ``GuestError`` naming a snippet that can't be read.
        """
        cloud = Cloud.of(config)
        found = documents.generated(cloud)
        own = {key: await self._snippet(key, volume) for key, volume in cloud.custom.items()}
        return {**documents.with_meta(cloud, {**found, **own}), **own}

    async def write(self, config: GuestConfig, key: str) -> None:
        """Write what is to be said onto the guest's drive; raises ``GuestError``."""
        cloud = Cloud.of(config)
        if cloud.kind == "opennebula":
            raise GuestError("citype: opennebula is not made here; choose nocloud or configdrive2")
        volume = config.disks[key].volume
        assert volume is not None
        kind = self._storages.of(volume)
        await asyncio.wait_for(kind.activate(), _DEADLINE_S)
        label, files = documents.files(cloud, await self.texts(config))
        try:
            image = await asyncio.to_thread(disc, label, files)
            await asyncio.to_thread(_replace, kind.path(volume), image)
        except (OSError, ValueError) as error:
            raise GuestError(f"{key}: '{volume}' can't be written: {error}") from error

    async def refresh(self, config: GuestConfig) -> GuestConfig:
        """Before a start: the drive says what the configuration does. Returns it with this noted."""
        if (key := drive_of(config)) is None:
            return config
        volume = config.disks[key].volume
        assert volume is not None
        missing = not await asyncio.to_thread(self._storages.of(volume).path(volume).exists)
        if missing:
            await self.allocate(config.vmid, volume.storage)
        if missing or "cicustom" in config.settings or noted(config) != told(config):
            await self.write(config, key)
        return with_note(config)

    async def _snippet(self, key: str, volume: VolumeId) -> str:
        path = self._storages.of(volume).path(volume)
        try:
            return await asyncio.wait_for(asyncio.to_thread(_read, path), _DEADLINE_S)
        except (OSError, UnicodeDecodeError, ValueError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "its storage does not answer"
            raise GuestError(f"cicustom: {key}={volume} can't be read: {why}") from error


def drive_of(config: GuestConfig) -> str | None:
    """The key of the guest's cloud-init drive; raises ``GuestError`` when it has two."""
    keys = [key for key, disk in config.bus_disks.items() if is_cloudinit(disk)]
    if len(keys) > 1:
        raise GuestError(f"VM {config.vmid} has two cloud-init drives, {' and '.join(keys)}; delete one")
    return keys[0] if keys else None


def noted(config: GuestConfig) -> Mapping[str, str]:
    """The settings that the drive's present content was made of."""
    return {key: setting.value for key, setting in config.document.settings(SECTION).items()}


def with_note(config: GuestConfig) -> GuestConfig:
    """With the present settings noted as the drive's."""
    if noted(config) == told(config):
        return config
    text = config.document.with_section(SECTION, dict(sorted(told(config).items()))).render()
    return GuestConfig.parse(config.vmid, text, config.document.file)


def pending_rows(config: GuestConfig) -> list[Row]:
    """Each setting as the drive has it, and what waits for it to be made anew; passwords are not shown."""
    now, then = noted(config), told(config)
    rows: list[Row] = []
    for key in sorted(now.keys() | then.keys()):
        row: Row = {"key": key}
        if key in now:
            row["value"] = _shown(key, now[key])
        if key in then and then[key] != now.get(key):
            row["pending"] = _shown(key, then[key])
        if key not in then:
            row["delete"] = 1
        rows.append(row)
    return rows


def _shown(key: str, value: str) -> str:
    return MASK if key == "cipassword" else value


def _volume(kind: StorageKind, vmid: int) -> VolumeId:
    """What the drive's volume is called on a storage: a file's name has a format, a block device's has
    none.
    """
    for name in (f"{vmid}/vm-{vmid}-cloudinit.raw", f"vm-{vmid}-cloudinit"):
        volume = VolumeId(kind.id, name)
        try:
            kind.path(volume)
        except KvorumError:
            continue
        return volume
    raise GuestError(f"storage '{kind.id}' can't keep a cloud-init drive")


def new_drive(disk: Disk) -> str | None:
    """The storage on which a drive is asked for (``STORAGE:cloudinit``)."""
    volume = disk.volume
    return volume.storage if volume is not None and volume.name == "cloudinit" else None


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MOST_SNIPPET_BYTES + 1)
    if len(data) > _MOST_SNIPPET_BYTES:
        raise ValueError(f"it has more than {_MOST_SNIPPET_BYTES} bytes")
    return data.decode()


def _replace(path: Path, image: bytes) -> None:
    """Overwrite in place: the file's owner stays, and a block device can be nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(image)
        file.flush()
        os.fsync(file.fileno())
