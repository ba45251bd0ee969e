"""Many guests at once: those of one node started, shut down or moved away, one task for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.guests.manager import GuestManager
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
    wanted = [vmid for vmid in _chosen(ctx, p) if every or _starts_at_boot(manager, vmid)]
    asleep = [vmid for vmid in wanted if manager.running(vmid) is None]

    async def one(vmid: int, log: TaskLog) -> None:
        log.line(f"Starting VM {vmid}")
        await manager.start(vmid)

    return _work("startall", asleep, p.max_workers, one)


@method("POST", "/nodes/{node}/stopall", permission=LoggedIn(), where=Where.NODE, protected=True, task=True)
async def stop_all(ctx: Context, p: StopAll) -> Work:
    """Stop all VMs and Containers."""
    manager = ctx.service(GuestManager)
    awake = [vmid for vmid in _chosen(ctx, p) if manager.running(vmid) is not None]

    async def one(vmid: int, log: TaskLog) -> None:
        log.line(f"Stopping VM {vmid} (timeout = {p.timeout} seconds)")
        await manager.shutdown(vmid, timeout=p.timeout, force=p.force_stop)

    return _work("stopall", awake, p.max_workers, one)


def _starts_at_boot(manager: GuestManager, vmid: int) -> bool:
    """Whether a guest has ``onboot``; one whose configuration can't be read is tried, which says why."""
    try:
        return manager.registry.config(vmid).flag("onboot")
    except KvorumError:
        return True


def _chosen(ctx: Context, p: _OfNode) -> list[int]:
    """The guests of this node that are meant, in the order of their ids.

    Who may not do this with all of them must name those with which it may. Raises ``PermissionDenied``,
    ``ParameterError`` for a guest that is not here, and ``NoQuorum``.
    """
    manager = ctx.service(GuestManager)
    here = sorted(record.vmid for record in manager.records())
    if p.vms is None and not ctx.allowed("/", "VM.PowerMgmt"):
        raise PermissionDenied("Permission check failed (/, VM.PowerMgmt)")
    for vmid in p.vms or ():
        if not ctx.allowed(f"/vms/{vmid}", "VM.PowerMgmt"):
            raise PermissionDenied(f"Permission check failed (/vms/{vmid}, VM.PowerMgmt)")
        if vmid not in here:
            raise ParameterError({"vms": f"VM {vmid} is not on node '{p.node}'"})
    manager.check_quorum()
    return here if p.vms is None else sorted(set(p.vms))


def _work(
    type: str, vmids: Sequence[int], workers: int | None, one: Callable[[int, TaskLog], Awaitable[None]]
) -> Work:
    """A task that does ``one`` for each guest; what fails is a warning, and the others go on."""

    async def run(log: TaskLog) -> None:
        gate, done = asyncio.Semaphore(workers or WORKERS), 0

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
                group.create_task(guarded(vmid), name=f"{type} {vmid}")

    return Work(type, "", run)
