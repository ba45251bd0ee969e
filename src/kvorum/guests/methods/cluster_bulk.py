"""Guests of the whole cluster at once: one task where it was asked for, and one for each guest on its node.

The asked node walks the guests, some at the same time; each guest's own node carries its part out as the task
it always is, in the name of who asked. A stop of the walk begins nothing new; what has begun goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from kvorum.core.errors import DeadlineExceeded, KvorumError, ParameterError, PermissionDenied
from kvorum.core.ids import Upid
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.bulk import VmidList, require_all_named
from kvorum.guests.methods.migrate import migration_of, migration_rate
from kvorum.guests.methods.parameters import GuestPath
from kvorum.guests.methods.transport import transport
from kvorum.guests.migration.wish import Wish
from kvorum.guests.registry import owners
from kvorum.guests.statistics import GuestRecord, read_records
from kvorum.guests.suspend.suspension import Suspensions
from kvorum.guests.together import walk
from kvorum.interface import (
    Boolean,
    Context,
    LoggedIn,
    NodeName,
    NodeOnly,
    Parameters,
    Peers,
    StorageName,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.tasks import OK, TaskRunner

Action = Literal["start", "shutdown", "suspend", "migrate"]
_BASE = "/cluster/bulk-action/guest"
_PART = "/kvorum/nodes/{node}/bulk/{vmid}"
_END = "/kvorum/nodes/{node}/ended/{upid}"
ASK_TIMEOUT_S = 20.0
WAIT_S = 30.0
"""One question after a part's end takes so long at most; then it is asked again."""
MOST_FAILURES = 10
"""Questions in a row that a node may leave unanswered (it restarts, say) until its part counts as lost."""
AGAIN_S = 2.0


class _Bulk(Parameters):
    vms: VmidList | None = Field(None, description="Only these guests.")
    max_workers: int | None = Field(None, alias="max-workers", ge=1, le=64, description="At the same time.")
    maxworkers: int | None = Field(None, ge=1, le=64, description="The former name of max-workers.")


class BulkStart(_Bulk):
    timeout: int | None = Field(None, ge=0, description="Seconds; a start has its own deadlines here.")


class BulkShutdown(_Bulk):
    force_stop: Boolean = Field(True, alias="force-stop", description="Stop what does not shut down in time.")
    timeout: int = Field(180, ge=0, le=7200, description="Seconds until a guest is stopped hard.")


class BulkSuspend(_Bulk):
    to_disk: Boolean = Field(False, alias="to-disk", description="Write the memory to disk.")
    statestorage: StorageName | None = Field(None, description="Where to, with 'to-disk'.")


class BulkMigrate(_Bulk):
    target: NodeName = Field(description="Target node.")
    online: Boolean = Field(False, description="Move guests that run, without an interruption.")
    with_local_disks: Boolean = Field(
        False, alias="with-local-disks", description="Move disks of local storages too."
    )


class Part(GuestPath):
    """One guest's part, as one node asks another for it."""

    action: Action
    user: str
    force_stop: Boolean = False
    timeout: int = 180
    target: str = ""
    online: Boolean = False
    with_local_disks: Boolean = False
    to_disk: Boolean = False
    statestorage: str = ""


def _upid(text: object) -> object:
    Upid.parse(str(text))
    return text


class PartEnd(Parameters):
    node: NodeName
    upid: Annotated[str, BeforeValidator(_upid)]


@method("POST", f"{_BASE}/start", permission=LoggedIn(), protected=True, task=True)
async def start(ctx: Context, p: BulkStart) -> Work:
    """Bulk start or resume all guests on the cluster."""
    return _work(ctx, p, "start", {}, wanted="stopped")


@method("POST", f"{_BASE}/shutdown", permission=LoggedIn(), protected=True, task=True)
async def shutdown(ctx: Context, p: BulkShutdown) -> Work:
    """Bulk shutdown all guests on the cluster."""
    given = {"force_stop": p.force_stop, "timeout": p.timeout}
    return _work(ctx, p, "shutdown", given, wanted="running")


@method("POST", f"{_BASE}/suspend", permission=LoggedIn(), protected=True, task=True)
async def suspend(ctx: Context, p: BulkSuspend) -> Work:
    """Bulk suspend all guests on the cluster."""
    if p.statestorage is not None and not p.to_disk:
        raise ParameterError({"statestorage": "has a meaning with 'to-disk' alone"})
    if p.to_disk:
        _require_disk(ctx, p)
    given = {"to_disk": p.to_disk, "statestorage": p.statestorage or ""}
    return _work(ctx, p, "suspend", given, wanted="running")


@method("POST", f"{_BASE}/migrate", permission=LoggedIn(), protected=True, task=True)
async def migrate(ctx: Context, p: BulkMigrate) -> Work:
    """Bulk migrate all guests on the cluster."""
    if p.target not in {member.name for member in ctx.store.membership.members if member.online}:
        raise ParameterError({"target": f"node '{p.target}' is not online in the cluster"})
    given = {"target": p.target, "online": p.online, "with_local_disks": p.with_local_disks}
    return _work(ctx, p, "migrate", given, privilege="VM.Migrate", workers=1)


