"""Many guests at once: those of one node started, shut down, suspended or moved away, one task for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.migrate import migration_of, migration_rate
from kvorum.guests.methods.transport import transport
from kvorum.guests.migration.wish import Wish
from kvorum.guests.together import (
    SHUTDOWN_TIMEOUT_S,
    WORKERS,
    shut_down_in_order,
    start_in_order,
    starts_at_boot,
    walk,
)
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
    wanted = [vmid for vmid in _chosen(ctx, p, "VM.PowerMgmt") if every or starts_at_boot(manager, vmid)]
    asleep = [vmid for vmid in wanted if manager.running(vmid) is None]

    workers = p.max_workers or WORKERS
    return Work("startall", "", lambda log: start_in_order(manager, asleep, log, workers))


@method("POST", "/nodes/{node}/stopall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True)
async def stop_all(ctx: Context, p: StopAll) -> Work:
    """Stop all VMs and Containers."""
    manager = ctx.service(GuestManager)
    awake = [vmid for vmid in _chosen(ctx, p, "VM.PowerMgmt") if manager.running(vmid) is not None]

    async def run(log: TaskLog) -> None:
        workers = p.max_workers or WORKERS
        await shut_down_in_order(manager, awake, log, workers, timeout_s=p.timeout, force=p.force_stop)

    return Work("stopall", "", run)


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
            **transport(ctx),
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
