"""The API of storages: what the cluster has, what this node sees of it, and its volumes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from pydantic import ConfigDict, Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.ids import VolumeId
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    LoggedIn,
    NodeName,
    Parameters,
    Privilege,
    RootOnly,
    StorageName,
    TaskLog,
    Vmid,
    Where,
    Work,
    method,
)
from kvorum.storage.config import FILE
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import StorageError
from kvorum.storage.half_made import HalfMade
from kvorum.storage.kind import Volume
from kvorum.storage.storages import Storages, StorageState

Row = dict[str, object]

_AUDIT = Privilege("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", any_of=True)
_ALLOCATE = Privilege("/storage", "Datastore.Allocate")
_FIXED = frozenset({"path", "type"})
"""What makes a storage another one if it changes."""
_SIZE = re.compile(r"(\d+)([MG]?)")


class IndexParameters(Parameters):
    type: str | None = None


class StoragePath(Parameters):
    storage: StorageName


class StorageSettings(Parameters):
    """A storage's settings; each kind's own options are passed on to storage.cfg as they are."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, frozen=True)

    storage: StorageName
    content: str | None = None
    nodes: str | None = None
    shared: Boolean | None = None
    disable: Boolean | None = None
    format: str | None = None
    preallocation: str | None = None

    def options(self, leave: frozenset[str]) -> dict[str, str]:
        """The settings as storage.cfg keeps them."""
        values = {**self.model_dump(exclude_none=True), **(self.model_extra or {})}
        return {key: _text(value) for key, value in values.items() if key not in leave | {"storage"}}


class CreateParameters(StorageSettings):
    type: str
    path: str | None = None


class UpdateParameters(StorageSettings):
    delete: str | None = None
    digest: str | None = None


class NodeParameters(Parameters):
    node: NodeName
    storage: StorageName | None = None
    content: str | None = None
    enabled: Boolean = False
    target: NodeName | None = None
    format: Boolean = False


class NodeStoragePath(Parameters):
    node: NodeName
    storage: StorageName


class ContentParameters(NodeStoragePath):
    content: str | None = None
    vmid: Vmid | None = None


class AllocateParameters(NodeStoragePath):
    filename: str
    vmid: Vmid
    size: str
    format: str | None = None


class VolumeQuestion(Parameters):
    node: NodeName
    volume: str
    storage: StorageName | None = None


class PathQuestion(Parameters):
    node: NodeName
    volume: str


class VolumePath(VolumeQuestion):
    delay: int | None = Field(default=None, ge=1, le=30)


@method("GET", "/storage", permission=LoggedIn(), protected=True)
async def index(ctx: Context, p: IndexParameters) -> list[Row]:
    """Storage index."""
    entries = ctx.service(Storages).config().entries
    return [_row(ctx, e) for e in entries if (p.type is None or e.type == p.type) and _visible(ctx, e.id)]


@method(
    "POST",
    "/storage",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pvesm add", "type", "storage"),),
)
async def create(ctx: Context, p: CreateParameters) -> Row:
    """Create a new storage."""
    storages = ctx.service(Storages)
    if p.type not in storages.kinds():
        raise ParameterError({"type": f"'{p.type}' is not supported; allowed: {', '.join(storages.kinds())}"})
    options = p.options(frozenset({"type"}))
    options.setdefault("content", "images,rootdir")
    old = storages.config()
    await storages.change(old.add(StorageEntry(p.type, p.storage, options)), old, who=ctx.identity.name)
    return {"storage": p.storage, "type": p.type}


@method(
    "GET",
    "/storage/{storage}",
    permission=Privilege("/storage/{storage}", "Datastore.Allocate"),
    protected=True,
)
async def read(ctx: Context, p: StoragePath) -> Row:
    """Read storage configuration."""
    return _row(ctx, ctx.service(Storages).config().get(p.storage))


