"""How every kind makes a guest's disk: refused first, then named, noted, made and filled, or taken back.

A kind says how its disks are called, which numbers are taken, and how a disk's place is claimed so that of
two who want it one gets it. Programs of the host that a kind needs are run in a thread, with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.storage import images
from kvorum.storage.errors import NoSpace, StorageError
from kvorum.storage.images import Progress
from kvorum.storage.kind import Reserving, StorageKind, reserve_silently
from kvorum.storage.ova import Part

MAX_DISKS = 10_000
_NUMBER = re.compile(r"(?:vm|base)-\d+-disk-(\d+)")


class DiskStorage(StorageKind):
    """A storage that makes guests' disks one by one, under the first free number."""

    # What each kind says

    @abstractmethod
    def _disk_name(self, vmid: int, base: str, format: str) -> str:
        """The volume's name for ``vm-VMID-disk-N``, or for the whole name that a caller asks for."""

    @abstractmethod
    def _taken(self, vmid: int) -> frozenset[int]:
        """The disk numbers that a guest has here. Blocks."""

    @abstractmethod
    def _claim(self, volume: VolumeId, size_bytes: int) -> None:
        """Make a disk's place, empty. Raises ``FileExistsError`` when it is there, ``OSError``. Blocks."""

    async def _lay_out(self, volume: VolumeId, size_bytes: int) -> None:
        """Make a claimed place an image of this size."""
        format = self.format(volume)
        await images.create(self.path(volume), format, size_bytes, self._preallocation(format))

    def _filling(self) -> tuple[str, ...]:
        """What qemu-img is told besides when it fills a claimed place."""
        return ()

    # What they have in common

    async def allocate(
        self,
        vmid: int,
        size_bytes: int,
        format: str | None = None,
        name: str | None = None,
        reserving: Reserving = reserve_silently,
    ) -> VolumeId:
        chosen = self._format(format)
        self._must_hold("images")
        if size_bytes <= 0:
            raise StorageError(f"storage '{self.id}': a disk of {size_bytes} bytes can't be made")
        await self.activate()
        volume = await self._reserve(vmid, chosen, size_bytes, name, reserving)
        try:
            await self._lay_out(volume, size_bytes)
            await asyncio.to_thread(images.make_last, self.path(volume))
        except BaseException:
            await self.free(volume)
            raise
        return volume

    async def import_disk(
        self,
        vmid: int,
        source: Path | Part,
        format: str | None = None,
        progress: Progress = lambda fraction: None,
        reserving: Reserving = reserve_silently,
        rate_bytes_s: int = 0,
    ) -> VolumeId:
        chosen = self._format(format)
        self._must_hold("images")
        info = await images.check_importable(source)
        await self.activate()
        room = await asyncio.to_thread(self.status_blocking)
        if info.actual_size > room.avail:
            raise NoSpace(
                f"storage '{self.id}' has {room.avail} bytes free; '{source}' needs {info.actual_size}"
            )
        volume = await self._reserve(vmid, chosen, info.virtual_size, None, reserving)
        try:
            target = (*self._filling(), "-O", chosen, str(self.path(volume)))
            await images.convert(source, info.format, target, rate_bytes_s=rate_bytes_s, progress=progress)
            await asyncio.to_thread(images.make_last, self.path(volume))
        except BaseException:
            await self.free(volume)
            raise
        return volume

    async def size(self, volume: VolumeId) -> int:
        await self._must_exist(volume)
        return (await images.inspect(self.path(volume), self.format(volume))).virtual_size

    async def grow(self, volume: VolumeId, size_bytes: int) -> None:
        await images.grow(self.path(volume), self.format(volume), size_bytes)

    async def _must_exist(self, volume: VolumeId) -> None:
        path = self.path(volume)
        if not await asyncio.to_thread(path.exists):
            raise StorageError(f"volume '{volume}' does not exist ('{path}')")

    def _format(self, format: str | None) -> str:
        formats = self.capabilities.formats
        chosen = format or self.entry.options.get("format") or formats[0]
        if chosen not in formats:
            raise StorageError(
                f"storage '{self.id}' can't keep the format '{chosen}'; allowed: {', '.join(formats)}"
            )
        return chosen

    def _preallocation(self, format: str) -> str:
        wanted = self.entry.options.get("preallocation", "off")
        return "off" if format == "raw" and wanted == "metadata" else wanted

    def _must_hold(self, content: str) -> None:
        if content not in self.entry.content:
            raise StorageError(
                f"storage '{self.id}' does not hold '{content}'; "
                f"its content is: {', '.join(self.entry.content)}"
            )

    async def _reserve(
        self,
        vmid: int,
        format: str,
        size_bytes: int,
        name: str | None,
        reserving: Reserving,
        *,
        base: str = "",
        claim: Callable[[VolumeId], None] | None = None,
    ) -> VolumeId:
        """Claim a disk's place under the first free number, or just ``name``; ``base``: what it rests on.

        ``claim`` makes the place in another way than ``_claim``, and raises the same.
        """

        def empty(volume: VolumeId) -> None:
            self._claim(volume, size_bytes)

        above = f"{base}/" if base else ""

        def called(number: int) -> VolumeId:
            wanted = self._disk_name(vmid, name or f"vm-{vmid}-disk-{number}", format)
            return VolumeId.parse(f"{self.id}:{above}{wanted}")

        claiming = asyncio.create_task(
            asyncio.to_thread(self._claim_first, vmid, called, name is None, claim or empty, reserving)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The thread goes on: what it makes is known when it ends, and goes then.
            with contextlib.suppress(StorageError):
                await self.free(await claiming)
            raise

    def _claim_first(
        self,
        vmid: int,
        called: Callable[[int], VolumeId],
        any_number: bool,
        claim: Callable[[VolumeId], None],
        reserving: Reserving,
    ) -> VolumeId:
        try:
            taken = self._taken(vmid) if any_number else frozenset()
            for number in range(MAX_DISKS):
                if number in taken:
                    continue
                volume = called(number)
                if not any_number and self.path(volume).exists():
                    raise StorageError(f"volume '{volume}' already exists")
                reserving(volume)
                try:
                    claim(volume)
                except FileExistsError:
                    reserving(None)
                    if any_number:
                        continue
                    raise StorageError(f"volume '{volume}' already exists") from None
                return volume
        except OSError as error:
            raise StorageError(f"storage '{self.id}': {error.strerror}: '{error.filename}'") from error
        raise StorageError(f"storage '{self.id}': VM {vmid} has {MAX_DISKS} disks there already")


def numbers(names: Iterable[str]) -> frozenset[int]:
    """The numbers of those names that are ``vm-VMID-disk-N`` or ``base-VMID-disk-N``."""
    matches = (_NUMBER.match(name) for name in names)
    return frozenset(int(match[1]) for match in matches if match)


def still_needed(volume: VolumeId, resting: Sequence[VolumeId], most: int = 3) -> StorageError:
    """Why a base is not removed: a few of those that rest on it by name, the others by their number."""
    more = f" and {len(resting) - most} more" if len(resting) > most else ""
    listed = ", ".join(f"'{each}'" for each in resting[:most]) + more
    return StorageError(
        f"'{volume}' can't be removed: {listed} rest on it; remove them first, or make them whole"
    )


def keeps_its_name(volume: VolumeId) -> StorageError:
    """Why a template's disk is given to nobody."""
    return StorageError(f"'{volume}' is a template's disk, and others may rest on it: it keeps its name")


def no_base(volume: VolumeId) -> StorageError:
    """Why a linked clone is made no base."""
    return StorageError(f"'{volume}' is a linked clone, and nothing can rest on that; copy it whole first")


def only_on_bases(storage: str, volume: VolumeId) -> StorageError:
    """Why there is no linked clone of a disk."""
    return StorageError(
        f"storage '{storage}': linked clones rest on templates alone, and "
        f"'{volume}' is no template's disk; make a full clone"
    )
