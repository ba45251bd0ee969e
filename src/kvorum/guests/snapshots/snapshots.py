"""Snapshots taken, gone back to and deleted; and what an earlier daemon has left of that.

Each begins with one write to the store that notes it in the configuration (``tree``), and ends with one that
decides. Broken off between the two, a snapshot that was being taken is undone; going back and deleting, which
can't be undone, are done to their end: at once, by the next daemon, or as soon as the storage is there again.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.settling import Settler, alive, quiet, to_its_end
from kvorum.guests.snapshots import memory, tree
from kvorum.guests.snapshots.disks import Disks
from kvorum.guests.snapshots.standstill import Standstill
from kvorum.guests.snapshots.state_volume import begin_qemu, kept_in, make_state, saving
from kvorum.guests.snapshots.tree import Snapshot, Step
from kvorum.guests.unfinished import DaemonLog, Undertaking, Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import Storages, make_last


class Snapshots(Settler):
    """The snapshots of this node's guests. The caller has checked what it may."""

    settles = "snapshots"

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        super().__init__(manager)
        self._registry = manager.registry
        self._storages = storages
        self._unfinished = unfinished

    # Taking

    def check_taking(self, vmid: int, name: str) -> GuestConfig:
        """Raise ``KvorumError`` when no snapshot of this name can be taken; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(vmid)
        self._manager.check_unlocked(config)
        if config.template:
            raise GuestError(f"VM {vmid} is a template, which never changes: it has no snapshots")
        tree.check_name(config, name)
        self._disks(vmid).check(tree.disks(config))
        return config

    async def take(
        self,
        vmid: int,
        name: str,
        *,
        description: str = "",
        with_memory: bool = False,
        who: str,
        log: TaskLog,
    ) -> None:
        """Keep all disks of a guest at one instant, with memory if asked and it runs; it goes on meanwhile.

        Raises ``KvorumError``; nothing of it is left then.
        """
        async with (
            self._manager.exclusive(vmid, f"snapshot '{name}'"),
            self._unfinished.undertaking(vmid, f"snapshot '{name}'", log=log) as under_way,
        ):
            config = self.check_taking(vmid, name)
            noted = tree.begun(config, name, int(time.time()), description)
            guest = self._manager.running(vmid)
            if with_memory and guest is None:
                log.line(f"VM {vmid} does not run: there is no memory to keep")
            try:
                await self._registry.replace(config, noted, who=who)
                disks = tree.disks(config)
                if guest is None:
                    await Disks(self._storages, vmid, None).take(disks, name)
                    kept: dict[str, str] = {}
                elif with_memory:
                    kept = await self._take_with_memory(guest, config, name, under_way, log)
                else:
                    kept = {}
                    await self._take_running(guest, config, name, log)
                await self._registry.replace(noted, tree.taken(noted, name, kept), who=who)
            except BaseException:
                await to_its_end(self._settle(vmid, log))
                raise
            log.line(f"snapshot '{name}' of VM {vmid} is taken")

    async def _take_running(self, guest: RunningGuest, config: GuestConfig, name: str, log: TaskLog) -> None:
        """The disks alone: with the guest's file systems at rest, if its agent can."""
        disks = Disks(self._storages, guest.vmid, guest)
        async with Standstill(self._manager, guest, log) as still:
            await still.freeze()
            if disks.needs_standstill(tree.disks(config)):
                await still.pause()
            await disks.take(tree.disks(config), name)

    async def _take_with_memory(
        self, guest: RunningGuest, config: GuestConfig, name: str, under_way: Undertaking, log: TaskLog
    ) -> dict[str, str]:
        """Memory first, while the guest runs; its last pages and the disks while it stands still."""
        volume, path = await make_state(self._manager, self._storages, config, name, under_way.reserving, log)
        disks = Disks(self._storages, guest.vmid, guest)
        began = time.monotonic()
        async with Standstill(self._manager, guest, log), saving(guest, log) as saver:
            await saver.until_still(path)
            still_at = time.monotonic()
            await disks.take(tree.disks(config), name)
            await saver.finish()
        log.line(
            f"memory saved in {time.monotonic() - began:.1f} s, the guest stood still for "
            f"{(time.monotonic() - still_at) * 1000:.0f} ms of it"
        )
        await asyncio.to_thread(make_last, path)
        return kept_in(volume, guest, config)

    # Going back

    async def check_rollback(self, vmid: int, name: str) -> tuple[GuestConfig, Snapshot]:
        """Raise ``KvorumError`` when the guest can't go back to a snapshot; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(vmid)
        self._manager.check_unlocked(config)
        if config.template:
            raise GuestError(f"VM {vmid} is a template, which never changes")
        found = tree.snapshot(config, name)
        if found.step is not None:
            raise GuestError(f"snapshot '{name}' of VM {vmid} is not whole ({found.step.state})")
        tree.rolled_back(config, name, str(uuid.uuid4()))
        await self._disks(vmid).check_rollback(found.disks, name)
        if found.memory is not None:
            await self._storages.of(found.memory).size(found.memory)
        return config, found

    async def roll_back(self, vmid: int, name: str, *, start: bool = False, who: str, log: TaskLog) -> None:
        """Put a guest back; one that runs is stopped. It runs afterwards with its memory, or by ``start``.

        Raises ``KvorumError``. From the first disk on it is done to its end, whatever happens.
        """
        async with self._manager.exclusive(vmid, f"rollback to '{name}'"):
            config, found = await self.check_rollback(vmid, name)
            try:
                await self._registry.replace(config, tree.marked(config, name, Step.ROLL_BACK), who=who)
            finally:
                # Also when it is not known whether that was written: what is noted is done.
                await to_its_end(self._settle(vmid, log))
            now = self._registry.config(vmid)
            if now.lock == Step.ROLL_BACK.lock:
                raise GuestError(
                    f"VM {vmid} is not wholly back at '{name}' and stays locked ({now.lock}); it is tried "
                    "again every minute"
                )
            log.line(f"VM {vmid} is back at '{name}'")
            if found.memory is not None:
                await self._wake(now, found, found.memory, log)
        if start and found.memory is None:
            await self._manager.start(vmid, say=log.line)

    async def _go_back(self, config: GuestConfig, found: Snapshot, log: TaskLog) -> None:
        """What follows the note: power off, disks back, and the write that decides."""
        vmid = config.vmid
        if self._manager.running(vmid) is not None:
            log.line(f"VM {vmid} is stopped")
            await self._manager.end(vmid, f"going back to snapshot '{found.name}'")
        await Disks(self._storages, vmid, None).roll_back(found.disks, found.name, log)
        after = tree.rolled_back(config, found.name, str(uuid.uuid4()))
        await self._registry.replace(config, after, who="root@pam")

    async def _wake(self, config: GuestConfig, found: Snapshot, volume: VolumeId, log: TaskLog) -> None:
        """Begin QEMU as it was then, and let it go on where its memory was kept."""
        workshop = self._manager.workshop
        path = self._storages.of(volume).path(volume)
        await asyncio.to_thread(workshop.launcher.own, config.vmid, path)
        guest = await begin_qemu(
            self._manager,
            config,
            found.settings.get("runningmachine", ""),
            found.settings.get("runningcpu", ""),
        )
        try:
            await memory.load(guest.monitor, path, config.memory_mib, log.line)
            await guest.resume()
        except BaseException:
            await to_its_end(guest.stop("its memory could not be loaded"))
            log.warn(f"VM {config.vmid} is back at '{found.name}', and switched off: its memory did not come")
            raise
        workshop.note(guest, msgspec.structs.replace(guest.record, standing=False))
        log.line(f"VM {config.vmid} goes on where it was ({guest.record.machine}, pid {guest.record.pid})")

    # Deleting

    def check_deleting(self, vmid: int, name: str) -> GuestConfig:
        """Raise ``KvorumError`` when a snapshot can't be deleted; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(vmid)
        self._manager.check_unlocked(config)
        tree.snapshot(config, name)
        return config

    async def delete(self, vmid: int, name: str, *, force: bool = False, who: str, log: TaskLog) -> None:
        """Delete a snapshot, and with it its memory; what came after it comes after its parent.

        Raises ``KvorumError`` when a disk's can't be deleted, and the rest is tried again every minute. With
        ``force`` the snapshot goes from the configuration all the same.
        """
        async with self._manager.exclusive(vmid, f"deletion of snapshot '{name}'"):
            config = self.check_deleting(vmid, name)
            marked = tree.marked(config, name, Step.DELETE)
            try:
                await self._registry.replace(config, marked, who=who)
                await self._delete(marked, tree.snapshot(marked, name), log, force=force)
            except BaseException:
                self._left.set()
                await to_its_end(quiet(self._unlock(vmid), log))
                raise
            log.line(f"snapshot '{name}' of VM {vmid} is deleted")

    async def _delete(
        self, config: GuestConfig, found: Snapshot, log: TaskLog, *, force: bool = False
    ) -> None:
        own = [found.memory] if found.memory is not None else []
        async with self._unfinished.undertaking(
            config.vmid, f"deletion of snapshot '{found.name}'", volumes=own, log=log
        ):
            await self._disks(config.vmid).delete(found.disks, found.name, log, force=force)
            await self._registry.replace(config, tree.deleted(config, found.name), who="root@pam")

    async def _unlock(self, vmid: int) -> None:
        """Let the guest be used while the rest of a deletion waits."""
        config = self._registry.config(vmid)
        if config.lock == Step.DELETE.lock:
            await self._registry.replace(config, tree.unlocked(config), who="root@pam")

    async def describe(self, vmid: int, name: str, description: str, *, who: str) -> None:
        """Give a snapshot other notes."""
        async with self._manager.exclusive(vmid, "notes on a snapshot"):
            self._manager.check_quorum()
            config = self._registry.config(vmid)
            await self._registry.replace(config, tree.described(config, name, description), who=who)

    # What was left

    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Undo or finish what an earlier daemon, or a failure of before, has left; while there is quorum."""
        await self._settle_each(
            "a snapshot",
            self._concerned,
            lambda vmid: self._settle(vmid, said or DaemonLog()),
        )

    def _concerned(self, vmid: int) -> bool:
        return any(each.step for each in tree.snapshots(self._registry.config(vmid)).values())

    async def _settle(self, vmid: int, log: TaskLog) -> None:
        """Bring what is noted for one guest to its end. What can't be done now stays noted, and is said."""
        await alive(self._manager, vmid)  # its disks are the storage's once it is gone
        try:
            # Acknowledged after all that was sent before it: what is not here now never will be.
            await self._store.transact((), who="root@pam")
            for found in tree.snapshots(self._registry.config(vmid)).values():
                config = self._registry.config(vmid)
                match found.step:
                    case Step.TAKE:
                        await self._disks(vmid).delete(found.disks, found.name, log)
                        after = tree.given_up(config, found.name)
                        await self._registry.replace(config, after, who="root@pam")
                        log.line(
                            f"snapshot '{found.name}' of VM {vmid} was not finished; nothing is left of it"
                        )
                    case Step.ROLL_BACK:
                        await self._go_back(config, found, log)
                    case Step.DELETE:
                        await self._delete(config, found, log)
        except (KvorumError, TimeoutError) as error:
            log.warn(
                f"VM {vmid}: its snapshots can't be settled now: {error}; it is tried again every minute"
            )
            self._left.set()

    def _disks(self, vmid: int) -> Disks:
        guest = self._manager.running(vmid)
        ended = guest is not None and guest.process.ended.is_set()
        return Disks(self._storages, vmid, None if ended else guest)
