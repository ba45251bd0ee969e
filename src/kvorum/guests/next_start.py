"""What waits for a guest's next start takes effect: pending changes, and the content of its cloud-init drive.

The caller holds the guest, which is off.
"""

from __future__ import annotations

from collections.abc import Callable

from kvorum.core.errors import KvorumError
from kvorum.guests.cloudinit import CloudInit
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.drives import is_cloudinit, owned
from kvorum.guests.registry import Registry
from kvorum.storage import Storages

Say = Callable[[str], None]


async def applied(registry: Registry, storages: Storages, config: GuestConfig, say: Say) -> GuestConfig:
    """What waited for this start takes effect. A drive that was to be destroyed is unused until it is."""
    pending = config.pending
    if not pending:
        return config
    after = config.applied()
    await registry.replace(config, after, who="root@pam")
    doomed = {disk.file for key, disk in config.disks.items() if key in pending.forced}
    await _free_cloudinit(storages, config, after, say)
    for key, disk in after.unused.items():
        volume = owned(config.vmid, disk)
        if disk.file in doomed and volume is not None:
            try:
                await storages.of(volume).free(volume)
            except KvorumError as error:
                say(f"{key}: '{disk.file}' can't be removed now and stays unused: {error}")
            else:
                say(f"{key}: removed '{disk.file}'")
                after = await registry.edit(config.vmid, {}, frozenset({key}), who="root@pam")
    return after


async def with_cloudinit(registry: Registry, storages: Storages, config: GuestConfig) -> GuestConfig:
    """Its cloud-init drive says what the configuration does."""
    after = await CloudInit(storages).refresh(config)
    if after is not config:
        await registry.replace(config, after, who="root@pam")
    return after


async def _free_cloudinit(storages: Storages, before: GuestConfig, after: GuestConfig, say: Say) -> None:
    """A cloud-init drive that has gone takes its volume along: it can be made anew."""
    kept = {disk.file for disk in after.disks.values()}
    for key, disk in before.disks.items():
        volume = owned(before.vmid, disk) if is_cloudinit(disk) and disk.file not in kept else None
        if volume is not None:
            try:
                await storages.of(volume).free(volume)
            except KvorumError as error:
                say(f"{key}: '{volume}' can't be removed: {error}")
