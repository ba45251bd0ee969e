"""A disk goes to another storage, or into another format; its guest may run meanwhile.

Checked first; then the new volume is noted and made, the data are copied (by QEMU while the guest runs, else
by qemu-img), and one write to the store moves the configuration over. That write decides which of both
volumes is the guest's, also for a daemon that comes after one that was killed; QEMU follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.drives import owned
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import nodes
from kvorum.guests.machine.disks import blockdev
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.move import mirror
from kvorum.guests.move.wish import Wish, check, disk_of, moved, volume_of
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import StorageKind, Storages, convert, make_last

__all__ = ["Mover", "Wish"]


class Mover:
    """Moves disks of this node's guests. The caller has checked what it may."""

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        self._manager = manager
        self._storages = storages
        self._unfinished = unfinished

    def check(self, wish: Wish) -> GuestConfig:
        """Raise ``GuestError`` or ``StorageError`` for what stands against a move; changes nothing."""
        self._manager.check_quorum()
        registry = self._manager.registry
        registry.check_digest(wish.vmid, wish.digest or None)
        config = registry.config(wish.vmid)
        self._manager.check_unlocked(config)
        old = self._storages.of(volume := volume_of(config, wish.key))
        check(config, wish, old.format(volume), self._format(wish, old.format(volume)))
        if wish.key == "tpmstate0" and self._manager.running(wish.vmid) is not None:
            raise GuestError(
                f"can't move the TPM's state while VM {wish.vmid} is running: swtpm has '{volume}' open, and "
                "QEMU can't mirror it; shut the guest down first"
            )
        return config

    async def move(self, wish: Wish, log: TaskLog) -> None:
        """Move one disk. Failed or stopped, the guest is as it was and nothing of the copy stays."""
        vmid, key = wish.vmid, wish.key
        async with self._manager.exclusive(vmid, "move disk"):
            config = self.check(wish)
            old = volume_of(config, key)
            source, target = self._storages.of(old), self._storages.get(wish.storage)
            going = [old] if wish.delete and owned(vmid, disk_of(config, key)) is not None else []
            async with self._unfinished.undertaking(vmid, "move disk", volumes=going, log=log) as under_way:
                size = await source.size(old)
                format = self._format(wish, source.format(old))
                new = await target.allocate(vmid, size, format, reserving=under_way.reserving)
                log.line(f"moving {key} from '{old}' to '{new}'")
                after = moved(config, wish, new, await target.size(new))
                guest = self._manager.running(vmid)
                if guest is None or key.startswith("unused"):
                    await self._copy(source, old, target, new, wish, log)
                    await self._commit(config, after, wish)
                else:
                    await self._mirror(guest, config, after, wish, log)
        if not key.startswith("unused"):
            await self._manager.trim(vmid, log.line)
        log.line(f"{key} is '{new}' now" + (f", '{old}' is unused" if not wish.delete else ""))

    def _format(self, wish: Wish, present: str) -> str:
        """The format that is asked for; else the one it has, where the storage takes that."""
        formats = self._storages.get(wish.storage).capabilities.formats
        return wish.format or (present if present in formats else formats[0])

    async def _copy(
        self, source: StorageKind, old: VolumeId, target: StorageKind, new: VolumeId, wish: Wish, log: TaskLog
    ) -> None:
        """Nobody has it open: by qemu-img, into a volume that reads as zeroes so far."""
        arguments = ("-n", "--target-is-zero", "-O", target.format(new), str(target.path(new)))
        async with source.reading(old) as read:
            await convert(
                read.path,
                read.format,
                arguments,
                rate_bytes_s=wish.rate_kib_s * 1024,
                progress=log.progress,
            )
        await asyncio.to_thread(make_last, target.path(new))

    async def _mirror(
        self, guest: RunningGuest, config: GuestConfig, after: GuestConfig, wish: Wish, log: TaskLog
    ) -> None:
        """The guest runs on: by QEMU. From the commit on nothing stops it."""
        monitor, key = guest.monitor, wish.key
        disk = after.disks[key]
        drive = await self._manager.workshop.drive(guest.vmid, key, disk)
        assert drive is not None
        name = mirror.free_name(await nodes.current(monitor, key), nodes.names(key))
        before = disk_of(config, key).size_bytes
        target = named(blockdev(key, disk, drive), name)
        if drive.format == "raw" and before is not None and (disk.size_bytes or 0) > before:
            target["size"] = before  # what the guest has now: both must be of the same size
        await mirror.bring_into_step(monitor, key, target, log, wish.rate_kib_s)
        await asyncio.to_thread(make_last, Path(drive.path))
        await _to_its_end(self._go_over(guest, config, after, wish))

    async def _go_over(
        self, guest: RunningGuest, config: GuestConfig, after: GuestConfig, wish: Wish
    ) -> None:
        await self._commit(config, after, wish)
        await mirror.complete(guest.monitor, wish.key)
        guest.config = after

    async def _commit(self, config: GuestConfig, after: GuestConfig, wish: Wish) -> None:
        await self._manager.registry.replace(config, after, who=wish.who)


def named(node: dict[str, object], name: str) -> dict[str, object]:
    """A disk's block node under another name; the file below it keeps in step. Zeroes become holes."""
    file = node["file"]
    assert isinstance(file, dict)
    below = {**file, "node-name": name.replace("drive-", "file-", 1), "discard": "unmap"}
    return {**node, "node-name": name, "file": below, "discard": "unmap"}


async def _to_its_end(work: Coroutine[object, object, None]) -> None:
    """Carry something to its end; a stop that is asked for meanwhile comes too late, and is told then."""
    task = asyncio.create_task(work)
    stopped = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            stopped = True
    task.result()
    if stopped:
        raise asyncio.CancelledError
