"""After a restart of the daemon: guests that were on their way from here go on here, or have gone."""

from __future__ import annotations

import logging

from kvorum.core.errors import Conflict, KvorumError, OutcomeUnknown
from kvorum.guests.errors import MigrationFailed
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration import secret
from kvorum.guests.migration.memory import give_up_disks
from kvorum.guests.migration.source import settle

log = logging.getLogger(__name__)

_UNDER_WAY = frozenset({"setup", "active", "pre-switchover", "device", "cancelling", "wait-unplug"})


async def recover_stopped(manager: GuestManager) -> None:
    """Unlock the guests here that were on their way from here and don't run: nobody moves them any more.

    Their disks were being copied, or their QEMU ended with the node. A commit that may still be under way and
    the unlocking have one winner in the store; a target that waits takes the end of the lock as the word.
    """
    store, registry = manager.store, manager.registry
    async for membership in store.watch_membership():
        if membership.quorate:
            break
    for vmid in registry.vmids():
        try:
            if manager.running(vmid) is not None or registry.config(vmid).lock != "migrate":
                continue
            async with manager.exclusive(vmid, "clean up after migration"):
                if registry.config(vmid).lock == "migrate" and manager.running(vmid) is None:
                    await registry.edit(vmid, {}, frozenset({"lock"}), who="root@pam")
            secret.remove(secret.folder(manager.workshop.files.directory, vmid))
            log.info("VM %d: its migration was interrupted; it stays here", vmid)
        except KvorumError as error:
            log.warning("VM %d: is it locked (migrate)? %s; qm unlock %d removes the lock", vmid, error, vmid)


async def recover_source(manager: GuestManager, guest: RunningGuest) -> None:
    """Finish what an earlier daemon's migration left behind for one guest that was taken up again.

    A guest whose memory has left for good runs on here only when the store says it was not handed over, and a
    transaction has made sure that it never will be.
    """
    vmid = guest.vmid
    owner = manager.registry.owner(vmid)
    if owner != manager.store.node:
        await guest.stop(f"the guest belongs to '{owner}'")
        return
    config = manager.registry.config(vmid)
    if config.lock != "migrate":
        return
    status = (await guest.monitor.execute("query-migrate")).get("status", "none")
    if status in _UNDER_WAY:
        await guest.monitor.execute("migrate_cancel")
    jobs = [job["device"] for job in await guest.monitor.execute("query-block-jobs")]
    await give_up_disks(guest.monitor, [job.removeprefix("mirror-") for job in jobs])
    if await guest.refresh() == "postmigrate":
        while True:
            try:
                await settle(manager, vmid, manager.registry.file(vmid).version, "the target")
            except OutcomeUnknown:
                continue
            except (MigrationFailed, Conflict):
                break
            await guest.stop("migrated")
            return
        await guest.resume()
    await secret.forget(guest.monitor)
    secret.remove(secret.folder(manager.workshop.files.directory, vmid))
    try:
        await manager.registry.edit(vmid, {}, frozenset({"lock"}), who="root@pam")
    except KvorumError as error:
        log.warning("VM %d stays locked (migrate): %s; remove the lock with qm unlock %d", vmid, error, vmid)
    log.info("VM %d: its migration was interrupted; it goes on here", vmid)
