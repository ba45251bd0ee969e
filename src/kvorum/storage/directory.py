"""The ``dir`` kind: images are files below a directory, ``images/VMID/vm-VMID-disk-N.FORMAT``.

With ``shared 1`` the admin says that all nodes see the same directory (NFS mounted by hand, a cluster file
system). Guests' QEMUs run under a uid of their own, so ``images`` and the guests' folders may be passed
through by everyone (0711) and listed by root alone; the files belong to the guest's uid (see guests.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from kvorum.core.ids import VolumeId
from kvorum.storage import attributes, disk_files, images, qcow2
from kvorum.storage.disk_names import DiskName
from kvorum.storage.disks import DiskStorage, keeps_its_name, no_base, numbers, only_on_bases, still_needed
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import StorageError
from kvorum.storage.kind import (
    Capabilities,
    Reserving,
    Source,
    StorageStatus,
    Volume,
    Wrong,
    reserve_silently,
    snapshot_name,
)

FOLDER_KEYS = (
    "path", "format", "preallocation", "mkdir", "create-base-path", "create-subdirs", "is_mountpoint",
    "content-dirs", "prune-backups", "maxfiles", "max-protected-backups",
)  # fmt: skip
"""The settings of every kind that keeps its content in a directory."""

_FORMATS = ("raw", "qcow2")
_FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "backup": "dump",
    "snippets": "snippets",
    "import": "import",
}


class DirectoryStorage(DiskStorage):
    """A directory of files."""

    type = "dir"
    keys: ClassVar[tuple[str, ...]] = (*FOLDER_KEYS, "shared", "snapshot-as-volume-chain")
    holds = ("images", "rootdir", *_FOLDERS)

    @classmethod
    def wrong(cls, entry: StorageEntry) -> Wrong | None:
        if entry.path.startswith("/"):
            return None
        return Wrong("path", f"'{entry.path}' is no absolute path", "a path that begins with '/'")

    @property
    def root(self) -> Path:
        """The storage's own directory."""
        return Path(self.entry.path)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shared=self.entry.shared,
            formats=_FORMATS,
            snapshots=frozenset({"qcow2"}),
            clones=frozenset(_FORMATS),
            thin=True,
        )

    async def activate(self) -> None:
        await asyncio.to_thread(self._activate)

    def _activate(self) -> None:
        mount = self.entry.options.get("is_mountpoint", "no")
        if mount.startswith("/") or mount in ("1", "yes", "on", "true"):
            point = Path(mount) if mount.startswith("/") else self.root
            if not point.is_mount():
                raise StorageError(f"unable to activate storage '{self.id}': '{point}' is not mounted")
        make = "0" not in (self.entry.options.get("mkdir"), self.entry.options.get("create-base-path"))
        try:
            if make:
                disk_files.make_passable(self.root)
            if not self.root.is_dir():
                raise StorageError(
                    f"unable to activate storage '{self.id}': directory '{self.root}' does not exist"
                )
        except OSError as error:
            raise StorageError(
                f"unable to activate storage '{self.id}': {error.strerror}: '{self.root}'"
            ) from error

    def path(self, volume: VolumeId) -> Path:
        if disk := DiskName.parse(volume.name):
            return self._images / disk.file
        content, _, name = volume.name.partition("/")
        if content in _FOLDERS and name and "/" not in name:
            return self.root / _FOLDERS[content] / name
        raise StorageError(
            f"'{volume}' is no volume of a directory storage; "
            "write STORAGE:VMID/vm-VMID-disk-N.qcow2 (or .raw), or STORAGE:iso/NAME.iso"
        )

    def format(self, volume: VolumeId) -> str:
        disk = DiskName.parse(volume.name)
        return disk.format if disk else "raw"

    async def free(self, volume: VolumeId) -> bool:
        path, disk = self.path(volume), DiskName.parse(volume.name)
        if volume.name.startswith("backup/"):
            await asyncio.to_thread(attributes.forget, path, volume)
        if resting := await self.clones(volume):
            raise still_needed(volume, resting)
        return await asyncio.shield(asyncio.to_thread(disk_files.remove, path, disk is not None))

    def handed_to(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        disk = self._disk(volume)
        if disk.is_base:
            raise keeps_its_name(volume)
        return VolumeId(volume.storage, str(disk.handed_to(vmid, rest)))

    async def hand_over(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        new = self.handed_to(volume, vmid, rest)
        await asyncio.shield(asyncio.to_thread(disk_files.rename, self.path(volume), self.path(new)))
        return new

    async def snapshot(self, volume: VolumeId, name: str) -> None:
        if snapshot_name(name) in await self.snapshots(volume):
            raise StorageError(f"'{volume}' has a snapshot '{name}' already")
        await images.make_snapshot(self.path(volume), name)

    async def rollback(self, volume: VolumeId, name: str) -> None:
        await self.check_rollback(volume, name)
        await images.apply_snapshot(self.path(volume), name)

    async def delete_snapshot(self, volume: VolumeId, name: str) -> bool:
        if name not in await self.snapshots(volume):
            return False
        await images.delete_snapshot(self.path(volume), name)
        return True

    async def snapshots(self, volume: VolumeId) -> frozenset[str]:
        path = self.path(volume)
        if self.format(volume) not in self.capabilities.snapshots:
            raise self._no_snapshots(volume)
        await self._must_exist(volume)
        info = await images.inspect(path, self.format(volume))
        return frozenset(snapshot.name for snapshot in info.snapshots)

    def parent(self, volume: VolumeId) -> VolumeId | None:
        disk = DiskName.parse(volume.name)
        return VolumeId(volume.storage, disk.parent) if disk and disk.parent else None

    def based(self, volume: VolumeId) -> VolumeId:
        disk = self._disk(volume)
        if disk.parent:
            raise no_base(volume)
        return VolumeId(volume.storage, str(disk.based()))

    async def make_base(self, volume: VolumeId) -> VolumeId:
        base = self.based(volume)
        if base != volume:
            await asyncio.shield(asyncio.to_thread(disk_files.rename, self.path(volume), self.path(base)))
        # Every guest that rests on it has a uid of its own and must read it; nobody writes it any more.
        await asyncio.to_thread(self.path(base).chmod, 0o444)
        await asyncio.to_thread(images.make_last, self.path(base))
        return base

    async def clone(
        self, volume: VolumeId, snapshot: str | None, vmid: int, reserving: Reserving = reserve_silently
    ) -> VolumeId:
        base = self._disk(volume)
        if snapshot is not None or not base.is_base:
            raise only_on_bases(self.id, volume)
        await self._must_exist(volume)
        self._must_hold("images")
        made = await self._reserve(vmid, "qcow2", 0, None, reserving, base=str(base))
        try:
            await images.overlay(self.path(made), self._disk(made).backing_file, base.format)
            await asyncio.to_thread(images.make_last, self.path(made))
        except BaseException:
            await self.free(made)
            raise
        return made

    async def clones(self, volume: VolumeId) -> tuple[VolumeId, ...]:
        disk = DiskName.parse(volume.name)
        if disk is None or not disk.is_base:
            return ()
        return tuple(await asyncio.to_thread(self._resting_on, disk))

    @contextlib.asynccontextmanager
    async def reading(self, volume: VolumeId, snapshot: str | None = None) -> AsyncIterator[Source]:
        path, disk = self.path(volume), self._disk(volume)
        await self._must_exist(volume)
        await images.check_own(path, disk.format, disk.backing_file)
        if snapshot is not None:
            await self.check_rollback(volume, snapshot)
        yield Source(path, disk.format, snapshot or "")

    async def annotate(self, volume: VolumeId, notes: str | None, protected: bool | None) -> None:
        path = self.path(volume)
        if not volume.name.startswith("backup/"):
            raise StorageError(f"'{volume}' is no backup: only these have notes and protection")
        await asyncio.to_thread(attributes.write, path, volume, notes, protected)

    def list_blocking(self, vmid: int | None = None, content: Sequence[str] = ()) -> list[Volume]:
        return self._list(vmid, frozenset(content))

    def status_blocking(self) -> StorageStatus:
        self._activate()
        info = os.statvfs(self.root)
        total, free, avail = (count * info.f_frsize for count in (info.f_blocks, info.f_bfree, info.f_bavail))
        return StorageStatus(total=total, used=total - free, avail=avail)

    @property
    def _images(self) -> Path:
        return self.root / "images"

    def _disk(self, volume: VolumeId) -> DiskName:
        disk = DiskName.parse(volume.name)
        if disk is None:
            raise StorageError(f"'{volume}' is no disk of a guest")
        return disk

    def _resting_on(self, base: DiskName) -> list[VolumeId]:
        """The clones of a base, by what the images themselves name."""
        found = []
        for path in sorted(self._images.glob("[0-9]*/*.qcow2")):
            disk = DiskName.parse(f"{path.parent.name}/{path.name}")
            with contextlib.suppress(OSError):  # it has just gone
                if disk and disk.on(qcow2.backing_file(path)).parent == base.file:
                    found.append(VolumeId(self.id, str(replace(disk, parent=base.file))))
        return found

    # How its disks are made

    def _disk_name(self, vmid: int, base: str, format: str) -> str:
        suffix = "" if base.endswith(tuple(f".{known}" for known in _FORMATS)) else f".{format}"
        return f"{vmid}/{base}{suffix}"

    def _taken(self, vmid: int) -> frozenset[int]:
        folder = self._images / str(vmid)
        return numbers(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()

    def _claim(self, volume: VolumeId, size_bytes: int) -> None:
        path = self.path(volume)
        disk_files.make_folder(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _list(self, vmid: int | None, content: frozenset[str]) -> list[Volume]:
        volumes: list[Volume] = []
        if (not content or "images" in content) and "images" in self.entry.content:
            for path in self._image_files(vmid):
                if disk := DiskName.parse(self._image_name(path)):
                    with contextlib.suppress(OSError):  # it has just gone
                        disk = disk.on(disk_files.backing(path, disk.format))
                    volumes += self._volume(path, str(disk), "images", disk.format, disk.folder, disk.parent)
        for kind, folder in _FOLDERS.items():
            if kind in self.entry.content and (not content or kind in content) and vmid is None:
                for path in (self.root / folder).glob("[!.]*"):
                    if kind == "backup" and path.suffix in attributes.SUFFIXES:
                        continue
                    volumes += self._volume(
                        path, f"{kind}/{path.name}", kind, path.suffix.lstrip(".") or "raw", None
                    )
        return sorted(volumes, key=lambda volume: volume.volid)

    def _image_files(self, vmid: int | None) -> Iterable[Path]:
        """Where images lie, of one guest or of all."""
        return self._images.glob(f"{'[0-9]*' if vmid is None else vmid}/*")

    def _image_name(self, path: Path) -> str:
        """What the disk that lies there is called."""
        return f"{path.parent.name}/{path.name}"

    def _volume(
        self, path: Path, name: str, content: str, format: str, vmid: int | None, parent: str = ""
    ) -> list[Volume]:
        """The entry of one file; none when it has just gone, or is a directory."""
        try:
            stat = path.stat()
            size = disk_files.virtual_size(path, format, stat.st_size)
        except OSError:
            return []
        if not path.is_file():
            return []
        used, ctime = stat.st_blocks * 512, int(stat.st_mtime)
        return [
            Volume(
                volid=f"{self.id}:{name}",
                content=content,
                format=format,
                size=size,
                used=used,
                vmid=vmid,
                ctime=ctime,
                parent=f"{self.id}:{parent}" if parent else None,
                **attributes.read(path, content),
            )
        ]
