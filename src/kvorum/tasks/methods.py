"""The API's methods about tasks."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import AfterValidator, Field

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.core.ids import Upid
from kvorum.interface import (
    Boolean,
    Context,
    Download,
    LoggedIn,
    NodeName,
    NoParameters,
    Page,
    Parameters,
    TextList,
    Vmid,
    Where,
    method,
)
from kvorum.store import log_entries
from kvorum.tasks.archive import Archive
from kvorum.tasks.cluster_tasks import cluster_rows
from kvorum.tasks.record import Filter, TaskRecord, TaskRow, newest_first, record_of, row
from kvorum.tasks.runner import TaskRunner


def _upid(text: str) -> str:
    Upid.parse(text)
    return text


UpidText = Annotated[str, AfterValidator(_upid)]


class TaskPath(Parameters):
    node: NodeName = Field(description="The node the task runs on.")
    upid: UpidText = Field(description="The task's id.")


class TaskList(Parameters):
    node: NodeName = Field(description="The node.")
    start: int = Field(0, ge=0, description="List offset.")
    limit: int = Field(50, ge=0, description="At most this many tasks; 0 for all.")
    source: Literal["archive", "active", "all"] = Field("archive", description="Ended or running tasks.")
    since: int | None = Field(None, description="Only tasks that began at this Unix time or later.")
    until: int | None = Field(None, description="Only tasks that began at this Unix time or earlier.")
    typefilter: str = Field("", description="Only tasks of this type.")
    userfilter: str = Field("", description="Only tasks of users with this in their name.")
    statusfilter: TextList = Field((), description="Only tasks that ended so: ok, error, warning, unknown.")
    vmid: Vmid | None = Field(None, description="Only tasks of this guest.")
    errors: Boolean = Field(False, description="Only tasks that failed.")


class LogParameters(Parameters):
    max: int = Field(50, ge=1, description="Maximum number of entries.")


class TaskLogPart(TaskPath):
    start: int = Field(0, ge=0, description="First line, from 0.")
    limit: int = Field(50, ge=0, description="At most this many lines; 0 for all.")
    download: Boolean = Field(False, description="The whole log as a file.")


class LogLine(TypedDict):
    """One line of a log, ``n`` counted from 1."""

    n: int
    t: str


class LogEntry(TypedDict):
    """One entry of the cluster's log; ``pri`` is syslog's severity."""

    id: str
    uid: int
    time: int
    pri: int
    tag: str
    pid: int
    node: str
    user: str
    msg: str


class TaskStatus(TypedDict):
    """A task as its status call shows it; ``progress`` (0 to 1) and ``doing`` while it says so."""

    upid: str
    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    status: str
    tokenid: NotRequired[str]
    exitstatus: NotRequired[str]
    endtime: NotRequired[int]
    progress: NotRequired[float]
    doing: NotRequired[str]


@method("GET", "/cluster/tasks", permission=LoggedIn())
async def cluster_tasks(ctx: Context, p: NoParameters) -> list[TaskRow]:
    """List recent tasks (cluster wide)."""
    sees_all = ctx.allowed("/", "Sys.Audit")
    return [r for r in cluster_rows(ctx.store) if sees_all or r["user"] == ctx.identity.user]


@method("GET", "/cluster/log", permission=LoggedIn())
async def cluster_log(ctx: Context, p: LogParameters) -> list[LogEntry]:
    """Read cluster log."""
    sees_all = ctx.allowed("/", "Sys.Syslog")
    entries = log_entries(ctx.store, 10_000)
    seen = [entry for entry in entries if sees_all or entry.user == ctx.identity.name]
    return [
        LogEntry(
            id=f"{entry.uid}:{entry.node}",
            uid=entry.uid,
            time=entry.time,
            pri=entry.pri,
            tag=entry.tag,
            pid=entry.pid,
            node=entry.node,
            user=entry.user,
            msg=entry.msg,
        )
        for entry in seen[: p.max]
    ]


@method(
    "GET",
    "/nodes/{node}/tasks",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
    remembered=True,
)
async def node_tasks(ctx: Context, p: TaskList) -> Page[TaskRow]:
    """Read task list for one node (finished tasks)."""
    records = await _own_records(ctx, p) if p.node == ctx.store.node else _remembered_records(ctx, p)
    wanted = Filter(
        user=p.userfilter,
        type=p.typefilter,
        vmid=str(p.vmid or ""),
        since=p.since,
        until=p.until,
        errors=p.errors,
        statuses=p.statusfilter,
    )
    sees_all = ctx.allowed(f"/nodes/{p.node}", "Sys.Audit")
    found = [
        record
        for record in records
        if wanted.fits(record) and (sees_all or record.upid.user.partition("!")[0] == ctx.identity.user)
    ]
    end = p.start + p.limit if p.limit else None
    return Page([row(record) for record in found[p.start : end]], len(found))


@method("GET", "/nodes/{node}/tasks/{upid}", permission=LoggedIn())
async def task_index(ctx: Context, p: TaskPath) -> list[dict[str, str]]:
    """Index of a task."""
    return [{"name": "log"}, {"name": "status"}]


@method("GET", "/nodes/{node}/tasks/{upid}/status", permission=LoggedIn(), where=Where.NODE, protected=True)
async def task_status(ctx: Context, p: TaskPath) -> TaskStatus:
    """Read task status."""
    _require(ctx, p, "Sys.Audit")
    runner = ctx.service(TaskRunner)
    runner.asked(p.upid, ctx.identity)
    record = runner.find(p.upid)
    shown = row(record)
    status = TaskStatus(**{**shown, "status": "stopped"})  # type: ignore[typeddict-item]
    if record.endtime is not None:
        status["exitstatus"] = record.status
        return status
    status["status"] = "running"
    if record.progress is not None:
        status["progress"] = round(record.progress, 4)
    if record.doing:
        status["doing"] = record.doing
    return status


@method("GET", "/nodes/{node}/tasks/{upid}/log", permission=LoggedIn(), where=Where.NODE, protected=True)
async def task_log(ctx: Context, p: TaskLogPart) -> Page[LogLine] | Download[None]:
    """Read task log."""
    _require(ctx, p, "Sys.Audit")
    archive, upid = ctx.service(Archive), Upid.parse(p.upid)
    ctx.service(TaskRunner).asked(p.upid, ctx.identity)
    if p.download:
        if beside := {"start", "limit"} & p.model_fields_set:
            why = "can't be given with 'download', which is the whole log"
            raise ParameterError(dict.fromkeys(beside, why))
        file = archive.log_file(upid)
        if not await asyncio.to_thread(file.is_file):
            raise KvorumError(f"no such task '{p.upid}' on node '{p.node}'")
        moment = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(upid.starttime))
        return Download(file, "text/plain; charset=utf-8", f"task-{upid.node}-{upid.type}-{moment}.log")
    lines = await asyncio.to_thread(archive.log_lines, upid)
    if lines is None:
        raise KvorumError(f"no such task '{p.upid}' on node '{p.node}'")
    end = p.start + p.limit if p.limit else None
    shown = enumerate(lines[p.start : end], p.start + 1)
    return Page([LogLine(n=number, t=text) for number, text in shown], len(lines))


@method("DELETE", "/nodes/{node}/tasks/{upid}", permission=LoggedIn(), where=Where.NODE, protected=True)
async def stop_task(ctx: Context, p: TaskPath) -> None:
    """Stop a task."""
    _require(ctx, p, "Sys.Modify")
    await ctx.service(TaskRunner).stop(p.upid, ctx.identity.name)


async def _own_records(ctx: Context, p: TaskList) -> list[TaskRecord]:
    runner = ctx.service(TaskRunner)
    records = runner.running() if p.source != "archive" else []
    if p.source != "active":
        records = newest_first([*records, *await asyncio.to_thread(runner.ended)])
    return records


def _remembered_records(ctx: Context, p: TaskList) -> list[TaskRecord]:
    """What a node that is gone has told last; raises ``KvorumError`` when there never was such a node."""
    told = [record_of(r) for r in cluster_rows(ctx.store) if r["node"] == p.node]
    if not told and p.node not in {member.name for member in ctx.store.membership.members}:
        raise KvorumError(f"no such cluster node '{p.node}'")
    return told if p.source != "active" else []


def _require(ctx: Context, p: TaskPath, privilege: str) -> None:
    """A task's own user may see and stop it; others need the privilege on the node."""
    if Upid.parse(p.upid).user == ctx.identity.name or ctx.allowed(f"/nodes/{p.node}", privilege):
        return
    raise PermissionDenied(f"Permission check failed (/nodes/{p.node}, {privilege})")