@method("POST", _PART, permission=NodeOnly(), where=Where.NODE, protected=True)
async def part(ctx: Context, p: Part) -> str:
    """Begin one guest's part as a task of this node, and return its UPID."""
    manager = ctx.service(GuestManager)
    manager.registry.file(p.vmid)
    manager.check_quorum()
    acts: Mapping[Action, tuple[str, Callable[[TaskLog], Awaitable[None]]]] = {
        "start": ("qmstart", lambda log: _start(manager, p.vmid, log)),
        "shutdown": ("qmshutdown", lambda log: _shut_down(manager, p, log)),
        "suspend": ("qmsuspend", lambda log: _suspend(ctx, p, log)),
        "migrate": ("qmigrate", lambda log: migration_of(ctx, _wish(ctx, p), log).run()),
    }
    type, run = acts[p.action]
    return ctx.service(TaskRunner).start(Work(type, str(p.vmid), run), p.user)


@method("GET", _END, permission=NodeOnly(), where=Where.NODE, protected=True)
async def part_end(ctx: Context, p: PartEnd) -> str | None:
    """Wait for the end of a part a while; how it ended, nothing while it runs."""
    try:
        return (await ctx.service(TaskRunner).wait(p.upid, WAIT_S)).status
    except DeadlineExceeded:
        return None


async def _start(manager: GuestManager, vmid: int, log: TaskLog) -> None:
    """Start it, or let it go on when it stands still."""
    running = manager.running(vmid)
    if running is None:
        await manager.start(vmid, say=log.line)
    elif running.status == "paused":
        await manager.resume(vmid)
    else:
        log.line(f"VM {vmid} runs already")


async def _shut_down(manager: GuestManager, p: Part, log: TaskLog) -> None:
    if manager.running(p.vmid) is None:
        log.line(f"VM {p.vmid} does not run")
    else:
        await manager.shutdown(p.vmid, timeout=p.timeout, force=p.force_stop)


async def _suspend(ctx: Context, p: Part, log: TaskLog) -> None:
    manager = ctx.service(GuestManager)
    if manager.running(p.vmid) is None:
        log.line(f"VM {p.vmid} does not run")
    elif p.to_disk:
        await ctx.service(Suspensions).suspend(p.vmid, storage=p.statestorage, who=p.user, log=log)
    else:
        await manager.suspend(p.vmid)


def _require_disk(ctx: Context, p: BulkSuspend) -> None:
    """Raise ``PermissionDenied`` for who may not write these guests' memory to disk."""
    storage = "/storage" if p.statestorage is None else f"/storage/{p.statestorage}"
    places = ["/vms"] if p.vms is None else [f"/vms/{vmid}" for vmid in p.vms]
    wanted = [*((place, "VM.Config.Disk") for place in places), (storage, "Datastore.AllocateSpace")]
    for path, privilege in wanted:
        if not ctx.allowed(path, privilege):
            raise PermissionDenied(f"Permission check failed ({path}, {privilege})")


def _wish(ctx: Context, p: Part) -> Wish:
    return Wish(
        vmid=p.vmid,
        target=p.target,
        online=p.online,
        with_local_disks=p.with_local_disks,
        rate_kib_s=migration_rate(ctx, p.vmid, None),
        **transport(ctx),
        who=p.user,
    )


def _work(
    ctx: Context,
    p: _Bulk,
    action: Action,
    given: Mapping[str, object],
    *,
    wanted: str = "",
    privilege: str = "VM.PowerMgmt",
    workers: int = 4,
) -> Work:
    """The walk as a task. Where none are named, it is about those in the state ``wanted``, as nodes tell it.

    Raises ``PermissionDenied``, and ``ParameterError`` for a guest that does not exist.
    """
    require_all_named(ctx, p.vms, privilege)
    places = owners(ctx.store.guests())
    if unknown := sorted(set(p.vms or ()) - places.keys()):
        raise ParameterError({"vms": f"there is no VM {unknown[0]}"})
    told = {(node, one.vmid): one for node, found in read_records(ctx.store).items() for one in found}
    target = given.get("target")
    vmids = [
        vmid
        for vmid, node in places.items()
        if node != target and (_concerned(told.get((node, vmid)), wanted) if p.vms is None else vmid in p.vms)
    ]
    peers, store, user = ctx.service(Peers), ctx.store, ctx.identity.name

    async def one(vmid: int, log: TaskLog) -> None:
        node = owners(store.guests()).get(vmid)
        if node is None:
            raise KvorumError("it is gone")
        question = {"action": action, "user": user, **given}
        path = f"/kvorum/nodes/{node}/bulk/{vmid}"
        upid = str(await peers.call(node, "POST", path, question, timeout=ASK_TIMEOUT_S))
        log.line(f"VM {vmid}: {action} on node '{node}': {upid}")
        status = await _end_of(peers, node, upid)
        if status != OK:
            raise KvorumError(status)

    at_once = p.max_workers or p.maxworkers or workers
    return Work(f"bulk{action}", "", lambda log: walk(vmids, at_once, one, log))


async def _end_of(peers: Peers, node: str, upid: str) -> str:
    """How a part ended. Raises ``KvorumError`` when its node can't be asked for too long."""
    failures = 0
    while True:
        try:
            path = f"/kvorum/nodes/{node}/ended/{upid}"
            status = await peers.call(node, "GET", path, timeout=WAIT_S + ASK_TIMEOUT_S)
        except KvorumError:
            failures += 1
            if failures == MOST_FAILURES:
                raise
            await asyncio.sleep(AGAIN_S)
            continue
        failures = 0
        if status is not None:
            return str(status)


def _concerned(record: GuestRecord | None, wanted: str) -> bool:
    """Whether something is to be done with a guest, as far as its node has told; who is silent is tried."""
    if record is None or not wanted:
        return True
    stands_still = wanted == "stopped" and record.qmpstatus == "paused"
    return not record.template and (record.status == wanted or stands_still)
