"""The ``zfspool`` kind: each disk is a volume of a ZFS pool, or, where ZFS has none, a dataset with one file.

A volume (zvol) is a block device, ``/dev/zvol/POOL/vm-100-disk-0``. ZFS in user space (zfs-fuse) has file
systems only: there the disk is ``disk.raw`` in the dataset of that name. Which of both is asked once for each
disk, by ZFS's device of the kernel. The volume's id is the same: ``STORAGE:vm-100-disk-0``, and that of a
linked clone ``STORAGE:base-100-disk-0/vm-101-disk-0``, whose dataset is ``vm-101-disk-0``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.storage import zfs
from kvorum.storage.datasets import BASE, READING, Datasets, end_reading, reading_name
from kvorum.storage.disks import DiskStorage, keeps_its_name, no_base, numbers, only_on_bases, still_needed
from kvorum.storage.entry import StorageEntry, flag
from kvorum.storage.errors import StorageError
from kvorum.storage.kind import (
    Capabilities,
    Reserving,
    SnapshotBy,
    Source,
    StorageStatus,
    Volume,
    Wrong,
    reserve_silently,
    snapshot_name,
)

KERNEL = Path("/dev/zfs")
"""The device of ZFS in the kernel."""

_FILE = "disk.raw"
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:-]+)*")
_DISK = re.compile(
    r"(?:(?P<parent>base-\d+-[A-Za-z0-9_.-]+)/)?"
    r"(?P<base>(?P<kind>vm|base)-(?P<vmid>\d+)-(?P<rest>[A-Za-z0-9_.-]+))"
)
_BLOCK_SIZE = re.compile(r"(?P<number>\d+)(?P<unit>[kKmM]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_LARGEST_BLOCK = 1 << 20
_DEVICE_S = 10.0
_DEVICE_PAUSE_S = 0.02
_WHOLE = 1 << 20
"""A zvol's size is a multiple of its block size; a multiple of this is one of every block size."""


