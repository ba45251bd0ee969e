"""The lists of jobs and of HA, as their files in the store say: replication, backup, schedules, HA resources.

Nothing of this runs yet; what is configured is shown as it is, and where nothing is, lists are empty.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kvorum.core import sections
from kvorum.core.calendar_event import MAX_LENGTH, CalendarEvent
from kvorum.core.errors import KvorumError
from kvorum.core.sections import Section
from kvorum.guests import owners, read_records
from kvorum.interface import Command, Context, LoggedIn, NoParameters, Parameters, Vmid, Where, method
from kvorum.node import backup_jobs
from kvorum.node.methods.models import CLUSTER_AUDIT, NodePath, Row
from kvorum.store import Store

REPLICATION, JOBS = "replication.cfg", "jobs.cfg"
_NUMBERS = frozenset({"max_restart", "max_relocate", "bwlimit", "ionice", "lockwait", "stopwait", "maxfiles"})
_FLAGS = frozenset({"disable", "enabled", "all", "failback", "protected", "quiet", "remove", "repeat-missed"})


def _schedule(text: str) -> str:
    CalendarEvent.parse(text)
    return text


class ReplicationId(Parameters):
    id: str = Field(pattern=r"^[1-9][0-9]{2,8}-\d{1,9}$", description="The job's id: GUEST-NUMBER.")


class NodeReplication(NodePath):
    guest: Vmid | None = Field(None, description="Only jobs of this guest.")


class JobId(Parameters):
    id: str = Field(max_length=50, pattern=r"^\S+$", description="The job's id.")


class ScheduleQuestion(Parameters):
    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        max_length=MAX_LENGTH, description="Job schedule. The format is a subset of systemd calendar events."
    )
    starttime: int | None = Field(None, description="Unix time to begin with; now by default.")
    iterations: int = Field(10, ge=1, le=100, description="How many moments.")


class HaResources(Parameters):
    type: Literal["ct", "vm"] | None = Field(None, description="Only resources of this type.")


class HaResource(Parameters):
    sid: str = Field(description="HA resource ID: vm:100, or the VM's id.")


class HaGroup(Parameters):
    group: str = Field(description="The HA group's name.")


class HaRules(Parameters):
    resource: str | None = Field(None, description="Only rules about this resource.")
    type: Literal["node-affinity", "resource-affinity"] | None = Field(None, description="Only this type.")


class HaRule(Parameters):
    rule: str = Field(description="The HA rule's name.")


@method("GET", "/cluster/replication", permission=LoggedIn(), commands=(Command("pvesr list"),))
async def replication_jobs(ctx: Context, p: NoParameters) -> list[Row]:
    """List replication jobs."""
    return [row for row in _replication(ctx.store) if ctx.allowed(f"/vms/{row['guest']}", "VM.Audit")]


@method("GET", "/cluster/replication/{id}", permission=LoggedIn(), commands=(Command("pvesr read", "id"),))
async def replication_job(ctx: Context, p: ReplicationId) -> Row:
    """Read replication job configuration."""
    rows: list[Row] = await replication_jobs(ctx, NoParameters())
    return _one(ctx.store, REPLICATION, rows, lambda row: row["id"] == p.id, f"replication job '{p.id}'")


@method(
    "GET",
    "/nodes/{node}/replication",
    permission=LoggedIn(),
    where=Where.NODE,
    commands=(Command("pvesr status"),),
)
async def node_replication(ctx: Context, p: NodeReplication) -> list[Row]:
    """List status of all replication jobs on this node."""
    owner_of = owners(ctx.store.guests())
    return [
        row
        for row in await replication_jobs(ctx, NoParameters())
        if owner_of.get(_guest(str(row["id"]))) == p.node and p.guest in (None, row["guest"])
    ]


@method("GET", "/cluster/backup", permission=CLUSTER_AUDIT)
async def backup_list(ctx: Context, p: NoParameters) -> list[Row]:
    """List vzdump backup schedule."""
    return [_backup_row(section) for section in _sections(ctx.store, JOBS) if section.type == "vzdump"]


@method("GET", "/cluster/backup/{id}", permission=CLUSTER_AUDIT)
async def backup_job(ctx: Context, p: JobId) -> Row:
    """Read vzdump backup job definition."""
    rows: list[Row] = await backup_list(ctx, NoParameters())
    return _one(ctx.store, JOBS, rows, lambda row: row["id"] == p.id, f"backup job '{p.id}'")


@method("GET", "/cluster/backup-info/not-backed-up", permission=CLUSTER_AUDIT)
async def not_backed_up(ctx: Context, p: NoParameters) -> list[Row]:
    """Shows all guests which are not covered by any backup job."""
    owner_of = owners(ctx.store.guests())
    names = {guest.vmid: guest.name for guests in read_records(ctx.store).values() for guest in guests}
    users = ctx.store.read("user.cfg")
    jobs = [section for section in _sections(ctx.store, JOBS) if section.type == "vzdump"]
    covered = backup_jobs.covered(jobs, owner_of, users.text if users else "")
    return [
        {"vmid": vmid, "type": "qemu"} | ({"name": names[vmid]} if names.get(vmid) else {})
        for vmid in sorted(owner_of.keys() - covered)
        if ctx.allowed(f"/vms/{vmid}", "VM.Audit")
    ]


@method("GET", "/cluster/jobs/schedule-analyze", permission=LoggedIn())
async def schedule_analyze(ctx: Context, p: ScheduleQuestion) -> list[Row]:
    """Returns a list of future schedule runtimes."""
    event = CalendarEvent.parse(p.schedule)
    try:
        moment = datetime.datetime.fromtimestamp(p.starttime if p.starttime is not None else time.time())
    except (ValueError, OverflowError, OSError):
        return []
    rows: list[Row] = []
    for _ in range(p.iterations):
        following = event.next_after(moment)
        if following is None:
            break
        moment = following
        stamp = int(moment.timestamp())
        rows.append({"timestamp": stamp, "utc": time.asctime(time.gmtime(stamp))})
    return rows


@method("GET", "/cluster/ha", permission=CLUSTER_AUDIT)
async def ha_index(ctx: Context, p: NoParameters) -> list[Row]:
    """Directory index."""
    return [{"id": name} for name in ("status", "resources", "groups", "rules")]


@method("GET", "/cluster/ha/resources", permission=CLUSTER_AUDIT, commands=(Command("ha-manager config"),))
async def ha_resources(ctx: Context, p: HaResources) -> list[Row]:
    """List HA resources."""
    return [
        _row(section, sid=f"{section.type}:{section.id}", type=section.type)
        for section in _sections(ctx.store, "ha/resources.cfg")
        if p.type in (None, section.type)
    ]


@method("GET", "/cluster/ha/resources/{sid}", permission=CLUSTER_AUDIT)
async def ha_resource(ctx: Context, p: HaResource) -> Row:
    """Read resource configuration."""
    sid = p.sid if ":" in p.sid else f"vm:{p.sid}"
    rows = await ha_resources(ctx, HaResources(type=None))
    return _one(ctx.store, "ha/resources.cfg", rows, lambda row: row["sid"] == sid, f"resource '{sid}'")


@method("GET", "/cluster/ha/groups", permission=CLUSTER_AUDIT, commands=(Command("ha-manager groupconfig"),))
async def ha_groups(ctx: Context, p: NoParameters) -> list[Row]:
    """Get HA groups."""
    found = _sections(ctx.store, "ha/groups.cfg")
    return [_row(section, group=section.id, type="group") for section in found]


@method("GET", "/cluster/ha/groups/{group}", permission=CLUSTER_AUDIT)
async def ha_group(ctx: Context, p: HaGroup) -> Row:
    """Read ha group configuration."""
    rows = await ha_groups(ctx, NoParameters())
    return _one(ctx.store, "ha/groups.cfg", rows, lambda row: row["group"] == p.group, f"group '{p.group}'")


@method("GET", "/cluster/ha/rules", permission=CLUSTER_AUDIT,
        commands=(Command("ha-manager rules config"), Command("ha-manager rules list")))  # fmt: skip
async def ha_rules(ctx: Context, p: HaRules) -> list[Row]:
    """Get HA rules."""
    return [
        _row(section, rule=section.id, type=section.type)
        for section in _sections(ctx.store, "ha/rules.cfg")
        if p.type in (None, section.type)
        and (p.resource is None or p.resource in section.options.get("resources", "").split(","))
    ]


@method("GET", "/cluster/ha/rules/{rule}", permission=CLUSTER_AUDIT)
async def ha_rule(ctx: Context, p: HaRule) -> Row:
    """Read HA rule."""
    rows = await ha_rules(ctx, HaRules(resource=None, type=None))
    return _one(ctx.store, "ha/rules.cfg", rows, lambda row: row["rule"] == p.rule, f"rule '{p.rule}'")


@method(
    "GET", "/cluster/ha/status/current", permission=CLUSTER_AUDIT, commands=(Command("ha-manager status"),)
)
async def ha_status(ctx: Context, p: NoParameters) -> list[Row]:
    """Get HA manager status. HA does not run yet: only whether there is quorum."""
    quorate = ctx.store.membership.quorate
    return [
        {
            "id": "quorum",
            "type": "quorum",
            "node": ctx.store.node,
            "status": "OK" if quorate else "No quorum!",
            "quorate": quorate,
        }
    ]


@method("GET", "/cluster/ha/status/manager_status", permission=CLUSTER_AUDIT)
async def ha_manager_status(ctx: Context, p: NoParameters) -> Row:
    """Get full HA manager status, including LRM status. HA does not run yet."""
    quorate = "1" if ctx.store.membership.quorate else "0"
    return {
        "manager_status": {},
        "lrm_status": {},
        "quorum": {"node": ctx.store.node, "quorate": quorate},
    }


def _replication(store: Store) -> list[Row]:
    rows = []
    for section in _sections(store, REPLICATION):
        guest, _, number = section.id.partition("-")
        if guest.isdigit() and number.isdigit():
            rows.append(_row(section, id=section.id, type=section.type, guest=int(guest), jobnum=int(number)))
    return rows


def _guest(id: str) -> int:
    return int(id.partition("-")[0])


def _backup_row(section: Section) -> Row:
    row = _row(section, id=section.id, type="vzdump")
    row.setdefault("enabled", True)
    if "schedule" in section.options and row["enabled"]:
        try:
            following = CalendarEvent.parse(section.options["schedule"]).next_after(datetime.datetime.now())
        except ValueError:
            following = None
        if following is not None:
            row["next-run"] = int(following.timestamp())
    return row


def _row(section: Section, **own: object) -> Row:
    values: Row = dict(own)
    for key, text in section.options.items():
        if key in _FLAGS:
            values[key] = text not in ("0", "no", "off", "false")
        else:
            values[key] = int(text) if key in _NUMBERS and text.isdigit() else text
    return values


def _one(store: Store, path: str, rows: list[Row], wanted: Callable[[Row], bool], what: str) -> Row:
    file = store.read(path)
    for row in rows:
        if wanted(row):
            return {**row, "digest": file.digest if file else ""}
    raise KvorumError(f"no such {what} in {path}")


def _sections(store: Store, path: str) -> tuple[Section, ...]:
    file = store.read(path)
    return sections.parse(file.text) if file is not None else ()
