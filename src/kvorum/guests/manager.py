"""The guests of this node: started, stopped, watched, told about.

One operation at a time holds a guest; a second waits ten seconds for it, then is refused with the name
of what holds it. A daemon that dies leaves QEMU alone; the next takes up every guest from its record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from kvorum.core.errors import KvorumError, NoQuorum
from kvorum.guests import hooks, next_start
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, GuestLocked, QmpLost
from kvorum.guests.hooks import Phase
from kvorum.guests.machine import crash
from kvorum.guests.machine.agent import AgentChannel
from kvorum.guests.machine.commandline import AGENT
from kvorum.guests.machine.guest import RunningGuest, Workshop
from kvorum.guests.machine.iothreads import without_meaning
from kvorum.guests.records import Records
from kvorum.guests.registry import Registry
from kvorum.guests.statistics import INTERVAL_S, KEY, TTL_S, GuestRecord
from kvorum.guests.suspend.state import SUSPENDED
from kvorum.store import Store

log = logging.getLogger(__name__)

BUSY_WAIT_S = 10.0
SHUTDOWN_TIMEOUT_S = 60.0
TRIM_S = 600.0
Say = Callable[[str], None]
Wake = Callable[[GuestConfig, Say], Awaitable[None]]


class GuestManager:
    """The guests of this node. ``attach`` first, then everything else."""

    def __init__(self, store: Store, workshop: Workshop) -> None:
        self.store = store
        self.workshop = workshop
        self.registry = Registry(store)
        self._running: dict[int, RunningGuest] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._holders: dict[int, str] = {}
        self._records = Records(self.registry, self._running)
        self._agents: dict[int, AgentChannel] = {}
        self._changed = asyncio.Event()
        self._wake: Wake | None = None
        self._tell_crash: Say = lambda text: None

    def tells_crashes_by(self, tell: Say) -> None:
        """Have this told the sentence about each QEMU that died and nobody had asked for it."""
        self._tell_crash = tell

    def wakes_by(self, wake: Wake) -> None:
        """Have a guest that is suspended to disk started by this: it goes on where it was."""
        self._wake = wake

    # What is known

    def running(self, vmid: int) -> RunningGuest | None:
        """The guest's QEMU, if it runs here (waiting for a migration counts too)."""
        return self._running.get(vmid)

    def all_running(self) -> list[RunningGuest]:
        """Every QEMU here, those that wait for a migration among them."""
        return list(self._running.values())

    def need_running(self, vmid: int) -> RunningGuest:
        """The guest's QEMU; raises ``GuestError`` when it does not run."""
        guest = self._running.get(vmid)
        if guest is None or guest.record.incoming:
            raise GuestError(f"VM {vmid} not running")
        return guest

    def agent(self, vmid: int) -> AgentChannel:
        """The channel to a running guest's agent; raises ``GuestError`` when there is none."""
        guest = self.need_running(vmid)
        if not guest.config.agent.enabled:
            raise GuestError("No QEMU guest agent configured")
        return self._agents.setdefault(vmid, AgentChannel(self.workshop.files.path(vmid, AGENT)))

    async def trim(self, vmid: int, say: Say) -> None:
        """Its disks were copied: who wants it (``fstrim_cloned_disks``) gives back what it doesn't use.

        What fails of it is said, and no more: the copy is whole.
        """
        guest = self._running.get(vmid)
        if guest is None or not guest.config.agent.trims:
            return
        try:
            await self.agent(vmid).ask("guest-fstrim", deadline_s=TRIM_S)
            say(f"VM {vmid}: its file systems gave back what they don't use")
        except GuestError as error:
            say(f"VM {vmid}: its file systems gave nothing back: {error}")

    def record(self, vmid: int) -> GuestRecord:
        """A guest as all nodes are told; raises ``GuestError`` when this node has no such guest."""
        return self._records.of(vmid)

    def records(self) -> list[GuestRecord]:
        """All guests of this node, sorted by id."""
        return self._records.all()

    def rows(self) -> list[tuple[int, bytes]]:
        """All guests of this node as the API lists them: id and row in JSON, made anew where it differs."""
        return self._records.rows()

    @contextlib.asynccontextmanager
    async def exclusive(self, vmid: int, purpose: str) -> AsyncIterator[None]:
        """Hold a guest for one operation; raises ``GuestLocked`` when another holds it for too long."""
        lock = self._locks.setdefault(vmid, asyncio.Lock())
        try:
            await asyncio.wait_for(lock.acquire(), BUSY_WAIT_S)
        except TimeoutError:
            holder = self._holders.get(vmid, "another operation")
            raise GuestLocked(f"VM {vmid} is busy ({holder}); wait for it to end, then try again") from None
        self._holders[vmid] = purpose
        try:
            yield
        finally:
            self._holders.pop(vmid, None)
            lock.release()

    def held(self, vmid: int) -> bool:
        """Whether an operation holds a guest now."""
        return vmid in self._holders

    def check_unlocked(self, config: GuestConfig, skip: bool = False) -> None:
        """Raise ``GuestLocked`` when the configuration says that an operation holds the guest."""
        if config.lock and not skip:
            raise GuestLocked(f"VM is locked ({config.lock})")

    def check_quorum(self) -> None:
        """Raise ``NoQuorum`` when the cluster may not change anything now."""
        membership = self.store.membership
        if not membership.quorate:
            raise NoQuorum(f"cluster not ready - no quorum? {membership.reason}".strip())

    # What is done

    async def start(self, vmid: int, *, skiplock: bool = False, say: Say = lambda text: None) -> None:
        """Start a guest; raises ``GuestError`` when it runs already, or what its start raised."""
        async with self.exclusive(vmid, "start"):
            self.check_quorum()
            config = self.registry.config(vmid)
            wakes = config.lock == SUSPENDED and self._wake is not None
            self.check_unlocked(config, skiplock or wakes)
            if vmid in self._running:
                raise GuestError(f"VM {vmid} already running")
            if wakes and self._wake is not None:
                await self._wake(config, say)
                return
            config = await next_start.applied(self.registry, self.workshop.storages, config, say)
            facts = self.workshop.facts
            if facts.accelerator != "kvm" and config.flag("kvm", True):
                say(f"running without KVM: {facts.reason}")
            if meaningless := without_meaning(config):
                say(meaningless)
            await hooks.run(self.workshop.storages, config, Phase.PRE_START, say)
            config = await next_start.with_cloudinit(self.registry, self.workshop.storages, config)
            guest = await self.workshop.start(config)
            self.adopt(guest)
            try:
                if not config.flag("freeze"):
                    await guest.resume()
            except KvorumError:
                await guest.stop("start failed")
                raise
            if lacking := self.workshop.launcher.unlimited(config):
                say(lacking)
            record = guest.record
            say(f"VM {vmid} started ({record.machine}, {record.accelerator}, pid {record.pid})")
            await hooks.run_gently(self.workshop.storages, config, Phase.POST_START, say)

    async def stop(self, vmid: int, *, skiplock: bool = False, say: Say = lambda text: None) -> None:
        """Pull the plug; nothing to do when it does not run."""
        async with self.exclusive(vmid, "stop"):
            self.check_quorum()
            self.check_unlocked(self.registry.config(vmid), skiplock)
            if guest := self._running.get(vmid):
                await hooks.run_gently(self.workshop.storages, guest.config, Phase.PRE_STOP, say)
                await guest.stop("stopped by request")
                await self._gone(vmid)

    async def shutdown(
        self, vmid: int, *, timeout: float | None = None, force: bool = False, skiplock: bool = False,
        host_goes: bool = False, say: Say = lambda text: None,
    ) -> None:  # fmt: skip
        """Ask the guest to switch off (ACPI) and wait for it; with ``force`` pull the plug at the timeout.

        ``host_goes``: the guest ends anyhow, so neither its lock nor quorum is asked for. Raises
        ``GuestError`` when it is still running then.
        """
        async with self.exclusive(vmid, "shutdown"):
            if not host_goes:
                self.check_quorum()
                self.check_unlocked(self.registry.config(vmid), skiplock)
            guest = self.need_running(vmid)
            seconds = SHUTDOWN_TIMEOUT_S if timeout is None else timeout
            await hooks.run_gently(self.workshop.storages, guest.config, Phase.PRE_STOP, say)
            await self._ask_to_end(guest)
            if not await guest.process.wait(seconds):
                if not force:
                    raise GuestError(f"VM {vmid} quit/powerdown failed - got timeout after {seconds:g} s")
                await guest.stop("stopped by request")
            await self._gone(vmid)

    async def _ask_to_end(self, guest: RunningGuest) -> None:
        """By its agent if it has one that answers, else by the power button."""
        if guest.config.agent.enabled:
            try:
                await self.agent(guest.vmid).tell("guest-shutdown")
                return
            except GuestError as error:
                log.info("VM %d: %s; the power button is pressed instead", guest.vmid, error)
        with contextlib.suppress(QmpLost):
            await guest.monitor.execute("system_powerdown")

    async def reset(self, vmid: int, *, skiplock: bool = False) -> None:
        """Press the reset button."""
        async with self.exclusive(vmid, "reset"):
            self.check_unlocked(self.registry.config(vmid), skiplock)
            await self.need_running(vmid).monitor.execute("system_reset")

    async def suspend(self, vmid: int, *, skiplock: bool = False) -> None:
        """Let the guest stand still, its memory kept; nothing to do when it does."""
        async with self.exclusive(vmid, "suspend"):
            self.check_unlocked(self.registry.config(vmid), skiplock)
            await self.need_running(vmid).pause()
            self._changed.set()

    async def resume(self, vmid: int, *, skiplock: bool = False) -> None:
        """Let a guest that stands still go on; nothing to do when it runs."""
        async with self.exclusive(vmid, "resume"):
            self.check_unlocked(self.registry.config(vmid), skiplock)
            guest = self.need_running(vmid)
            if await guest.refresh() == "suspended":
                await guest.monitor.execute("system_wakeup")  # it sleeps, by its own wish or the agent's
            else:
                await guest.resume()
            self._changed.set()

    def adopt(self, guest: RunningGuest) -> None:
        """Watch over a guest's QEMU from now on."""
        assert guest.vmid not in self._running, f"VM {guest.vmid} adopted twice"
        self._running[guest.vmid] = guest
        self._watchers[guest.vmid] = asyncio.create_task(self._watch(guest), name=f"watch {guest.vmid}")
        self._changed.set()

    async def attach(self) -> list[RunningGuest]:
        """Take up all guests that an earlier daemon began; returns those that wait for a migration.

        One that was not let run yet is ended: its start failed with the daemon.
        """
        files = self.workshop.files
        waiting = []
        for vmid in files.vmids():
            record = files.read(vmid)
            if record is None:
                files.remove(vmid)
                continue
            try:
                config = self._config_for_attach(vmid)
                guest = await self.workshop.attach(config)
            except KvorumError as error:
                log.error("VM %d: pid %d can't be taken up: %s", vmid, record.pid, error)
                continue
            if guest is not None:
                self.adopt(guest)
                if guest.status in ("prelaunch", "inmigrate") and not record.incoming:
                    await guest.stop("the daemon that was starting it has died")
                    await self._gone(vmid)
                    continue
                log.info("VM %d: taken up again, pid %d, %s", vmid, record.pid, guest.status)
                if record.incoming:
                    waiting.append(guest)
        return waiting

    async def detach(self) -> None:
        """Let go of all guests; they run on."""
        for task in self._watchers.values():
            task.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        for guest in self._running.values():
            await guest.detach()
        self._running.clear()
        self._watchers.clear()

    async def publish_forever(self) -> None:
        """Tell all nodes about this node's guests, at each interval and when one starts or ends."""
        while True:
            due = asyncio.get_running_loop().time() + INTERVAL_S
            self._changed.clear()
            self._records.measure()
            with contextlib.suppress(KvorumError):
                await self.store.publish(KEY, msgspec.msgpack.encode(self.records()), TTL_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):  # wait_for may lose a cancellation before Python 3.12
                    await self._changed.wait()

    async def end(self, vmid: int, reason: str) -> None:
        """Pull the plug of a guest that the caller holds (``exclusive``); nothing to do when it is off."""
        if guest := self._running.get(vmid):
            await guest.stop(reason)
            await self._gone(vmid)

    def tell(self) -> None:
        """Tell all nodes now, not at the next interval: a guest has just come here."""
        self._changed.set()

    # Below

    def _config_for_attach(self, vmid: int) -> GuestConfig:
        try:
            return self.registry.config(vmid)
        except KvorumError:
            return GuestConfig.parse(vmid, "")

    async def _watch(self, guest: RunningGuest) -> None:
        """Notice the end of QEMU, by its pidfd; say whether somebody wanted it."""
        await guest.process.ended.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(guest.monitor.closed.wait(), 5.0)
        if guest.end_reason:
            log.info("VM %d: ended: %s", guest.vmid, guest.end_reason)
        else:
            process = guest.process
            text = crash.sentence(guest.vmid, process.pid, process.status, process.last_output())
            log.error("%s", text)
            self._tell_crash(text)
        await guest.end_helpers()
        if self._running.get(guest.vmid) is guest:
            del self._running[guest.vmid]
            self._agents.pop(guest.vmid, None)
            self.workshop.files.remove(guest.vmid)
        await guest.detach()
        self._changed.set()
        if not guest.record.incoming and self.registry.owner(guest.vmid) == self.store.node:
            await hooks.run_gently(self.workshop.storages, guest.config, Phase.POST_STOP, lambda text: None)
        if self._watchers.get(guest.vmid) is asyncio.current_task():
            del self._watchers[guest.vmid]  # last, since who stops the guest waits for us

    async def _gone(self, vmid: int) -> None:
        """Wait until the watcher has cleared an ended guest away."""
        if task := self._watchers.get(vmid):
            await asyncio.wait_for(asyncio.shield(task), 10.0 + hooks.DEADLINE_S)
