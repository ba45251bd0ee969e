"""Many guests at once: those of one node started, shut down, suspended or moved away, one task for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.guests.config.hardware import Startup
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.migrate import migration_of, migration_rate
from kvorum.guests.migration.wish import Wish
from kvorum.guests.order import Group, backwards, groups
from kvorum.interface import (
    Boolean,
    Context,
    LoggedIn,
    NodeName,
    Parameters,
    TaskLog,
    Vmid,
    Where,
    Work,
    method,
    split_list,
)

WORKERS = 4
"""Guests that are worked on at the same time, unless the call or datacenter.cfg says otherwise."""
SHUTDOWN_TIMEOUT_S = 180


def _split_each(value: object) -> object:
    parts = value if isinstance(value, list | tuple) else [value]
    return [word for part in parts for word in (split_list(part) if isinstance(part, str) else [part])]


VmidList = Annotated[tuple[Vmid, ...], BeforeValidator(_split_each)]
"""``100,101``, or the name repeated."""


class _OfNode(Parameters):
    node: NodeName
    vms: VmidList | None = Field(None, description="Only these guests.")
    max_workers: int | None = Field(None, alias="max-workers", ge=1, le=64, description="At the same time.")


class SuspendAll(_OfNode):
    pass


class MigrateAll(_OfNode):
    target: NodeName = Field(description="Target node.")
    maxworkers: int | None = Field(None, ge=1, le=64, description="The former name of max-workers.")
    with_local_disks: Boolean = Field(
        False, alias="with-local-disks", description="Move disks of local storages too."
    )


class StartAll(_OfNode):
    force: Boolean = Field(False, description="Also guests that are not started at boot.")


class StopAll(_OfNode):
    force_stop: Boolean = Field(True, alias="force-stop", description="Stop what does not shut down in time.")
    timeout: int = Field(
        SHUTDOWN_TIMEOUT_S, ge=0, le=7200, description="Seconds until a guest is stopped hard."
    )


@method("POST", "/nodes/{node}/startall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True)
async def start_all(ctx: Context, p: StartAll) -> Work:
    """Start all VMs and containers located on this node (by default only those with onboot=1)."""
    manager = ctx.service(GuestManager)
    every = p.force or p.vms is not None
    wanted = [vmid for vmid in _chosen(ctx, p, "VM.PowerMgmt") if every or _starts_at_boot(manager, vmid)]
    asleep = [vmid for vmid in wanted if manager.running(vmid) is None]

    async def one(vmid: int, log: TaskLog) -> None:
        log.line(f"Starting VM {vmid}")
        await manager.start(vmid)

    steps = groups({vmid: _startup(manager, vmid) for vmid in asleep})
    return Work("startall", "", lambda log: walk_groups(steps, p.max_workers or WORKERS, one, log))


@method("POST", "/nodes/{node}/stopall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True)
async def stop_all(ctx: Context, p: StopAll) -> Work:
    """Stop all VMs and Containers."""
    manager = ctx.service(GuestManager)
    awake = [vmid for vmid in _chosen(ctx, p, "VM.PowerMgmt") if manager.running(vmid) is not None]

    async def one(vmid: int, log: TaskLog) -> None:
        own = _startup(manager, vmid).down_s
        timeout = p.timeout if own is None else own
        log.line(f"Stopping VM {vmid} (timeout = {timeout} seconds)")
        await manager.shutdown(vmid, timeout=timeout, force=p.force_stop)

    steps = backwards({vmid: _startup(manager, vmid) for vmid in awake})
    return Work("stopall", "", lambda log: walk_groups(steps, p.max_workers or WORKERS, one, log))


@method(
    "POST", "/nodes/{node}/suspendall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True
)
async def suspend_all(ctx: Context, p: SuspendAll) -> Work:
    """Suspend all VMs."""
    manager = ctx.service(GuestManager)
    awake = [vmid for vmid in _chosen(ctx, p, "VM.PowerMgmt") if manager.running(vmid) is not None]

    async def one(vmid: int, log: TaskLog) -> None:
        log.line(f"Suspending VM {vmid}")
        await manager.suspend(vmid)

    return _work("suspendall", awake, p.max_workers, one)


@method(
    "POST", "/nodes/{node}/migrateall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True
)
async def migrate_all(ctx: Context, p: MigrateAll) -> Work:
    """Migrate all VMs and Containers: those that run without an interruption."""
    manager, who = ctx.service(GuestManager), ctx.identity.name
    here = _chosen(ctx, p, "VM.Migrate")
    if p.target == ctx.store.node:
        raise ParameterError({"target": f"the guests are on node '{p.target}' already; choose another"})
    if p.target not in {member.name for member in ctx.store.membership.members if member.online}:
        raise ParameterError({"target": f"node '{p.target}' is not online in the cluster"})

    async def one(vmid: int, log: TaskLog) -> None:
        log.line(f"Migrating VM {vmid} to node '{p.target}'")
        wish = Wish(
            vmid=vmid,
            target=p.target,
            online=manager.running(vmid) is not None,
            with_local_disks=p.with_local_disks,
            rate_kib_s=migration_rate(ctx, vmid, None),
            who=who,
        )
        await migration_of(ctx, wish, _OfGuest(vmid, log)).run()

    return _work("migrateall", here, p.max_workers or p.maxworkers or 1, one)


class _OfGuest:
    """A task's log for one of its guests: each line says which, and its progress is not the task's."""

    def __init__(self, vmid: int, log: TaskLog) -> None:
        self._vmid = vmid
        self._log = log

    def line(self, text: str) -> None:
        self._log.line(f"VM {self._vmid}: {text}")

    def warn(self, text: str) -> None:
        self._log.warn(f"VM {self._vmid}: {text}")

    def progress(self, fraction: float, text: str = "") -> None:
        return


def _starts_at_boot(manager: GuestManager, vmid: int) -> bool:
    """Whether a guest has ``onboot``; one whose configuration can't be read is tried, which says why."""
    try:
        return manager.registry.config(vmid).flag("onboot")
    except KvorumError:
        return True


