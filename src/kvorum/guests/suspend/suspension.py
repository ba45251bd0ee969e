"""Guests suspended to disk and woken from there; and what an earlier daemon has left of that.

Both end in one write to the store that decides whether the guest is what lies on disk or what QEMU holds
(``state``). It is sent while the guest stands still, and the guest stands still until its fate is known: so
it never runs on beside a memory that a later start would go on from.
"""

from __future__ import annotations

import asyncio
import time

from kvorum.core.errors import KvorumError
from kvorum.guests import hooks
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.hooks import Phase
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager, Say
from kvorum.guests.settling import Settler, alive, quiet, to_its_end
from kvorum.guests.snapshots import memory
from kvorum.guests.snapshots.standstill import Standstill, let_go_on
from kvorum.guests.snapshots.state_volume import begin_qemu, kept_in, make_state, saving
from kvorum.guests.suspend import state
from kvorum.guests.suspend.state import Left
from kvorum.guests.unfinished import DaemonLog, Undertaking, Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import Storages, make_last


class Suspensions(Settler):
    """This node's guests that are suspended to disk. The caller has checked what it may."""

    settles = "suspensions"

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        super().__init__(manager)
        self._registry = manager.registry
        self._storages = storages
        self._unfinished = unfinished
        manager.wakes_by(self.wake)

    def check(self, vmid: int, storage: str, *, skiplock: bool = False) -> GuestConfig:
        """Raise ``KvorumError`` when a guest can't be suspended to disk; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(vmid)
        self._manager.check_unlocked(config, skiplock)
        self._manager.need_running(vmid)
        if storage:
            self._storages.get(storage)
        return config

    async def suspend(
        self, vmid: int, *, storage: str = "", skiplock: bool = False, who: str, log: TaskLog
    ) -> None:
        """Write a guest's memory to a volume and end its QEMU; a start goes on from there.

        Raises ``KvorumError``; the guest runs on then, and nothing of it is left.
        """
        async with (
            self._manager.exclusive(vmid, "suspend to disk"),
            self._unfinished.undertaking(vmid, "suspend to disk", log=log) as under_way,
        ):
            config = self.check(vmid, storage, skiplock=skiplock)
            guest = self._manager.need_running(vmid)
            noted = state.begun(config)
            try:
                await self._registry.replace(config, noted, who=who)
                async with Standstill(self._manager, guest, log) as still:
                    kept = await self._save(guest, noted, storage, under_way, log)
                    still.stay()
                    await self._registry.replace(noted, state.suspended(noted, kept), who=who)
            except BaseException:
                await to_its_end(self._settle(vmid, log))
                raise
            await to_its_end(self._settle(vmid, log, decided=True))
            log.line(f"VM {vmid} is suspended to disk: '{kept['vmstate']}'; a start goes on from there")

    async def _save(
        self, guest: RunningGuest, config: GuestConfig, storage: str, under_way: Undertaking, log: TaskLog
    ) -> dict[str, str]:
        """The guest's memory in a new volume, on disk for good; the guest stands still then."""
        name = time.strftime("suspend-%Y-%m-%d")
        volume, path = await make_state(
            self._manager, self._storages, config, name, under_way.reserving, log, storage
        )
        began = time.monotonic()
        async with saving(guest, log) as saver:
            await saver.until_still(path)
            await saver.finish()
        await asyncio.to_thread(make_last, path)
        log.line(f"memory saved in {time.monotonic() - began:.1f} s")
        return kept_in(volume, guest, config)

    async def wake(self, config: GuestConfig, say: Say) -> None:
        """Begin QEMU with the memory on disk, and let the guest go on from there; the volume goes.

        The caller holds the guest (``GuestManager.exclusive``). Raises ``KvorumError``; the guest lies on
        disk as before then.
        """
        vmid = config.vmid
        volume = state.need_memory(config)
        path = self._storages.of(volume).path(volume)
        if not await asyncio.to_thread(path.exists):
            raise GuestError(
                f"VM {vmid}: its memory '{volume}' is not there ('{path}'), so it can't go on where it was; "
                f"'qm unlock {vmid}' lets it start anew, as after a power cut"
            )
        say(f"VM {vmid} goes on from '{volume}'")
        await hooks.run(self._storages, config, Phase.PRE_START, say)
        await asyncio.to_thread(self._manager.workshop.launcher.own, vmid, path)
        async with self._unfinished.undertaking(vmid, "resume from disk", volumes=[volume]):
            guest = await begin_qemu(
                self._manager, config, config.text("runningmachine"), config.text("runningcpu")
            )
            after = state.awake(config)
            try:
                await memory.load(guest.monitor, path, config.memory_mib, say)
                await self._registry.replace(config, after, who="root@pam")
            except BaseException:
                await to_its_end(self._settle(vmid, DaemonLog()))
                raise
            guest.config = after
            await to_its_end(self._settle(vmid, DaemonLog(), decided=True))
        say(f"VM {vmid} started ({guest.record.machine}, {guest.record.accelerator}, pid {guest.record.pid})")
        await hooks.run_gently(self._storages, after, Phase.POST_START, say)

    async def forget(self, vmid: int, who: str) -> None:
        """Have a guest not go on from disk: its memory goes, and it starts anew. The caller holds it."""
        config = self._registry.config(vmid)
        volume = state.memory(config)
        own = [] if volume is None else [volume]
        async with self._unfinished.undertaking(vmid, "unlock", volumes=own):
            await self._registry.replace(config, state.awake(config), who=who)

    # What was left

    async def attached(self) -> None:
        """Let guests go on that an earlier daemon had stand still, except where the store decides first."""
        for guest in self._manager.all_running():
            if guest.record.standing and not state.undecided(guest.config.lock, guest.status):
                await quiet(let_go_on(self._manager, guest), DaemonLog())

    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Settle what an earlier daemon, or a failure of before, has left; while there is quorum."""
        await self._settle_each(
            "a suspension",
            self._concerned,
            lambda vmid: self._settle(vmid, said or DaemonLog()),
        )

    def _concerned(self, vmid: int) -> bool:
        guest = self._manager.running(vmid)
        lock = self._registry.config(vmid).lock
        if lock == state.SUSPENDED:
            return guest is not None
        return lock == state.SUSPENDING or (guest is not None and guest.record.standing)

    async def _settle(self, vmid: int, log: TaskLog, *, decided: bool = False) -> None:
        """Do what is left to do with one guest. What can't be done now is said, and tried again.

        ``decided`` says that the last write is acknowledged.
        """
        try:
            if not decided:
                # Acknowledged after all that was sent before it: what is not here now never will be.
                await self._store.transact((), who="root@pam")
            config, guest = self._registry.config(vmid), await alive(self._manager, vmid)
            status = None if guest is None else await guest.refresh()
            standing = guest is not None and guest.record.standing
            match state.left(config.lock, status, standing):
                case Left.END:
                    await self._manager.end(vmid, "it lies suspended on disk")
                case Left.FORGET:
                    log.warn(f"VM {vmid} runs though it was suspended to disk: what lies there is given up")
                    await self.forget(vmid, "root@pam")
                case Left.GIVE_UP:
                    if guest is not None:
                        await let_go_on(self._manager, guest)
                    await self._registry.replace(config, state.unlocked(config), who="root@pam")
                    log.line(f"VM {vmid} was not suspended to disk; nothing is left of it")
                case Left.GO_ON if guest is not None:
                    guest.config = config
                    await let_go_on(self._manager, guest)
        except (KvorumError, TimeoutError) as error:
            log.warn(
                f"VM {vmid}: its suspension to disk can't be settled now: {error}; "
                "it is tried again every minute"
            )
            self._left.set()
