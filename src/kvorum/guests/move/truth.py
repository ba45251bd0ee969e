"""What a QEMU has open and what its guest's configuration names, made one again after a move that broke off.

The configuration decides. A copy that it names is taken, one that it does not is given up; and where QEMU
could not go over to what was committed, the configuration goes back to what the guest writes to.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, QmpLost
from kvorum.guests.machine import nodes
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.move import mirror
from kvorum.storage import Storages

log = logging.getLogger(__name__)

ENDING_S = 5.0


class Truth:
    """The disks of this node's running guests."""

    def __init__(self, manager: GuestManager, storages: Storages) -> None:
        self._manager = manager
        self._storages = storages

    async def restore(self, vmid: int, noted: Sequence[VolumeId]) -> None:
        """End every move of a guest. Raises ``KvorumError`` while it can't be; nothing of ``noted`` may be
        removed before.

        The caller holds the guest.
        """
        guest = self._manager.running(vmid)
        if guest is None or guest.record.incoming:
            return
        try:
            await self._restore(guest, noted)
        except QmpLost:
            if not await guest.process.wait(ENDING_S):
                raise

    async def _restore(self, guest: RunningGuest, noted: Sequence[VolumeId]) -> None:
        under_way = await mirror.jobs(guest.monitor)
        present = await nodes.present(guest.monitor)
        for key, disk in self._manager.registry.config(guest.vmid).disks.items():
            _, other = nodes.names(key)
            if disk.volume is not None and (key in under_way or other in present):
                await self._one(guest, key, disk.volume, key in under_way, noted)

    async def _one(
        self, guest: RunningGuest, key: str, volume: VolumeId, under_way: bool, noted: Sequence[VolumeId]
    ) -> None:
        monitor = guest.monitor
        wanted = self._path(volume)
        if under_way and await nodes.current_file(monitor, key) != wanted:
            log.info("VM %d: %s goes over to '%s', as it was decided", guest.vmid, key, volume)
            await mirror.complete(monitor, key)
        else:
            await mirror.let_go(monitor, key)
        has = await nodes.current_file(monitor, key)
        if has != wanted:
            await self._go_back(guest, key, has, noted)
        guest.config = self._manager.registry.config(guest.vmid)

    async def _go_back(self, guest: RunningGuest, key: str, has: str, noted: Sequence[VolumeId]) -> None:
        """Name in the configuration what the guest writes to."""
        config = self._manager.registry.config(guest.vmid)
        kept = [disk.volume for disk in config.unused.values()]
        for volume in (*noted, *kept):
            if volume is not None and self._path(volume) == has:
                await self._manager.registry.replace(config, on(config, key, volume), who="root@pam")
                log.warning("VM %d: %s stays on '%s', which it writes to", guest.vmid, key, volume)
                return
        named = config.disks[key].file
        raise GuestError(f"VM {guest.vmid}: {key} writes to '{has}', but its configuration names '{named}'")

    def _path(self, volume: VolumeId) -> str:
        return str(self._storages.of(volume).path(volume))


def on(config: GuestConfig, key: str, volume: VolumeId) -> GuestConfig:
    """The configuration with a disk on a volume that may be unused."""
    disk = config.disks[key]
    unused = frozenset(k for k, each in config.unused.items() if each.file == str(volume))
    return config.edit({key: str(disk.with_volume(volume, disk.size_bytes or 0))}, unused)
