"""The disks of a snapshot: who can make it, and its making, going back and deleting, disk by disk.

A volume that the guest's QEMU has open is QEMU's to snapshot where its storage says so (``SnapshotBy``): all
of them in one transaction, so they are of one instant. All others are the storage's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import nodes
from kvorum.guests.machine.guest import RunningGuest
from kvorum.interface import TaskLog
from kvorum.storage import SnapshotBy, StorageKind, Storages

STORAGE_DEADLINE_S = 30.0
QEMU_DEADLINE_S = 600.0
"""QEMU lets its guest stand still while it writes a snapshot's tables, minutes for many TiB."""


class Disks:
    """The drives of one guest that take part in its snapshots; ``guest`` is its QEMU, if it runs."""

    def __init__(self, storages: Storages, vmid: int, guest: RunningGuest | None) -> None:
        self._storages = storages
        self._vmid = vmid
        self._guest = guest

    def check(self, disks: Mapping[str, Disk]) -> None:
        """Raise ``GuestError`` naming the first disk of which no snapshot can be made, and what to do."""
        for key, disk in disks.items():
            volume = disk.volume
            if volume is None:
                raise GuestError(
                    f"VM {self._vmid}: no snapshot can be made: {key} is the path '{disk.file}' and lies on "
                    "no storage; detach it first"
                )
            kind = self._storages.of(volume)
            if kind.format(volume) not in kind.capabilities.snapshots:
                if key == "tpmstate0":
                    raise GuestError(
                        f"VM {self._vmid}: no snapshot can be made: tpmstate0 is '{volume}'; swtpm writes "
                        f"raw volumes only, and storage '{kind.id}' has no snapshots of them; shut the guest "
                        "down and move it to a storage that has, such as btrfs or zfspool"
                    )
                able = ", ".join(sorted(kind.capabilities.snapshots))
                raise GuestError(
                    f"VM {self._vmid}: no snapshot can be made: {key} is '{volume}', and storage '{kind.id}' "
                    f"has no snapshots of format {kind.format(volume)}; "
                    + (f"it has them of {able}" if able else "use a storage that has them")
                )

    async def check_rollback(self, disks: Mapping[str, Disk], name: str) -> None:
        """Raise ``KvorumError`` when a disk can't go back, before any has."""
        self.check(disks)
        for kind, volume in self._volumes(disks):
            async with asyncio.timeout(STORAGE_DEADLINE_S):
                await kind.check_rollback(volume, name)

    def needs_standstill(self, disks: Mapping[str, Disk]) -> bool:
        """Whether the guest must stand still while they are made: not all are QEMU's own."""
        return any(self._key(kind, volume) is None for kind, volume in self._volumes(disks))

    async def take(self, disks: Mapping[str, Disk], name: str) -> None:
        """Make the snapshot of every disk; raises ``KvorumError``, and some may then have it."""
        actions = []
        for kind, volume in self._volumes(disks):
            key = self._key(kind, volume)
            if key is None or self._guest is None:
                await kind.snapshot(volume, name)
            else:
                data = {"device": await nodes.current(self._guest.monitor, key), "name": name}
                actions.append({"type": "blockdev-snapshot-internal-sync", "data": data})
        if actions and self._guest is not None:
            await self._guest.monitor.execute("transaction", {"actions": actions}, deadline_s=QEMU_DEADLINE_S)

    async def roll_back(self, disks: Mapping[str, Disk], name: str, log: TaskLog) -> None:
        """Put every disk back, with no QEMU on them; raises ``KvorumError``. It can be done again."""
        for kind, volume in self._volumes(disks):
            log.line(f"going back to '{name}': '{volume}'")
            await kind.rollback(volume, name)

    async def delete(
        self, disks: Mapping[str, Disk], name: str, log: TaskLog, *, force: bool = False
    ) -> None:
        """Delete the snapshot of every disk that has it; with ``force`` what fails is only said.

        Raises ``KvorumError``. It can be done again.
        """
        for key, disk in disks.items():
            try:
                await self._delete(disk, name)
            except KvorumError as error:
                if not force:
                    raise
                log.warn(f"{key}: its snapshot '{name}' stays where it is: {error}")

    async def _delete(self, disk: Disk, name: str) -> None:
        volume = disk.volume
        if volume is None:
            return
        kind = self._storages.of(volume)
        key = self._key(kind, volume)
        if key is None or self._guest is None:
            await kind.delete_snapshot(volume, name)
            return
        monitor = self._guest.monitor
        node, present = await nodes.current(monitor, key), await nodes.present(monitor)
        inside = present[node]["image"].get("snapshots", ())
        if any(snapshot["name"] == name for snapshot in inside):
            arguments = {"device": node, "name": name}
            await monitor.execute(
                "blockdev-snapshot-delete-internal-sync", arguments, deadline_s=QEMU_DEADLINE_S
            )

    def _volumes(self, disks: Mapping[str, Disk]) -> list[tuple[StorageKind, VolumeId]]:
        found = [disk.volume for disk in disks.values()]
        return [(self._storages.of(volume), volume) for volume in found if volume is not None]

    def _key(self, kind: StorageKind, volume: VolumeId) -> str | None:
        """QEMU's drive of a volume whose snapshots are QEMU's; ``None``: the storage makes them."""
        if self._guest is None or kind.capabilities.snapshots_by is not SnapshotBy.QEMU:
            return None
        drives = self._guest.config.disks.items()
        return next((key for key, disk in drives if disk.file == str(volume)), None)