class ZfsPoolStorage(DiskStorage):
    """A ZFS pool, or a dataset of one."""

    type = "zfspool"
    keys = ("pool", "sparse", "blocksize", "mountpoint")
    holds = ("images", "rootdir")

    @classmethod
    def wrong(cls, entry: StorageEntry) -> Wrong | None:
        options = entry.options
        if not _POOL.fullmatch(pool := options.get("pool", "")):
            return Wrong("pool", f"'{pool}' is no pool", "the name of a pool or of a dataset: tank, tank/vms")
        if _block_size(options.get("blocksize", "8k")) is None:
            cause = f"'{options['blocksize']}' is no block size"
            return Wrong("blocksize", cause, "a power of two from 512 to 1M, such as 16k")
        if not options.get("mountpoint", "/").startswith("/"):
            cause = f"'{options['mountpoint']}' is no absolute path"
            return Wrong("mountpoint", cause, "a path that begins with '/'")
        return None

    @property
    def pool(self) -> str:
        """The pool, or the dataset below which the disks are."""
        return self.entry.options["pool"]

    @property
    def sparse(self) -> bool:
        """Whether a disk's space is taken when it is written, not when the disk is made."""
        return flag(self.entry.options.get("sparse"))

    @property
    def zvols(self) -> bool:
        """Whether ZFS has volumes here."""
        return KERNEL.exists()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shared=False,
            formats=("raw",),
            snapshots=frozenset({"raw"}),
            snapshots_by=SnapshotBy.STORAGE,
            clones=frozenset({"raw"}),
            thin=self.sparse,
            send_receive=True,
        )

    async def activate(self) -> None:
        await asyncio.to_thread(self._activate)
        if not self.zvols:
            await asyncio.to_thread(self._datasets.mount_all, _is_disk)

    def _activate(self) -> None:
        try:
            found = zfs.properties(("mountpoint", "mounted"), self.pool)[self.pool]
        except zfs.NoDataset:
            raise StorageError(
                f"unable to activate storage '{self.id}': there is no ZFS pool '{self.pool}' on this node; "
                "import it (zpool import), or create it"
            ) from None
        except StorageError as error:
            raise StorageError(f"unable to activate storage '{self.id}': {error}") from error
        if not self.zvols and found["mountpoint"] != str(self._mountpoint):
            raise StorageError(
                f"unable to activate storage '{self.id}': pool '{self.pool}' is mounted at "
                f"'{found['mountpoint']}', not '{self._mountpoint}'; set the storage's mountpoint to that"
            )
        if not self.zvols and found["mounted"] != "yes":
            raise StorageError(
                f"unable to activate storage '{self.id}': pool '{self.pool}' is not mounted; "
                "run: zfs mount -a"
            )

    def path(self, volume: VolumeId) -> Path:
        name = self._checked(volume)["base"]
        return self._place(name)

    def format(self, volume: VolumeId) -> str:
        return "raw"

    async def free(self, volume: VolumeId) -> bool:
        if resting := await self.clones(volume):
            raise still_needed(volume, resting)
        return await asyncio.shield(asyncio.to_thread(self._datasets.destroy, self._dataset(volume)))

    def handed_to(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        match = self._checked(volume)
        if match["kind"] == "base":
            raise keeps_its_name(volume)
        return VolumeId(volume.storage, f"{_above(match)}vm-{vmid}-{rest or match['rest']}")

    async def hand_over(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        new = self.handed_to(volume, vmid, rest)
        await asyncio.shield(
            asyncio.to_thread(self._datasets.rename, self._dataset(volume), self._dataset(new))
        )
        return new

    async def snapshot(self, volume: VolumeId, name: str) -> None:
        await self._must_exist(volume)
        try:
            await asyncio.shield(
                asyncio.to_thread(zfs.run, "snapshot", f"{self._dataset(volume)}@{snapshot_name(name)}")
            )
        except zfs.DatasetExists:
            raise StorageError(f"'{volume}' has a snapshot '{name}' already") from None

    async def check_rollback(self, volume: VolumeId, name: str) -> None:
        found = await asyncio.to_thread(self._snapshots, volume)
        if name not in found:
            raise StorageError(f"'{volume}' has no snapshot '{name}'")
        if later := found[found.index(name) + 1 :]:
            raise StorageError(
                f"ZFS goes back to the most recent snapshot only, and '{name}' of '{volume}' is not; "
                f"delete these first: {', '.join(later)}"
            )

    async def rollback(self, volume: VolumeId, name: str) -> None:
        await self.check_rollback(volume, name)
        await asyncio.shield(asyncio.to_thread(self._datasets.roll_back, self._dataset(volume), name))

    async def delete_snapshot(self, volume: VolumeId, name: str) -> bool:
        if name not in await self.snapshots(volume):
            return False
        snapshot = f"{self._dataset(volume)}@{name}"
        return await asyncio.shield(asyncio.to_thread(self._datasets.destroy, snapshot))

    async def snapshots(self, volume: VolumeId) -> frozenset[str]:
        return frozenset(await asyncio.to_thread(self._snapshots, volume))

    def parent(self, volume: VolumeId) -> VolumeId | None:
        parent = self._checked(volume)["parent"]
        return VolumeId(volume.storage, parent) if parent else None

    def based(self, volume: VolumeId) -> VolumeId:
        match = self._checked(volume)
        if match["parent"]:
            raise no_base(volume)
        return VolumeId(volume.storage, f"base-{match['vmid']}-{match['rest']}")

    async def make_base(self, volume: VolumeId) -> VolumeId:
        base = self.based(volume)
        await asyncio.shield(
            asyncio.to_thread(self._datasets.make_base, self._dataset(volume), self._dataset(base))
        )
        return base

    async def clone(
        self, volume: VolumeId, snapshot: str | None, vmid: int, reserving: Reserving = reserve_silently
    ) -> VolumeId:
        match = self._checked(volume)
        if snapshot is not None or match["kind"] != "base":
            raise only_on_bases(self.id, volume)
        await self._must_exist(volume)
        self._must_hold("images")
        origin = f"{self._dataset(volume)}@{BASE}"

        def claim(made: VolumeId) -> None:
            try:
                zfs.run("clone", origin, self._dataset(made))
            except zfs.DatasetExists as error:
                raise FileExistsError(str(error)) from error
            if self.zvols:
                _await_device(self.path(made))

        return await self._reserve(vmid, "raw", 0, None, reserving, base=match["base"], claim=claim)

    async def clones(self, volume: VolumeId) -> tuple[VolumeId, ...]:
        return tuple(await asyncio.to_thread(self._clones, volume))

    @contextlib.asynccontextmanager
    async def reading(self, volume: VolumeId, snapshot: str | None = None) -> AsyncIterator[Source]:
        await self._must_exist(volume)
        if snapshot is None:
            yield Source(self.path(volume), "raw")
            return
        if snapshot not in await self.snapshots(volume):
            raise StorageError(f"'{volume}' has no snapshot '{snapshot}'")
        name = reading_name()
        try:
            origin = f"{self._dataset(volume)}@{snapshot}"
            await asyncio.shield(asyncio.to_thread(zfs.run, "clone", origin, f"{self.pool}/{name}"))
            yield Source(self._place(name), "raw")
        finally:
            await asyncio.shield(asyncio.to_thread(end_reading, self.pool, name))

    async def grow(self, volume: VolumeId, size_bytes: int) -> None:
        await self.before_growing(volume, size_bytes)
        if not self.zvols:
            await super().grow(volume, size_bytes)

    async def before_growing(self, volume: VolumeId, size_bytes: int) -> None:
        present = await self.size(volume)
        if size_bytes < present:
            raise StorageError(f"'{volume}' has {present} bytes: it can't be made smaller")
        dataset = self._dataset(volume)
        if self.zvols:
            await asyncio.to_thread(zfs.run, "set", f"volsize={_whole(size_bytes)}", dataset)
        elif not self.sparse:
            await asyncio.to_thread(zfs.run, "set", f"refreservation={size_bytes}", dataset)

    def list_blocking(self, vmid: int | None = None, content: Sequence[str] = ()) -> list[Volume]:
        if "images" not in self.entry.content or (content and "images" not in content):
            return []
        found = zfs.properties(("type", "used", "volsize", "creation", "origin"), self.pool, below=True)
        volumes = []
        for dataset, told in found.items():
            match = _DISK.fullmatch(self._called(dataset, told["origin"]))
            if match is None or vmid not in (None, int(match["vmid"])):
                continue
            size = self._size_of(match["base"], told)
            if size is not None:
                volumes.append(
                    Volume(
                        volid=f"{self.id}:{match[0]}",
                        parent=f"{self.id}:{match['parent']}" if match["parent"] else None,
                        content="images",
                        format="raw",
                        size=size,
                        used=int(told["used"]),
                        vmid=int(match["vmid"]),
                        ctime=int(told["creation"]),
                    )
                )
        return sorted(volumes, key=lambda volume: volume.volid)

    def status_blocking(self) -> StorageStatus:
        self._activate()
        found = zfs.properties(("used", "available"), self.pool)[self.pool]
        used, avail = int(found["used"]), int(found["available"])
        return StorageStatus(total=used + avail, used=used, avail=avail)

    # How its disks are made

    def _disk_name(self, vmid: int, base: str, format: str) -> str:
        return base.removesuffix(".raw")

    def _taken(self, vmid: int) -> frozenset[int]:
        own = (f"vm-{vmid}-", f"base-{vmid}-")
        return numbers(name for name in zfs.children(self.pool) if name.startswith(own))

    def _claim(self, volume: VolumeId, size_bytes: int) -> None:
        dataset = self._dataset(volume)
        block = self.entry.options.get("blocksize")
        try:
            if self.zvols:
                options = [*(["-s"] if self.sparse else []), *(["-b", block] if block else [])]
                zfs.run("create", *options, "-V", str(_whole(size_bytes)), dataset)
                _await_device(self.path(volume))
                return
            options = ["-o", f"recordsize={block}"] if block else []
            options += [] if self.sparse else ["-o", f"refreservation={size_bytes}"]
            zfs.run("create", *options, dataset)
        except zfs.DatasetExists as error:
            raise FileExistsError(str(error)) from error
        self.path(volume).parent.chmod(0o711)

    async def _lay_out(self, volume: VolumeId, size_bytes: int) -> None:
        if not self.zvols:
            await super()._lay_out(volume, size_bytes)

    def _filling(self) -> tuple[str, ...]:
        return ("-n",) if self.zvols else ()

    # Below

    @property
    def _datasets(self) -> Datasets:
        return Datasets(self.pool, mounted=not self.zvols)

    @property
    def _mountpoint(self) -> Path:
        return Path(self.entry.options.get("mountpoint", f"/{self.pool}"))

    def _checked(self, volume: VolumeId) -> re.Match[str]:
        match = _DISK.fullmatch(volume.name)
        if match is None:
            raise StorageError(f"'{volume}' is no volume of a ZFS pool; write STORAGE:vm-VMID-disk-N")
        return match

    def _dataset(self, volume: VolumeId) -> str:
        return f"{self.pool}/{self._checked(volume)['base']}"

    def _place(self, name: str) -> Path:
        """Where the disk of a dataset is."""
        return Path("/dev/zvol") / self.pool / name if self.zvols else self._mountpoint / name / _FILE

    def _snapshots(self, volume: VolumeId) -> list[str]:
        """The names of a disk's snapshots, the oldest first."""
        try:
            found = zfs.snapshots(self._dataset(volume))
        except zfs.NoDataset:
            raise StorageError(f"volume '{volume}' does not exist ('{self.path(volume)}')") from None
        return [name for name in found if name != BASE]

    def _clones(self, volume: VolumeId) -> list[VolumeId]:
        """The disks that rest on a base."""
        if self._checked(volume)["kind"] != "base":
            return []
        origins = zfs.properties(("origin",), self.pool, below=True)
        mine = f"{self._dataset(volume)}@"
        return [
            VolumeId(self.id, self._called(name, told["origin"]))
            for name, told in sorted(origins.items())
            if told["origin"].startswith(mine) and READING not in name
        ]

    def _called(self, dataset: str, origin: str) -> str:
        """A disk's name: a clone's has its base's in front. No disk's name for what is none."""
        name = dataset.removeprefix(f"{self.pool}/")
        base, at, snapshot = origin.removeprefix(f"{self.pool}/").partition("@")
        return f"{base}/{name}" if at and snapshot == BASE else name

    def _size_of(self, name: str, told: dict[str, str]) -> int | None:
        """A disk's size as the guest sees it; ``None`` when it is no disk, or has just gone."""
        if told["type"] == "volume":
            return int(told["volsize"])
        try:
            return self._place(name).stat().st_size
        except OSError:
            return None


def _is_disk(name: str) -> bool:
    """Whether a dataset's last name is a disk's."""
    return _DISK.fullmatch(name) is not None


def _above(match: re.Match[str]) -> str:
    return f"{match['parent']}/" if match["parent"] else ""


def _await_device(path: Path) -> None:
    """Wait until udev has made a new volume's name."""
    end = time.monotonic() + _DEVICE_S
    while not path.exists():
        if time.monotonic() > end:
            raise StorageError(f"'{path}' did not appear within {_DEVICE_S:g} s; does udev run?")
        time.sleep(_DEVICE_PAUSE_S)


def _block_size(text: str) -> int | None:
    match = _BLOCK_SIZE.fullmatch(text)
    size = int(match["number"]) * _UNITS[match["unit"].lower()] if match else 0
    return size if 512 <= size <= _LARGEST_BLOCK and not size & (size - 1) else None


def _whole(size_bytes: int) -> int:
    return -(-size_bytes // _WHOLE) * _WHOLE
