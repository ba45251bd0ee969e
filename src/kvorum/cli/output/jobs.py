"""What ``pvesr`` and ``ha-manager`` print, in the forms that their users' scripts read."""

from __future__ import annotations

import time
from collections.abc import Mapping

from kvorum.cli.arguments import Presentation
from kvorum.cli.output.formats import encode

_LIST = "%-20s %-20s %10s %5s %8s\n"
_STATUS = "%-10s %-10s %-20s %20s %20s %10s %10s %s\n"


def replications(value: object, shown: Presentation) -> str:
    """``pvesr list``: a line for each replication job, by the guest's id."""
    text = _LIST % ("JobID", "Target", "Schedule", "Rate", "Enabled") if shown.header else ""
    for row in _by_guest(value):
        enabled = "no" if row.get("disable") else "yes"
        text += _LIST % (
            row.get("id"), f"local/{row.get('target')}", row.get("schedule") or "*/15",
            row.get("rate") or "-", enabled,
        )  # fmt: skip
    return text


def pretty(value: object, shown: Presentation) -> str:
    """``pvesr read``: the job as JSON for eyes."""
    return encode(value, "json-pretty")


def replication_status(value: object, shown: Presentation) -> str:
    """``pvesr status``: what has become of each job of this node."""
    head = ("JobID", "Enabled", "Target", "LastSync", "NextSync", "Duration", "FailCount", "State")
    text = _STATUS % head if shown.header else ""
    for row in _by_guest(value):
        state = "SYNCING" if row.get("pid") else str(row.get("error") or "OK")
        text += _STATUS % (
            row.get("id"), "No" if row.get("disable") else "Yes", f"local/{row.get('target')}",
            _moment(row.get("last_sync")), _moment(row.get("next_sync"), "pending"),
            row.get("duration") or "-", row.get("fail_count") or 0, state,
        )  # fmt: skip
    return text


def ha_status(value: object, shown: Presentation) -> str:
    """``ha-manager status``: one line for each part of HA, ``TYPE STATUS``."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    text = ""
    for row in rows:
        status = str(row.get("status"))
        if row.get("type") == "quorum" and status != "OK":
            status = f"No quorum on node '{row.get('node')}'!"
        text += f"{row.get('type')} {status}\n"
    return text


def ha_sections(value: object, shown: Presentation) -> str:
    """``ha-manager config``, ``groupconfig``, ``rules config``: each with its settings below it."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return "".join(_section(row) for row in sorted(rows, key=lambda row: str(_name(row))))


def _name(row: Mapping[str, object]) -> str:
    if "sid" in row:
        return str(row["sid"])
    return f"{row.get('type')}: {row.get('group') or row.get('rule')}"


def _section(row: Mapping[str, object]) -> str:
    settings = {key: row[key] for key in sorted(row) if key not in ("sid", "group", "rule", "type", "digest")}
    lines = [f"\t{key} {_cell(value)}\n" for key, value in settings.items() if value not in (None, "")]
    return f"{_name(row)}\n{''.join(lines)}\n"


def _cell(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _moment(value: object, none: str = "-") -> str:
    return (
        time.strftime("%Y-%m-%d_%H:%M:%S", time.localtime(value))
        if isinstance(value, int) and value
        else none
    )


def _by_guest(value: object) -> list[dict[str, object]]:
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return sorted(rows, key=lambda row: (int(row.get("guest") or 0), int(row.get("jobnum") or 0)))
