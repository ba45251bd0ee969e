"""What a command prints: one pure function for each output, found by name and loaded when needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from kvorum.cli.arguments import Presentation
from kvorum.cli.table import Entry

Printer = Callable[[object, Presentation], str]

_PRINTERS = {
    "qm list": "guests:listing",
    "qm status": "guests:status",
    "qm config": "guests:config",
    "qm pending": "guests:pending",
    "qm guest cmd": "guests:agent",
    "qm guest exec": "guests:agent",
    "qm guest exec-status": "guests:agent",
    "qm showcmd": "guests:command_line",
    "qm listsnapshot": "guests:snapshots",
    "qm disk leftovers": "guests:leftovers",
    "pvesm status": "storages:status",
    "storage status": "storages:status",
    "pvesm list": "storages:content",
    "storage content": "storages:content",
    "config history": "history:rows",
    "config content": "history:content",
    "config diff": "history:diff",
    "join token": "join_token:made",
    "pvesr list": "jobs:replications",
    "pvesr read": "jobs:pretty",
    "pvesr status": "jobs:replication_status",
    "ha-manager status": "jobs:ha_status",
    "ha-manager config": "jobs:ha_sections",
    "ha-manager groupconfig": "jobs:ha_sections",
    "ha-manager rules config": "jobs:ha_sections",
    "link status": "links:status",
    "permissions": "access:permissions",
    "text": "plain:text",
    "key value": "plain:key_value",
    "table": "boxes:table",
}


def printer(entry: Entry) -> Printer:
    """The function that prints a command's result: the one its declaration names, or the command's own,
    or a table. Dashes and underscores in a name count as blanks."""
    own = f"{entry.program} {entry.name}"
    source = _PRINTERS.get(entry.output.replace("_", " ").replace("-", " ")) or _PRINTERS.get(own)
    if source is None:
        source = "boxes:table" if entry.program == "pvesh" else "plain:generic"
    module, _, function = source.partition(":")
    found: Printer = getattr(import_module(f"kvorum.cli.output.{module}"), function)
    return found


CONSOLE = "console"
"""Not printed but talked over: the answer offers a console, see ``kvorum.cli.console``."""


def known(output: str) -> bool:
    """Whether a declaration may name this output."""
    return output in ("", CONSOLE) or output.replace("_", " ").replace("-", " ") in _PRINTERS


def render(entry: Entry, answer: object, shown: Presentation) -> str:
    """The whole text of a result, its last line ended; nothing for a result that is nothing."""
    if shown.format != "text":
        from kvorum.cli.output.formats import encode

        return encode(answer, shown.format)
    text = printer(entry)(answer, shown)
    return text if not text or text.endswith("\n") else text + "\n"
