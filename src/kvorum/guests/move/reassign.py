"""A disk that is given to another guest of this node: its volume gets a name of that guest's.

One write to the store changes both configurations; the volume is renamed after it, by what is noted before,
so a daemon that dies in between leaves a disk that the next one renames.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import owned
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.move.wish import disk_of, snapshots_with, volume_of
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import StorageKind, Storages
from kvorum.store import Expect, Write

MAX_DISKS = 10_000


@dataclass(frozen=True, slots=True)
class Gift:
    """One disk of a guest for another guest."""

    vmid: int
    key: str
    target_vmid: int
    target_key: str
    digest: str = ""
    target_digest: str = ""
    who: str = "root@pam"


def given(giver: GuestConfig, taker: GuestConfig, gift: Gift, volume: VolumeId) -> tuple[str, str]:
    """Both configurations' texts once the disk is the other guest's, under the volume's new name."""
    disk = disk_of(giver, gift.key)
    size = {"size": disk.options["size"]} if "size" in disk.options else {}
    kept = {k: v for k, v in disk.options.items() if k != "size"} | size
    new = Disk(str(volume), {} if gift.target_key.startswith("unused") else kept)
    giver = giver.edit({}, frozenset({gift.key}))
    return giver.document.render(), taker.edit({gift.target_key: str(new)}).document.render()


def check(giver: GuestConfig, taker: GuestConfig, gift: Gift, runs: frozenset[int]) -> VolumeId:
    """The volume that is given. Raises ``GuestError`` with what stands against it."""
    volume = volume_of(giver, gift.key)
    if gift.vmid == gift.target_vmid:
        raise GuestError(f"VM {gift.vmid} has {gift.key} already; give another VM's id")
    if owned(giver.vmid, disk_of(giver, gift.key)) is None:
        raise GuestError(f"{gift.key}: '{volume}' is not VM {giver.vmid}'s own")
    if needing := snapshots_with(giver, volume):
        raise GuestError(f"{gift.key}: snapshot '{needing[0]}' needs '{volume}'; delete its snapshots first")
    if gift.target_key in taker.settings or gift.target_key in taker.pending.changes:
        raise GuestError(f"VM {taker.vmid} has a '{gift.target_key}' already; choose another --target-disk")
    if giver.vmid in runs and not gift.key.startswith("unused"):
        raise GuestError(
            f"VM {giver.vmid} runs on {gift.key}; detach it first (qm disk unlink {giver.vmid} "
            f"--idlist {gift.key}), and give the unused disk that it becomes"
        )
    if taker.vmid in runs and not gift.target_key.startswith("unused"):
        raise GuestError(f"VM {taker.vmid} runs; stop it, or give --target-disk unused0 and attach it then")
    for config in (giver, taker):
        if config.template:
            raise GuestError(f"VM {config.vmid} is a template, and its disks stay as they are")
    return volume


class Giver:
    """Gives disks between guests of this node. The caller has checked what it may."""

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        self._manager = manager
        self._storages = storages
        self._unfinished = unfinished

    def check(self, gift: Gift) -> VolumeId:
        """Raise ``KvorumError`` for what stands against it; changes nothing."""
        manager, registry = self._manager, self._manager.registry
        manager.check_quorum()
        if (owner := registry.owner(gift.target_vmid)) not in (None, manager.store.node):
            raise GuestError(f"VM {gift.target_vmid} is on node '{owner}'; migrate one of both first")
        registry.check_digest(gift.vmid, gift.digest or None)
        registry.check_digest(gift.target_vmid, gift.target_digest or None)
        giver, taker = registry.config(gift.vmid), registry.config(gift.target_vmid)
        for config in (giver, taker):
            manager.check_unlocked(config)
        runs = frozenset(each.vmid for each in (giver, taker) if manager.running(each.vmid) is not None)
        return check(giver, taker, gift, runs)

    async def give(self, gift: Gift, log: TaskLog) -> None:
        """Give the disk; all or nothing of it."""
        self.check(gift)
        first, second = sorted((gift.vmid, gift.target_vmid))
        async with (
            self._manager.exclusive(first, "reassign disk"),
            self._manager.exclusive(second, "reassign disk"),
        ):
            volume = self.check(gift)
            new = await self._free_name(self._storages.of(volume), volume, gift.target_vmid)
            async with self._unfinished.undertaking(
                gift.target_vmid, "reassign disk", handed=[(volume, new)], log=log
            ):
                await self._write(gift, new)
        log.line(f"{gift.key} of VM {gift.vmid} is {gift.target_key} of VM {gift.target_vmid} now: '{new}'")

    async def _write(self, gift: Gift, new: VolumeId) -> None:
        registry = self._manager.registry
        here, there = registry.file(gift.vmid), registry.file(gift.target_vmid)
        texts = given(registry.config(gift.vmid), registry.config(gift.target_vmid), gift, new)
        await self._manager.store.transact(
            [Write(file.path, text.encode()) for file, text in zip((here, there), texts, strict=True)],
            [Expect(file.path, file.version) for file in (here, there)],
            who=gift.who,
        )

    async def _free_name(self, kind: StorageKind, volume: VolumeId, vmid: int) -> VolumeId:
        """The first name that is free for the volume as the other guest's."""
        await kind.activate()
        for number in range(MAX_DISKS):
            new = kind.handed_to(volume, vmid, f"disk-{number}")
            if not await asyncio.to_thread(kind.path(new).exists):
                return new
        raise KvorumError(f"storage '{kind.id}': VM {vmid} has {MAX_DISKS} disks there already")
