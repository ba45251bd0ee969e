"""What the files of /etc/pve were before: listed, shown, compared, brought back.

A revision is what a file was until somebody changed it. Each node keeps its own list for some days, so
numbers belong to the node. Contents are for root alone: keys and passwords are among them, and an old
user.cfg brought back gives old rights again.
"""

from __future__ import annotations

import difflib
import logging
import time
from typing import TypedDict

from pydantic import Field

from kvorum.cluster.change import CONFIGURATION
from kvorum.core.errors import Conflict, ParameterError, PermissionDenied
from kvorum.interface import (
    Command,
    Context,
    NodeName,
    Parameters,
    Privilege,
    RootOnly,
    Where,
    method,
)
from kvorum.store import (
    ClusterLog,
    Delete,
    Expect,
    File,
    Operation,
    Revision,
    Write,
    expect_digest,
    is_private,
)

_BASE = "/kvorum/nodes/{node}/history"
_MOUNT = "/etc/pve/"
_LINKS = ("qemu-server", "lxc")
_log = logging.getLogger(__name__)


class HistoryOf(Parameters):
    node: NodeName
    path: str = Field(min_length=1, max_length=4096, description="The file, as under /etc/pve.")
    limit: int = Field(20, ge=1, le=1000, description="At most this many, the newest.")


class OneRevision(Parameters):
    node: NodeName
    revision: int = Field(ge=1, description="The revision's number, as the history lists it.")
    path: str = Field(min_length=1, max_length=4096, description="The file, as under /etc/pve.")


class Restored(OneRevision):
    digest: str | None = Field(
        None, max_length=64, description="Only if the file still has this SHA-1, as the comparison told it."
    )


class RevisionRow(TypedDict):
    """One revision of a file: what it was until a change."""

    revision: int
    until: int
    size: int | None
    """Bytes; none when there was no such file."""
    node: str
    who: str
    version: int


class Shown(TypedDict):
    """A revision's content."""

    path: str
    revision: int
    until: int
    content: str


class Compared(TypedDict):
    """What changed since a revision."""

    path: str
    revision: int
    until: int
    digest: str
    """Of the file as it is now, empty when there is none: a restore may ask for it."""
    diff: str


@method("GET", _BASE, permission=Privilege("/", "Sys.Audit"), where=Where.NODE, protected=True,
        commands=(Command("pvecm config history", "path", output="config_history"),))  # fmt: skip
async def history(ctx: Context, p: HistoryOf) -> list[RevisionRow]:
    """What a file of /etc/pve was before, as this node remembers it; who changed it, when, and where."""
    path = store_path(p.path, ctx.store.node)
    if is_private(path) and not _is_root(ctx):
        raise PermissionDenied(f"'{path}' is for root@pam alone, its history too")
    return [
        RevisionRow(
            revision=revision.number,
            until=int(revision.time),
            size=revision.size,
            node=revision.node,
            who=revision.who,
            version=revision.version,
        )
        for revision in await ctx.store.history(path, p.limit)
    ]


@method("GET", f"{_BASE}/{{revision}}", permission=RootOnly(), where=Where.NODE, protected=True,
        commands=(Command("pvecm config show", "path", output="config_content"),))  # fmt: skip
async def show(ctx: Context, p: OneRevision) -> Shown:
    """The content of a file of /etc/pve as it was at a revision."""
    path = store_path(p.path, ctx.store.node)
    revision = await ctx.store.revision(path, p.revision)
    if revision.before is None:
        raise Conflict(
            f"revision {p.revision} of '{path}' is that there was no such file until {_until(revision)}"
        )
    return Shown(
        path=path,
        revision=revision.number,
        until=int(revision.time),
        content=_text(revision.before, f"revision {p.revision} of '{path}'"),
    )


@method("GET", f"{_BASE}/{{revision}}/diff", permission=RootOnly(), where=Where.NODE, protected=True,
        commands=(Command("pvecm config diff", "path", output="config_diff"),))  # fmt: skip
async def diff(ctx: Context, p: OneRevision) -> Compared:
    """What has changed in a file of /etc/pve since a revision."""
    path = store_path(p.path, ctx.store.node)
    revision, now = await ctx.store.revision(path, p.revision), ctx.store.read(path)
    old = _text(revision.before or b"", f"revision {p.revision} of '{path}'")
    new = _text(now.data if now else b"", f"'{path}'")
    lines = difflib.unified_diff(
        old.splitlines(),
        new.splitlines(),
        f"{path} (revision {p.revision})" if revision.before is not None else "/dev/null",
        f"{path} (now)" if now else "/dev/null",
        f"until {_until(revision)}",
        f"digest {now.digest}" if now else "",
        lineterm="",
    )
    return Compared(
        path=path,
        revision=revision.number,
        until=int(revision.time),
        digest=now.digest if now else "",
        diff="".join(f"{line}\n" for line in lines),
    )


@method("POST", f"{_BASE}/{{revision}}/restore", permission=RootOnly(), where=Where.NODE, protected=True,
        commands=(Command("pvecm config restore", "path", output="text"),))  # fmt: skip
async def restore(ctx: Context, p: Restored) -> str:
    """Make a file of /etc/pve what it was at a revision, unless somebody changes it at this moment."""
    path, who = store_path(p.path, ctx.store.node), ctx.identity.name
    if path == CONFIGURATION:
        raise Conflict(
            f"'{path}' can't be restored: its config_version must grow; look at the revision with "
            f"'pvecm config show {path} --revision {p.revision}' and edit the file as it is now"
        )
    now = ctx.store.read(path)
    expect = Expect(path, None) if now is None else Expect.of(now)
    if p.digest is not None:
        expect = expect_digest(now, path, p.digest)
    revision = await ctx.store.revision(path, p.revision)
    if same(revision, now):
        return f"'{path}' is as it was until {_until(revision)} already; nothing was changed"
    operation: Operation = Delete(path) if revision.before is None else Write(path, revision.before)
    await ctx.store.transact(
        [operation], [expect], who=f"{who} (pvecm config restore, revision {p.revision})"
    )
    done = "is removed, as" if revision.before is None else f"({len(revision.before)} bytes) is as"
    _log.info("%s brought revision %d of '%s' back", who, p.revision, path)
    if told := ctx.services.find(ClusterLog):
        told.note(who, f"brought revision {p.revision} of '{path}' back (pvecm config restore)")
    return f"'{path}' {done} it was until {_until(revision)}"


def store_path(text: str, node: str) -> str:
    """The store's path of a file as people name it: below /etc/pve, or by the links there.

    Raises ``ParameterError`` when nothing is left of it.
    """
    path = text.removeprefix(_MOUNT).strip("/")
    first, _, rest = path.partition("/")
    if first == "local" and rest:
        path = f"nodes/{node}/{rest}"
    elif first in _LINKS and rest:
        path = f"nodes/{node}/{path}"
    if not path:
        raise ParameterError({"path": f"'{text}' names no file of /etc/pve: write it as storage.cfg"})
    return path


def same(revision: Revision, now: File | None) -> bool:
    """Whether the file is now what it was at the revision."""
    return revision.before == (now.data if now is not None else None)


def _is_root(ctx: Context) -> bool:
    return ctx.identity.user == "root@pam" and ctx.identity.token is None and ctx.identity.node is None


def _until(revision: Revision) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(revision.time))


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Conflict(
            f"{what} is no text ({len(data)} bytes), so it can't be shown; it can be restored"
        ) from None
