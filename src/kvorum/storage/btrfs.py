"""The ``btrfs`` kind: a directory on btrfs where each raw disk is a subvolume of its own.

The layout is the known one: volume ``100/vm-100-disk-0.raw`` is ``images/100/vm-100-disk-0/disk.raw``, its
snapshot is the read-only subvolume ``images/100/vm-100-disk-0@NAME``. A clone shares what it has with its
base, and needs it no more than that: either may go. All else is as in a directory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from kvorum.core import durable
from kvorum.core.ids import VolumeId
from kvorum.storage import subvolumes
from kvorum.storage.directory import FOLDER_KEYS, DirectoryStorage
from kvorum.storage.disk_files import make_folder
from kvorum.storage.disk_names import DiskName
from kvorum.storage.disks import only_on_bases
from kvorum.storage.entry import flag
from kvorum.storage.errors import StorageError
from kvorum.storage.kind import (
    Capabilities,
    Reserving,
    SnapshotBy,
    Source,
    reserve_silently,
    snapshot_name,
)

_FILE = "disk.raw"


class BtrfsStorage(DirectoryStorage):
    """A directory on btrfs."""

    type = "btrfs"
    keys = (*FOLDER_KEYS, "nocow")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shared=False,
            formats=("raw", "qcow2"),
            snapshots=frozenset({"raw"}),
            snapshots_by=SnapshotBy.STORAGE,
            clones=frozenset({"raw", "qcow2"}),
            snapshot_clones=True,
            thin=True,
            send_receive=True,
        )

    def _activate(self) -> None:
        super()._activate()
        try:
            ours = subvolumes.is_btrfs(self.root)
        except OSError as error:
            raise StorageError(
                f"unable to activate storage '{self.id}': {error.strerror}: '{self.root}'"
            ) from error
        if not ours:
            raise StorageError(
                f"unable to activate storage '{self.id}': '{self.root}' is not on btrfs; "
                "mount a btrfs there, or describe the storage as 'dir'"
            )

    def path(self, volume: VolumeId) -> Path:
        return self._top(volume) / _FILE if _is_subvolume(volume) else super().path(volume)

    async def free(self, volume: VolumeId) -> bool:
        if not _is_subvolume(volume):
            return await super().free(volume)
        return await asyncio.shield(asyncio.to_thread(_remove, self._top(volume)))

    async def hand_over(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        if not _is_subvolume(volume):
            return await super().hand_over(volume, vmid, rest)
        new = self.handed_to(volume, vmid, rest)
        await asyncio.shield(asyncio.to_thread(_rename, self._top(volume), self._top(new)))
        return new

    async def snapshot(self, volume: VolumeId, name: str) -> None:
        if snapshot_name(name) in await self.snapshots(volume):
            raise StorageError(f"'{volume}' has a snapshot '{name}' already")
        top = self._top(volume)
        await self._call(volume, lambda: subvolumes.snapshot(top, _snapshot(top, name), read_only=True))

    async def rollback(self, volume: VolumeId, name: str) -> None:
        await self.check_rollback(volume, name)
        top = self._top(volume)
        await self._call(volume, lambda: _roll_back(top, _snapshot(top, name)))

    async def delete_snapshot(self, volume: VolumeId, name: str) -> bool:
        if name not in await self.snapshots(volume):
            return False
        await self._call(volume, lambda: subvolumes.delete(_snapshot(self._top(volume), name)))
        return True

    async def snapshots(self, volume: VolumeId) -> frozenset[str]:
        if not _is_subvolume(volume):
            raise self._no_snapshots(volume)
        await self._must_exist(volume)
        found = await asyncio.to_thread(_snapshots, self._top(volume))
        return frozenset(path.name.partition("@")[2] for path in found)

    async def make_base(self, volume: VolumeId) -> VolumeId:
        if not _is_subvolume(volume):
            return await super().make_base(volume)
        base = self.based(volume)
        if base != volume:
            await asyncio.shield(asyncio.to_thread(_rename, self._top(volume), self._top(base)))
        await asyncio.to_thread(self.path(base).chmod, 0o444)
        return base

    async def clone(
        self, volume: VolumeId, snapshot: str | None, vmid: int, reserving: Reserving = reserve_silently
    ) -> VolumeId:
        if not _is_subvolume(volume):
            return await super().clone(volume, snapshot, vmid, reserving)
        if snapshot is None and not self._disk(volume).is_base:
            raise only_on_bases(self.id, volume)
        await self._must_exist(volume)
        if snapshot is not None:
            await self.check_rollback(volume, snapshot)
        self._must_hold("images")
        top = self._top(volume)
        source = top if snapshot is None else _snapshot(top, snapshot)

        def claim(made: VolumeId) -> None:
            make_folder(self._top(made).parent)
            subvolumes.snapshot(source, self._top(made))

        made = await self._reserve(vmid, "raw", 0, None, reserving, claim=claim)
        await asyncio.to_thread(self.path(made).chmod, 0o600)
        return made

    @contextlib.asynccontextmanager
    async def reading(self, volume: VolumeId, snapshot: str | None = None) -> AsyncIterator[Source]:
        if not _is_subvolume(volume):
            async with super().reading(volume, snapshot) as source:
                yield source
            return
        await self._must_exist(volume)
        top = self._top(volume)
        if snapshot is not None:
            await self.check_rollback(volume, snapshot)
            top = _snapshot(top, snapshot)
        yield Source(top / _FILE, "raw")

    # How its disks are made

    def _claim(self, volume: VolumeId, size_bytes: int) -> None:
        if not _is_subvolume(volume):
            super()._claim(volume, size_bytes)
            return
        top = self._top(volume)
        make_folder(top.parent)
        subvolumes.create(top)
        top.chmod(0o711)
        if flag(self.entry.options.get("nocow")):
            subvolumes.write_in_place(top)

    def _image_files(self, vmid: int | None) -> Iterable[Path]:
        return (path / _FILE if path.is_dir() else path for path in super()._image_files(vmid))

    def _image_name(self, path: Path) -> str:
        return f"{super()._image_name(path.parent)}.raw" if path.name == _FILE else super()._image_name(path)

    # Below

    def _top(self, volume: VolumeId) -> Path:
        """The subvolume of a raw disk."""
        return super().path(volume).with_suffix("")

    async def _call(self, volume: VolumeId, calling: Callable[[], None]) -> None:
        """Have the kernel do something with a disk, to its end; raises ``StorageError``."""
        try:
            await asyncio.shield(asyncio.to_thread(calling))
        except OSError as error:
            raise StorageError(f"'{volume}': {error.strerror}: '{error.filename}'") from error


def _is_subvolume(volume: VolumeId) -> bool:
    disk = DiskName.parse(volume.name)
    return disk is not None and disk.format == "raw"


def _snapshot(top: Path, name: str) -> Path:
    return top.with_name(f"{top.name}@{name}")


def _snapshots(top: Path) -> list[Path]:
    return sorted(top.parent.glob(f"{top.name}@*"))


def _coming(top: Path) -> Path:
    """What takes a disk's place in a rollback, and what stood there while it goes."""
    return top.with_name(f".{top.name}.rollback")