def _chosen(ctx: Context, p: _OfNode, privilege: str) -> list[int]:
    """The guests of this node that are meant, in the order of their ids.

    Who may not do this with all of them must name those with which it may. Raises ``PermissionDenied``,
    ``ParameterError`` for a guest that is not here, and ``NoQuorum``.
    """
    manager = ctx.service(GuestManager)
    here = sorted(record.vmid for record in manager.records())
    require_all_named(ctx, p.vms, privilege)
    for vmid in p.vms or ():
        if vmid not in here:
            raise ParameterError({"vms": f"VM {vmid} is not on node '{p.node}'"})
    manager.check_quorum()
    return here if p.vms is None else sorted(set(p.vms))


def require_all_named(ctx: Context, vms: Sequence[int] | None, privilege: str) -> None:
    """Raise ``PermissionDenied`` unless the caller has the privilege on all that are named (or on ``/``)."""
    for place in ["/"] if vms is None else [f"/vms/{vmid}" for vmid in vms]:
        if not ctx.allowed(place, privilege):
            raise PermissionDenied(f"Permission check failed ({place}, {privilege})")


def _work(
    type: str, vmids: Sequence[int], workers: int | None, one: Callable[[int, TaskLog], Awaitable[None]]
) -> Work:
    return Work(type, "", lambda log: walk(vmids, workers or WORKERS, one, log))


def _startup(manager: GuestManager, vmid: int) -> Startup:
    """When a guest's turn is; one whose configuration can't be read has none of its own."""
    try:
        return manager.registry.config(vmid).startup
    except KvorumError:
        return Startup(None, None, None)


async def walk_groups(
    steps: Sequence[Group], workers: int, one: Callable[[int, TaskLog], Awaitable[None]], log: TaskLog
) -> None:
    """Do ``one`` for each guest, a group after the other."""
    for number, group in enumerate(steps):
        await walk(group.vmids, workers, one, log)
        if group.pause_s and number + 1 < len(steps):
            log.line(f"waiting {group.pause_s} s before the next guests")
            await asyncio.sleep(group.pause_s)


async def walk(
    vmids: Sequence[int], workers: int, one: Callable[[int, TaskLog], Awaitable[None]], log: TaskLog
) -> None:
    """Do ``one`` for each guest, ``workers`` at a time; what fails is a warning, and the others go on."""
    gate, done = asyncio.Semaphore(workers), 0

    async def guarded(vmid: int) -> None:
        nonlocal done
        async with gate:
            try:
                await one(vmid, log)
            except KvorumError as error:
                log.warn(f"VM {vmid}: {error}")
        done += 1
        log.progress(done / len(vmids))

    async with asyncio.TaskGroup() as group:
        for vmid in vmids:
            group.create_task(guarded(vmid), name=f"guest {vmid}")