@method(
    "PUT",
    "/storage/{storage}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pvesm set", "storage"),),
)
async def update(ctx: Context, p: UpdateParameters) -> Row:
    """Update storage configuration."""
    storages = ctx.service(Storages)
    old = storages.config()
    delete = tuple(word for word in re.split(r"[,;\s]+", p.delete or "") if word)
    changes = p.options(frozenset({"delete", "digest"}))
    if fixed := sorted(_FIXED & changes.keys()):
        raise ParameterError({key: f"'{key}' is given once, when the storage is added" for key in fixed})
    if both := sorted(set(delete) & changes.keys()):
        raise ParameterError({key: f"can't delete '{key}' and set it at the same time" for key in both})
    changed = old.update(p.storage, changes, delete)
    await storages.change(changed, old, who=ctx.identity.name, digest=p.digest or "")
    return {"storage": p.storage, "type": changed.get(p.storage).type}


@method(
    "DELETE",
    "/storage/{storage}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pvesm remove", "storage"),),
)
async def delete(ctx: Context, p: StoragePath) -> None:
    """Delete storage configuration; the data stays where it is."""
    storages = ctx.service(Storages)
    old = storages.config()
    await storages.change(old.remove(p.storage), old, who=ctx.identity.name)


@method(
    "GET",
    "/nodes/{node}/storage",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
    commands=(Command("pvesm status", output="storage_status"),),
)
async def node_index(ctx: Context, p: NodeParameters) -> list[Row]:
    """Get status for all datastores."""
    storages = ctx.service(Storages)
    rows = []
    wanted = frozenset((p.content or "").replace(";", ",").split(",")) - {""}
    for entry in storages.config().entries:
        if (p.storage and entry.id != p.storage) or not _visible(ctx, entry.id):
            continue
        if (p.enabled and entry.disabled) or (wanted and not wanted & set(entry.content)):
            continue
        if (entry.nodes and p.node not in entry.nodes) or (p.target and not entry.available_on(p.target)):
            continue
        row = {"storage": entry.id, **_state(await storages.state(entry))}
        rows.append(row | (_formats(storages, entry) if p.format else {}))
    return rows


@method("GET", "/nodes/{node}/storage/{storage}", permission=_AUDIT)
async def directory(ctx: Context, p: NodeStoragePath) -> list[Row]:
    """Directory index of a storage."""
    return [{"subdir": name} for name in ("content", "rrddata", "status")]


@method("GET", "/nodes/{node}/storage/{storage}/status", permission=_AUDIT, where=Where.NODE, protected=True)
async def status(ctx: Context, p: NodeStoragePath) -> Row:
    """Read storage status."""
    storages = ctx.service(Storages)
    return _state(await storages.state(storages.config().get(p.storage)))


@method(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    permission=_AUDIT,
    where=Where.NODE,
    protected=True,
    commands=(Command("pvesm list", "storage", output="storage_content"),),
)
async def content(ctx: Context, p: ContentParameters) -> list[Volume]:
    """List storage content."""
    return await ctx.service(Storages).content(p.storage, p.vmid, (p.content,) if p.content else ())


@method(
    "POST",
    "/nodes/{node}/storage/{storage}/content",
    permission=Privilege("/storage/{storage}", "Datastore.AllocateSpace"),
    where=Where.NODE,
    protected=True,
    commands=(Command("pvesm alloc", "storage", "vmid", "filename", "size"),),
)
async def allocate(ctx: Context, p: AllocateParameters) -> str:
    """Allocate disk images."""
    match = _SIZE.fullmatch(p.size)
    if not match:
        raise ParameterError({"size": f"'{p.size}' is no size; write KiB, or a number with M or G"})
    size = int(match[1]) * {"": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]]
    kind = ctx.service(Storages).get(p.storage)
    if p.filename and not re.fullmatch(rf"vm-{p.vmid}-[A-Za-z0-9_.-]+", p.filename):
        raise ParameterError({"filename": f"'{p.filename}' must begin with 'vm-{p.vmid}-'"})
    suffix = p.filename.rpartition(".")[2]
    format = p.format or (suffix if suffix in kind.capabilities.formats else None)
    async with ctx.service(HalfMade).making() as reserving:
        return str(await kind.allocate(p.vmid, size, format, p.filename or None, reserving))


