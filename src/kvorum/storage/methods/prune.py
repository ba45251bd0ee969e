"""Backups that have had their time: shown, and removed, by the storage's rules or those of the call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NotRequired, TypedDict

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.ids import VolumeId
from kvorum.interface import (
    Command,
    Context,
    LoggedIn,
    NodeName,
    Parameters,
    Privilege,
    StorageName,
    TaskLog,
    Vmid,
    Where,
    Work,
    method,
)
from kvorum.storage import prune
from kvorum.storage.errors import StorageConfigError, StorageError
from kvorum.storage.prune import Backup
from kvorum.storage.storages import Storages

_PATH = "/nodes/{node}/storage/{storage}/prunebackups"
_AUDIT = Privilege("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", any_of=True)


class PruneParameters(Parameters):
    node: NodeName
    storage: StorageName
    prune_backups: str | None = Field(
        None,
        alias="prune-backups",
        description="Use these retention options instead of those from the storage configuration.",
    )
    type: Literal["qemu", "lxc"] | None = Field(None, description="Only consider backups of this type.")
    vmid: Vmid | None = Field(None, description="Only consider backups for this guest.")


class PruneRow(TypedDict):
    """One backup and what the rules make of it."""

    ctime: int
    mark: str
    type: str
    volid: str
    vmid: NotRequired[int]


@method("GET", _PATH, permission=_AUDIT, where=Where.NODE, protected=True)
async def preview(ctx: Context, p: PruneParameters) -> list[PruneRow]:
    """Get prune information for backups. NOTE: this is only a preview and might not be what a subsequent
    prune call does if backups are removed/added in the meantime."""
    return [_row(backup) for backup in await _judged(ctx, p, _rules(ctx, p))]


@method("DELETE", _PATH, permission=LoggedIn(), where=Where.NODE, protected=True, task=True,
        commands=(Command("pvesm prune-backups", "storage"),))  # fmt: skip
async def remove(ctx: Context, p: PruneParameters) -> Work:
    """Prune backups. Only those using the standard naming scheme are considered."""
    place = f"/storage/{p.storage}"
    own = p.vmid is not None and ctx.allowed(place, "Datastore.AllocateSpace") and ctx.allowed(
        f"/vms/{p.vmid}", "VM.Backup"
    )  # fmt: skip
    if not own and not ctx.allowed(place, "Datastore.Allocate"):
        raise PermissionDenied(f"Permission check failed ({place}, Datastore.Allocate)")
    rules = _rules(ctx, p)
    kind = ctx.service(Storages).get(p.storage)

    async def run(log: TaskLog) -> None:
        told = ", ".join(f"{name}={count}" for name, count in rules.items())
        log.line(f"prune options: {told or 'keep-all=1: nothing is removed'}")
        for backup in await _judged(ctx, p, rules):
            log.line(f"{backup.mark:<9} {backup.volid}")
            if backup.mark != "remove":
                continue
            try:
                await kind.free(VolumeId.parse(backup.volid))
            except StorageError as error:
                log.warn(f"could not remove '{backup.volid}': {error}")

    return Work("prunebackups", p.storage, run)


def _rules(ctx: Context, p: PruneParameters) -> Mapping[str, int]:
    """The call's rules, or the storage's. Raises ``ParameterError``, ``StorageError``."""
    if p.prune_backups is not None:
        try:
            return prune.parse(p.prune_backups)
        except ValueError as error:
            raise ParameterError({"prune-backups": str(error)}) from None
    text = ctx.service(Storages).config().get(p.storage).options.get("prune-backups", "")
    try:
        return prune.parse(text)
    except ValueError as error:
        raise StorageConfigError(f"storage.cfg: storage '{p.storage}': prune-backups: {error}") from None


async def _judged(ctx: Context, p: PruneParameters, rules: Mapping[str, int]) -> Iterable[Backup]:
    volumes = await ctx.service(Storages).content(p.storage, content=("backup",))
    return [
        backup
        for backup in prune.judge(volumes, rules)
        if p.type in (None, backup.type) and p.vmid in (None, backup.vmid)
    ]


def _row(backup: Backup) -> PruneRow:
    row = PruneRow(volid=backup.volid, ctime=backup.ctime, type=backup.type, mark=backup.mark)
    if backup.vmid is not None:
        row["vmid"] = backup.vmid
    return row