def _roll_back(top: Path, snapshot: Path) -> None:
    """Put a disk's subvolume in its place anew. At every moment there is one, the old or the new."""
    coming = _coming(top)
    with contextlib.suppress(FileNotFoundError):
        subvolumes.delete(coming)
    subvolumes.snapshot(snapshot, coming)
    subvolumes.exchange(coming, top)
    durable.sync_folder(top.parent)
    subvolumes.delete(coming)


def _remove(top: Path) -> bool:
    """Remove a disk: itself last, so that what is left of a broken removal is removed again."""
    there = False
    try:
        for each in (_coming(top), *_snapshots(top), top):
            with contextlib.suppress(FileNotFoundError):
                subvolumes.delete(each)
                there = each == top
        durable.sync_folder(top.parent)
    except OSError as error:
        raise StorageError(f"could not remove '{error.filename}': {error.strerror}") from error
    with contextlib.suppress(OSError):
        top.parent.rmdir()
    return there


def _rename(old: Path, new: Path) -> None:
    """Give a disk's subvolume and its snapshots another name. Broken off, it can be done again."""
    try:
        if old.exists():
            if new.exists():
                raise StorageError(f"'{new}' is there already: '{old}' keeps its name")
            make_folder(new.parent)
            for each in _snapshots(old):
                # What may only be read can't get into another directory; its content can.
                with contextlib.suppress(FileExistsError):
                    subvolumes.snapshot(each, _snapshot(new, each.name.partition("@")[2]), read_only=True)
                subvolumes.delete(each)
            old.rename(new)
        elif not new.exists():
            raise StorageError(f"'{old}' is not there any more")
        durable.sync_folder(new.parent)
        durable.sync_folder(old.parent)
        with contextlib.suppress(OSError):
            old.parent.rmdir()
    except OSError as error:
        raise StorageError(f"could not rename '{old}' to '{new}': {error.strerror}") from error
