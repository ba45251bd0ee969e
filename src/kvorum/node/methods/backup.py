"""What a backup on this node would be made with, unless it is told otherwise."""

from __future__ import annotations

import asyncio
from typing import Literal, TypedDict, cast

from pydantic import Field

from kvorum.core import property_string
from kvorum.core.errors import KvorumError, PermissionDenied
from kvorum.core.options_file import OptionsFile
from kvorum.interface import Context, LoggedIn, NodeName, Parameters, StorageName, Where, method
from kvorum.node.host_files import HostFiles
from kvorum.storage import Storages

FILE = "vzdump.conf"
DEFAULT_STORAGE = "local"


class DefaultsQuestion(Parameters):
    node: NodeName
    storage: StorageName | None = Field(None, description="The storage identifier.")


BackupDefaults = TypedDict(
    "BackupDefaults",
    {
        "all": bool,
        "bwlimit": int,
        "compress": Literal["0", "1", "gzip", "lzo", "zstd"],
        "dumpdir": str,
        "exclude": str,
        "exclude-path": list[str],
        "fleecing": str,
        "ionice": int,
        "lockwait": int,
        "mailnotification": Literal["always", "failure"],
        "mailto": str,
        "mode": Literal["snapshot", "suspend", "stop"],
        "notes-template": str,
        "notification-mode": str,
        "pbs-change-detection-mode": str,
        "performance": str,
        "pigz": int,
        "pool": str,
        "protected": bool,
        "prune-backups": str,
        "quiet": bool,
        "remove": bool,
        "script": str,
        "stdexcludes": bool,
        "stop": bool,
        "stopwait": int,
        "storage": str,
        "tmpdir": str,
        "zstd": int,
    },
    total=False,
)
"""The options of a backup, by the names they have in vzdump.conf."""

_BUILT_IN: dict[str, object] = {
    "all": False, "bwlimit": 0, "compress": "0", "ionice": 7, "lockwait": 180, "mailnotification": "always",
    "mode": "snapshot", "notification-mode": "auto", "pigz": 0, "prune-backups": "keep-all=1", "quiet": False,
    "remove": True, "stdexcludes": True, "stop": False, "stopwait": 10, "zstd": 1,
}  # fmt: skip
_NUMBERS = frozenset({"bwlimit", "ionice", "lockwait", "pigz", "stopwait", "zstd"})
_FLAGS = frozenset({"all", "protected", "quiet", "remove", "stdexcludes", "stop"})
_OF_THE_NODE = frozenset({"dumpdir", "exclude-path", "mailto", "script", "tmpdir"})
"""What tells of the node itself: for those who may look at it."""


@method("GET", "/nodes/{node}/vzdump/defaults", permission=LoggedIn(), where=Where.NODE, protected=True)
async def defaults(ctx: Context, p: DefaultsQuestion) -> BackupDefaults:
    """Get the currently configured vzdump defaults."""
    configured = read_defaults(await asyncio.to_thread(ctx.service(HostFiles).read, FILE))
    storage = p.storage or str(configured.get("storage", DEFAULT_STORAGE))
    place = f"/storage/{storage}"
    if not (ctx.allowed(place, "Datastore.Audit") or ctx.allowed(place, "Datastore.AllocateSpace")):
        raise PermissionDenied(f"Permission check failed ({place}, Datastore.Audit|Datastore.AllocateSpace)")
    found = {**_BUILT_IN, **configured}
    if rules := ctx.service(Storages).config().get(storage).options.get("prune-backups"):
        found["prune-backups"] = rules
    if not ctx.allowed(f"/nodes/{p.node}", "Sys.Audit"):
        found = {name: value for name, value in found.items() if name not in _OF_THE_NODE}
    return cast(BackupDefaults, found)  # just its names are in the two tables


def read_defaults(text: str) -> dict[str, object]:
    """The options that vzdump.conf sets; unknown ones are left out.

    Raises ``KvorumError`` for a value of another kind than its option's.
    """
    found: dict[str, object] = {}
    for name, value in OptionsFile.parse(text).values.items():
        if name in _FLAGS:
            try:
                found[name] = property_string.boolean(value)
            except ValueError as error:
                raise KvorumError(f"/etc/{FILE}: {name}: {error}") from None
        elif name in _NUMBERS:
            if not (value.isascii() and value.isdigit()):
                raise KvorumError(f"/etc/{FILE}: {name}: '{value}' is no whole number")
            found[name] = int(value)
        elif name == "exclude-path":
            found[name] = value.split()
        elif name in BackupDefaults.__annotations__:
            found[name] = value
    return found
