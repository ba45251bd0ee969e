"""What is known about one task, and how the lists on disk and the API's filters show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

from kvorum.core.ids import Upid

OK = "OK"
UNKNOWN = "unknown: "
"""Begins the status of a task whose end nobody can tell, with the reason."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task: running while ``endtime`` is ``None``, else ended with ``status`` (``OK`` or the error)."""

    upid: Upid
    endtime: int | None = None
    status: str = ""
    progress: float | None = None
    """0 to 1, while it runs and says so."""
    doing: str = ""

    def ended(self, endtime: int, status: str) -> TaskRecord:
        """The record of this task once it is over."""
        return replace(
            self, endtime=endtime, status=one_line(status) or "unknown error", progress=None, doing=""
        )

    def line(self) -> str:
        """Its line in ``index`` (``UPID HEXTIME STATUS``) or ``active`` (``UPID 0``)."""
        if self.endtime is None:
            return f"{self.upid} 0"
        return f"{self.upid} {self.endtime:08X} {self.status}"

    @classmethod
    def parse(cls, line: str) -> TaskRecord | None:
        """Read a line of ``index`` or ``active``; ``None`` when it is none (a torn write, an edit)."""
        name, _, rest = line.strip().partition(" ")
        end, _, status = rest.partition(" ")
        try:
            upid = Upid.parse(name)
            endtime = int(end, 16) if end not in ("", "0", "1") else None
        except ValueError:
            return None
        return cls(upid, endtime, status)


class TaskRow(TypedDict):
    """A task in a list; ``status`` is the exit text of one that has ended."""

    upid: str
    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    tokenid: NotRequired[str]
    endtime: NotRequired[int]
    status: NotRequired[str]


def row(record: TaskRecord) -> TaskRow:
    """The task as lists show it."""
    upid = record.upid
    user, _, token = upid.user.partition("!")
    shown = TaskRow(
        upid=str(upid),
        node=upid.node,
        pid=upid.pid,
        pstart=upid.pstart,
        starttime=upid.starttime,
        type=upid.type,
        id=upid.id,
        user=user,
    )
    if token:
        shown["tokenid"] = token
    if record.endtime is not None:
        shown["endtime"] = record.endtime
        shown["status"] = record.status
    return shown


def record_of(shown: TaskRow) -> TaskRecord:
    """The record that a list's row stands for."""
    return TaskRecord(Upid.parse(shown["upid"]), shown.get("endtime"), shown.get("status", ""))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks a caller wants to see."""

    user: str = ""
    """Part of the user's name."""
    type: str = ""
    vmid: str = ""
    since: int | None = None
    until: int | None = None
    errors: bool = False
    statuses: Sequence[str] = ()
    """Of ``ok``, ``error``, ``warning``, ``unknown``."""

    def fits(self, record: TaskRecord) -> bool:
        """Whether a task is wanted."""
        upid = record.upid
        return (
            self.user in upid.user
            and self.type in ("", upid.type)
            and self.vmid in ("", upid.id)
            and (self.since is None or upid.starttime >= self.since)
            and (self.until is None or upid.starttime <= self.until)
            and not (self.errors and kind(record) in ("ok", "running", "warning"))
            and (not self.statuses or kind(record) in self.statuses)
        )


def kind(record: TaskRecord) -> str:
    """``running``, ``ok``, ``warning``, ``unknown`` or ``error``."""
    if record.endtime is None:
        return "running"
    if record.status == OK:
        return "ok"
    if record.status.startswith("WARNINGS: "):
        return "warning"
    unknown = record.status in ("", "unknown") or record.status.startswith(UNKNOWN)
    return "unknown" if unknown else "error"


def newest_first(records: Iterable[TaskRecord]) -> list[TaskRecord]:
    """Sort by start, the newest first; each task once, an ended record before a running one of it."""
    found: dict[Upid, TaskRecord] = {}
    for record in records:
        if record.upid not in found or record.endtime is not None:
            found[record.upid] = record
    return sorted(found.values(), key=lambda r: (r.upid.starttime, r.upid.pstart), reverse=True)


def one_line(text: str) -> str:
    """The first line of a text without control characters, as fits into the index; its end is no space."""
    lines = text.strip().splitlines()
    return "".join(c if c.isprintable() else "?" for c in lines[0])[:1000].rstrip() if lines else ""
