"""The running part of the guests' room: the manager, incoming migrations, and what starts them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.guests.console import SerialPorts
from kvorum.guests.console.spice import SpiceSessions
from kvorum.guests.copies.clone import Clones
from kvorum.guests.copies.running import give_up_earlier
from kvorum.guests.copies.template import Templates
from kvorum.guests.host.boot import HostGuests
from kvorum.guests.leftovers import Leftovers
from kvorum.guests.machine.commandline import NodeFacts
from kvorum.guests.machine.facts import BINARY, find_facts
from kvorum.guests.machine.guest import RunningGuest, Workshop
from kvorum.guests.machine.launcher import Launcher, PlainLauncher, SystemLauncher
from kvorum.guests.machine.process import end, left_over
from kvorum.guests.machine.runtime import RunFiles
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration.recovery import recover_source, recover_stopped
from kvorum.guests.migration.target import Incoming
from kvorum.guests.move.truth import Truth
from kvorum.guests.settling import Settler
from kvorum.guests.snapshots.snapshots import Snapshots
from kvorum.guests.suspend.suspension import Suspensions
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Services
from kvorum.storage import HalfMade, Storages
from kvorum.store import ClusterLog, Severity, Store
from kvorum.systemd import Systemd
from kvorum.tasks import TaskRunner

log = logging.getLogger(__name__)

SETTLE_DEADLINE_S = 10.0


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Take up the guests that run, register ``GuestManager`` and ``Incoming``, tell all nodes about guests.

    Left, it lets go of the guests; they run on. An installed node's root uses systemd and uids of the guests'
    own; anybody else, or another place, starts QEMU as the caller.
    """
    async with AsyncExitStack() as stack:
        launcher: Launcher = PlainLauncher()
        if paths == Paths.system() and os.geteuid() == 0:
            launcher = SystemLauncher(await stack.enter_async_context(Systemd()))
        storages = services.get(Storages)
        facts = await _facts(paths)
        workshop = Workshop(launcher, storages, RunFiles(paths.guests_run), facts)
        workshop.files.prepare()
        manager = GuestManager(store, workshop)
        cluster_log = services.get(ClusterLog)
        manager.tells_crashes_by(lambda text: cluster_log.note("root@pam", text, Severity.ERROR))
        incoming = Incoming(manager, storages, paths.state)
        services.add(GuestManager, manager)
        services.add(Incoming, incoming)
        services.add(SerialPorts, SerialPorts(manager))
        services.add(SpiceSessions, SpiceSessions())
        unfinished = Unfinished(manager, storages, paths.state / "unfinished")
        services.add(Unfinished, unfinished)
        unfinished.before_removing(Truth(manager, storages).restore)
        snapshots = Snapshots(manager, storages, unfinished)
        services.add(Snapshots, snapshots)
        suspensions = Suspensions(manager, storages, unfinished)
        services.add(Suspensions, suspensions)
        services.add(Clones, Clones(manager, storages, unfinished))
        templates = Templates(manager, storages)
        services.add(Templates, templates)
        half_made = services.get(HalfMade)
        settlers = [unfinished, snapshots, suspensions, templates]
        services.add(Leftovers, Leftovers(manager, storages, unfinished, half_made, settlers))
        waiting = await manager.attach()
        for guest in manager.all_running():
            await _quietly(f"VM {guest.vmid}", give_up_earlier(manager, guest), SETTLE_DEADLINE_S)
        await _quietly("guests that stand still", suspensions.attached(), SETTLE_DEADLINE_S)
        if isinstance(launcher, SystemLauncher):
            await asyncio.to_thread(_end_left_over)
        await _quietly("what was half-made", half_made.settle(), SETTLE_DEADLINE_S)

        async def settle() -> None:
            for settler in settlers:
                await _quietly(settler.settles, settler.settle_earlier(), SETTLE_DEADLINE_S)

        if store.membership.quorate:
            # Before anybody is answered: a second try must not meet what the first has left.
            await settle()
        for settler in settlers:
            settler.settle_later()
        stack.push_async_callback(manager.detach)
        stack.push_async_callback(incoming.close)

        async def settle_at_boot() -> None:
            await settle()
            await _quietly("guests that were on their way", recover_stopped(manager), SETTLE_DEADLINE_S)

        host = HostGuests(manager, services.get(TaskRunner), paths.run / "guests-at-boot", settle_at_boot)
        services.add(HostGuests, host)
        stack.callback(host.leave)
        host.resume()
        work = asyncio.create_task(_work(manager, incoming, settlers, waiting), name="guests")
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def _end_left_over() -> None:
    """End what a killed daemon had only just begun: it would hold disks that nobody knows to be in use."""
    for pid in left_over():
        log.warning("ending pid %d, which an earlier daemon had begun and not finished", pid)
        end(pid)


async def _work(
    manager: GuestManager,
    incoming: Incoming,
    settlers: Sequence[Settler],
    waiting: list[RunningGuest],
) -> None:
    async with asyncio.TaskGroup() as group:
        for settler in settlers:
            group.create_task(settler.keep_settling(), name=f"what was left: {type(settler).__name__}")
        group.create_task(manager.publish_forever(), name="guests' statistics")
        group.create_task(_quietly("incoming guests", incoming.recover(waiting)))
        group.create_task(_quietly("guests that were on their way", recover_stopped(manager)))
        for guest in manager.all_running():
            if not guest.record.incoming:
                group.create_task(_quietly(f"VM {guest.vmid}", recover_source(manager, guest)))


async def _quietly(what: str, work: Awaitable[None], deadline_s: float | None = None) -> None:
    """A failure of one recovery must not end the others; it is logged."""
    try:
        async with asyncio.timeout(deadline_s):
            await work
    except KvorumError as error:
        log.error("%s: after the restart: %s", what, error)
    except TimeoutError:
        log.error("%s: after the restart: it takes longer than %g s", what, deadline_s)


async def _facts(paths: Paths) -> NodeFacts:
    """What QEMU can do here; a node without QEMU still serves everything else, and says so at a start."""
    try:
        facts = await find_facts(paths.run)
    except KvorumError as error:
        log.error("guests can't run here: %s", error)
        return NodeFacts(BINARY, "", "tcg", {}, str(error))
    log.info("guests run with %s under QEMU %s %s", facts.accelerator, facts.version, facts.reason)
    return facts