@method(
    "GET",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
)
async def volume_attributes(ctx: Context, p: VolumeQuestion) -> Row:
    """Get volume attributes."""
    volume = _volume(p.volume, p.storage)
    if not _visible(ctx, volume.storage):
        raise PermissionDenied(f"Permission check failed (/storage/{volume.storage}, Datastore.Audit)")
    storages = ctx.service(Storages)
    path = storages.of(volume).path(volume)
    for found in await storages.content(volume.storage):
        if found.volid == str(volume):
            return {
                "path": str(path),
                "format": found.format,
                "size": found.size,
                "used": found.used or found.size,
                "notes": found.notes,
                "protected": found.protected,
            }
    raise StorageError(f"storage '{volume.storage}' has no volume '{volume}'")


@method(
    "DELETE",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
    task=True,
    commands=(Command("pvesm free", "volume"),),
)
async def free(ctx: Context, p: VolumePath) -> Work:
    """Delete volume."""
    volume = _volume(p.volume, p.storage)
    if not ctx.allowed(f"/storage/{volume.storage}", "Datastore.Allocate"):
        raise PermissionDenied(f"Permission check failed (/storage/{volume.storage}, Datastore.Allocate)")
    kind = ctx.service(Storages).of(volume)
    kind.path(volume)

    async def run(log: TaskLog) -> None:
        await kind.free(volume)
        log.line(f"Removed volume '{volume}'")

    return Work("imgdel", str(volume), run)


@method(
    "GET",
    "/kvorum/nodes/{node}/volume-path",
    permission=RootOnly(),
    where=Where.NODE,
    protected=True,
    commands=(Command("pvesm path", "volume", output="text"),),
)
async def volume_path(ctx: Context, p: PathQuestion) -> str:
    """Get filesystem path for specified volume; it need not be there."""
    volume = _volume(p.volume, None)
    storages = ctx.service(Storages)
    return str(storages.of(volume).path(volume))


def _volume(text: str, storage: str | None) -> VolumeId:
    try:
        return VolumeId.parse(text if ":" in text else f"{storage}:{text}")
    except ValueError as error:
        raise ParameterError({"volume": str(error)}) from None


def _formats(storages: Storages, entry: StorageEntry) -> Row:
    """Which image formats a storage takes; nothing where this node can't have it."""
    try:
        formats = storages.open(entry).capabilities.formats
    except StorageError:
        return {}
    default = entry.options.get("format", formats[0])
    return {"formats": {"supported": list(formats), "default": default}, "select_existing": False}


def _visible(ctx: Context, storage: str) -> bool:
    path = f"/storage/{storage}"
    return ctx.allowed(path, "Datastore.Audit") or ctx.allowed(path, "Datastore.AllocateSpace")


def _row(ctx: Context, entry: StorageEntry) -> Row:
    file = ctx.store.read(FILE)
    row: Row = {"storage": entry.id, "type": entry.type, **entry.options}
    for key in ("shared", "disable"):
        if key in entry.options:
            row[key] = entry.shared if key == "shared" else entry.disabled
    row["content"] = ",".join(entry.content)
    return {**row, "digest": file.digest} if file else row


def _state(state: StorageState) -> Row:
    entry, room = state.entry, state.status
    row: Row = {
        "type": entry.type,
        "content": ",".join(entry.content),
        "enabled": not entry.disabled,
        "shared": entry.shared,
        "active": room is not None and not state.error,
        **(msgspec.to_builtins(room) if room else {"total": 0, "used": 0, "avail": 0}),
    }
    if room and room.total:
        row["used_fraction"] = room.used / room.total
    if state.error:
        row["error"] = state.error
    return row


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
