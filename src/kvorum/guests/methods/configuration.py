"""Guests created, configured and destroyed; disks imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.ids import VolumeId
from kvorum.guests.change import Changes, Say, Wish
from kvorum.guests.cloudinit.settings import MASK
from kvorum.guests.config import Disk, GuestConfig, pending
from kvorum.guests.config.devices import BUSES
from kvorum.guests.config.drives import free_key, is_disk_key
from kvorum.guests.config.hardware import Usb
from kvorum.guests.disks import Making, generated, new_identity, own_volumes
from kvorum.guests.errors import GuestError
from kvorum.guests.machine.cards import Link
from kvorum.guests.machine.commandline import Wiring, command_line, socket_names
from kvorum.guests.machine.disks import Drive
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.cluster_options import mac_prefix
from kvorum.guests.methods.parameters import GuestPath, settings_of, with_settings, words
from kvorum.guests.methods.rate import import_rates_kib_s, rate_kib_s
from kvorum.guests.registry import Registry
from kvorum.guests.suspend.state import SUSPENDED
from kvorum.guests.suspend.suspension import Suspensions
from kvorum.guests.unfinished import CREATE_LOCK, Unfinished
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
from kvorum.storage import Storages

_BASE = "/nodes/{node}/qemu/{vmid}"
_CONFIG = Privilege(
    "/vms/{vmid}", "VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.HWType", "VM.Config.Options", "VM.Config.Cloudinit", any_of=True,
)  # fmt: skip


class CreateBase(Parameters):
    """A new guest."""

    node: NodeName
    vmid: Vmid
    start: Boolean = False
    storage: StorageName | None = None
    pool: str | None = None
    unique: Boolean = False
    bwlimit: int | None = Field(None, ge=0, description="Override I/O bandwidth limit (in KiB/s).")


class ConfigBase(GuestPath):
    """Settings to change."""

    delete: str | None = None
    revert: str | None = None
    digest: str | None = None
    skiplock: Boolean = False
    force: Boolean = False


class ReadParameters(GuestPath):
    current: Boolean = False
    snapshot: str | None = None


class ShowCommandParameters(GuestPath):
    pretty: Boolean = False
    snapshot: str | None = None


class UnlinkParameters(GuestPath):
    idlist: str
    force: Boolean = False


class ResizeParameters(GuestPath):
    disk: str = Field(pattern=r"(ide|scsi|virtio|sata)\d+")
    size: str = Field(pattern=r"\+?\d+(\.\d+)?[KMGT]?")
    digest: str | None = None
    skiplock: Boolean = False


class DestroyParameters(GuestPath):
    purge: Boolean = False
    skiplock: Boolean = False


class ImportParameters(GuestPath):
    source: str
    storage: StorageName
    format: str | None = None
    target_disk: str | None = Field(None, alias="target-disk", description="The drive that it becomes.")
    target_disk_too: str | None = Field(
        None, alias="target_disk", description="The same in another spelling."
    )
    bwlimit: int | None = Field(None, ge=0, description="Override I/O bandwidth limit (in KiB/s).")


if TYPE_CHECKING:
    CreateParameters = CreateBase
    ConfigParameters = ConfigBase
else:
    CreateParameters = with_settings(CreateBase)
    ConfigParameters = with_settings(ConfigBase)

_CREATE_OWN = frozenset({"node", "vmid", "start", "storage", "pool", "unique", "bwlimit"})
_CONFIG_OWN = frozenset({"node", "vmid", "delete", "revert", "digest", "skiplock", "force"})


@method(
    "POST",
    "/nodes/{node}/qemu",
    permission=LoggedIn(),
    where=Where.NODE,
    protected=True,
    task=True,
    commands=(Command("qm create", "vmid"),),
)
async def create(ctx: Context, p: CreateParameters) -> Work:
    """Create a virtual machine."""
    if not ctx.allowed(f"/vms/{p.vmid}", "VM.Allocate"):
        raise PermissionDenied(f"Permission check failed (/vms/{p.vmid}, VM.Allocate)")
    manager, storages, who = ctx.service(GuestManager), ctx.service(Storages), ctx.identity.name
    unfinished = ctx.service(Unfinished)
    manager.check_quorum()
    settings = generated(p.vmid, settings_of(p, _CREATE_OWN), mac_prefix(ctx))
    settings = {**new_identity(), **settings}
    _check_files(ctx, settings)
    rates = import_rates_kib_s(ctx, settings, p.bwlimit)
    if owner := manager.registry.owner(p.vmid):
        raise GuestError(f"unable to create VM {p.vmid} - VM {p.vmid} already exists on node '{owner}'")

    async def run(log: TaskLog) -> None:
        empty = GuestConfig.parse(p.vmid, "", manager.registry.path(p.vmid))
        async with (
            manager.exclusive(p.vmid, "create"),
            unfinished.undertaking(p.vmid, "create", created=True, log=log) as under_way,
        ):
            await manager.registry.create(empty.edit({"lock": CREATE_LOCK}), who)
            made = await Making(storages, p.vmid, under_way, log.line, rates).realise(settings)
            await manager.registry.edit(p.vmid, made, frozenset({"lock"}), who=who)
        if p.start:
            await manager.start(p.vmid, say=log.line)

    return Work("qmcreate", str(p.vmid), run)


@method("GET", f"{_BASE}/config", permission=Privilege("/vms/{vmid}", "VM.Audit"), where=Where.NODE,
        commands=(Command("qm config", "vmid", output="qm_config"),))  # fmt: skip
async def read(ctx: Context, p: ReadParameters) -> dict[str, object]:
    """Get the virtual machine configuration."""
    registry = Registry(ctx.store)
    file = registry.file(p.vmid)
    config = GuestConfig.parse(p.vmid, file.text, file.path)
    settings = config.settings if p.current else config.applied().settings
    if p.snapshot:
        settings = _at(config, p.snapshot).settings
    notes = {"description": config.document.description} if config.document.description else {}
    secret = {"cipassword": MASK} if "cipassword" in settings else {}
    return {**settings, **secret, **notes, "digest": file.digest}


@method("GET", f"{_BASE}/pending", permission=Privilege("/vms/{vmid}", "VM.Audit"), where=Where.NODE,
        commands=(Command("qm pending", "vmid", output="qm_pending"),))  # fmt: skip
async def read_pending(ctx: Context, p: GuestPath) -> list[pending.Row]:
    """Get the virtual machine configuration with both current and pending values."""
    config = Registry(ctx.store).config(p.vmid)
    notes = {"description": config.document.description} if config.document.description else {}
    return [
        {name: MASK if row["key"] == "cipassword" and name in ("value", "pending") else text
         for name, text in row.items()}
        for row in pending.rows({**config.settings, **notes}, config.pending)
    ]  # fmt: skip


@method("PUT", f"{_BASE}/unlink", permission=Privilege("/vms/{vmid}", "VM.Config.Disk"), where=Where.NODE,
        protected=True, commands=(Command("qm disk unlink", "vmid", aliases=("qm unlink",)),))  # fmt: skip
async def unlink(ctx: Context, p: UnlinkParameters) -> None:
    """Unlink disks: they become unused; with ``force``, and for unused ones, their volumes are destroyed."""
    keys = frozenset(words(p.idlist))
    if wrong := sorted(key for key in keys if not is_disk_key(key) and not key.startswith("unused")):
        raise ParameterError({"idlist": f"'{wrong[0]}' is no disk; write keys such as scsi1, unused0"})
    await _changes(ctx).make(p.vmid, Wish({}, keys, destroy=p.force), who=ctx.identity.name)


@method("PUT", f"{_BASE}/resize", permission=Privilege("/vms/{vmid}", "VM.Config.Disk"), where=Where.NODE,
        protected=True, task=True,
        commands=(Command("qm disk resize", "vmid", "disk", "size", aliases=("qm resize",)),))  # fmt: skip
async def resize(ctx: Context, p: ResizeParameters) -> Work:
    """Extend a disk: to a size, or by one that begins with '+'. Shrinking is not supported."""
    changes, who = _changes(ctx), ctx.identity.name
    config = ctx.service(GuestManager).registry.config(p.vmid)
    if p.disk not in config.disks:
        raise ParameterError({"disk": f"disk '{p.disk}' does not exist; VM {p.vmid} has {_listed(config)}"})

    async def run(log: TaskLog) -> None:
        await changes.grow(
            p.vmid, p.disk, p.size, who=who, digest=p.digest or "", skiplock=p.skiplock, say=log.line
        )

    return Work("resize", str(p.vmid), run)


def _listed(config: GuestConfig) -> str:
    return ", ".join(config.disks) or "none"


@method("PUT", f"{_BASE}/config", permission=_CONFIG, where=Where.NODE, protected=True,
        commands=(Command("qm set", "vmid"),))  # fmt: skip
async def update(ctx: Context, p: ConfigParameters) -> None:
    """Set virtual machine options, at once. For disk work better use the POST method."""
    await _change(ctx, p, lambda text: None)


@method("POST", f"{_BASE}/config", permission=_CONFIG, where=Where.NODE, protected=True, task=True)
async def update_task(ctx: Context, p: ConfigParameters) -> Work:
    """Set virtual machine options in a task."""
    settings_of(p, _CONFIG_OWN)
    registry = ctx.service(GuestManager).registry
    registry.file(p.vmid)
    registry.check_digest(p.vmid, p.digest)

    async def run(log: TaskLog) -> None:
        await _change(ctx, p, log.line)

    return Work("qmconfig", str(p.vmid), run)


@method("DELETE", _BASE, permission=Privilege("/vms/{vmid}", "VM.Allocate"), where=Where.NODE, protected=True,
        task=True, commands=(Command("qm destroy", "vmid"),))  # fmt: skip
async def destroy(ctx: Context, p: DestroyParameters) -> Work:
    """Destroy the VM and all volumes that it owns."""
    manager, unfinished, who = ctx.service(GuestManager), ctx.service(Unfinished), ctx.identity.name
    storages = ctx.service(Storages)
    manager.registry.file(p.vmid)
    manager.check_quorum()

    async def run(log: TaskLog) -> None:
        async with manager.exclusive(p.vmid, "destroy"):
            config = manager.registry.config(p.vmid)
            manager.check_unlocked(config, p.skiplock or config.lock == SUSPENDED)
            if config.flag("protection"):
                raise GuestError(f"can't remove VM {p.vmid} - protection mode enabled")
            if manager.running(p.vmid) is not None:
                raise GuestError(f"VM {p.vmid} is running - destroy failed; stop it first")
            own = own_volumes(config)
            for volume in own if config.template else ():
                if clones := await storages.of(volume).clones(volume):
                    raise GuestError(
                        f"can't remove VM {p.vmid}: '{clones[0]}' rests on its disk '{volume}'; "
                        "remove the clones first"
                    )
            # Whole until its configuration is gone; from then on its volumes are nobody's, and are removed.
            async with unfinished.undertaking(p.vmid, "destroy", volumes=own, log=log):
                await manager.registry.remove(p.vmid, who)

    return Work("qmdestroy", str(p.vmid), run)


@method("POST", "/kvorum/nodes/{node}/qemu/{vmid}/import-disk", permission=RootOnly(), where=Where.NODE,
        protected=True, task=True,
        commands=(
            Command("qm disk import", "vmid", "source", "storage", aliases=("qm importdisk",)),
        ))  # fmt: skip
async def import_disk(ctx: Context, p: ImportParameters) -> Work:
    """Import an external disk image as an unused disk in a VM (or as ``target-disk``)."""
    wanted = p.target_disk or p.target_disk_too
    manager, storages, who = ctx.service(GuestManager), ctx.service(Storages), ctx.identity.name
    unfinished = ctx.service(Unfinished)
    manager.check_quorum()
    manager.check_unlocked(manager.registry.config(p.vmid))
    if wanted and not is_disk_key(wanted):
        raise ParameterError({"target-disk": f"'{wanted}' is no disk; one of {', '.join(BUSES)}, a number"})
    kind = storages.get(p.storage)
    rate = rate_kib_s(ctx, "restore", p.bwlimit, [p.storage])

    async def run(log: TaskLog) -> None:
        log.line(f"importing disk '{p.source}' to VM {p.vmid} ...")
        async with (
            manager.exclusive(p.vmid, "import disk"),
            unfinished.undertaking(p.vmid, "import disk", log=log) as under_way,
        ):
            made = await kind.import_disk(
                p.vmid, Path(p.source), p.format, log.progress, under_way.reserving, rate * 1024
            )
            config = manager.registry.config(p.vmid)
            key = wanted or free_key("unused", config.settings)
            size = await kind.size(made)
            disk = (
                Disk(str(made), {})
                if key.startswith("unused")
                else Disk.parse(str(made)).with_volume(made, size)
            )
            await manager.registry.edit(p.vmid, {key: str(disk)}, who=who)
        log.line(f"{key}: successfully imported disk '{made}'")

    return Work("imgcopy", str(p.vmid), run)


@method("POST", "/kvorum/nodes/{node}/qemu/{vmid}/unlock", permission=RootOnly(), where=Where.NODE,
        protected=True, commands=(Command("qm unlock", "vmid"),))  # fmt: skip
async def unlock(ctx: Context, p: GuestPath) -> None:
    """Remove the lock of a VM that no operation holds any more. One that is under way is not disturbed.
    The memory of one that is suspended to disk is given up."""
    manager = ctx.service(GuestManager)
    async with manager.exclusive(p.vmid, "unlock"):
        manager.check_quorum()
        lock = manager.registry.config(p.vmid).lock
        if lock == SUSPENDED and manager.running(p.vmid) is None:
            await ctx.service(Suspensions).forget(p.vmid, ctx.identity.name)
        elif lock:
            await manager.registry.edit(p.vmid, {}, frozenset({"lock"}), who=ctx.identity.name)


@method("GET", "/kvorum/nodes/{node}/qemu/{vmid}/showcmd", permission=RootOnly(), where=Where.NODE,
        protected=True, commands=(Command("qm showcmd", "vmid", output="qm_showcmd"),))  # fmt: skip
async def show_command(ctx: Context, p: ShowCommandParameters) -> list[str | list[str]]:
    """The command line that starts the VM, or with ``snapshot`` started it then; descriptors are numbered
    from 3. With ``pretty`` each option stands with its values.
    """
    manager, storages = ctx.service(GuestManager), ctx.service(Storages)
    config = manager.registry.config(p.vmid)
    config = _at(config, p.snapshot) if p.snapshot else config.applied()
    numbers = {name: 3 + index for index, name in enumerate(socket_names(config))}
    drives = {}
    for key, disk in config.disks.items():
        if (volume := disk.volume) is not None:
            kind = storages.of(volume)
            drives[key] = Drive(str(kind.path(volume)), kind.format(volume))
    links, free = {}, 3 + len(numbers)
    for key, nic in config.nics.items():
        taps = nic.queues if nic.bridge else 0
        links[key] = Link(tuple(range(free, free + taps)))
        free += taps
    tpm = free if "tpmstate0" in config.disks else None
    arguments = command_line(config, manager.workshop.facts, Wiring(numbers, drives, links, tpm))
    return [*_by_option(arguments)] if p.pretty else [*arguments]


def _at(config: GuestConfig, snapshot: str) -> GuestConfig:
    """The configuration as it was; raises ``GuestError`` when there is no such snapshot."""
    if snapshot not in config.document.sections:
        raise GuestError(f"snapshot '{snapshot}' does not exist")
    settings = {key: setting.value for key, setting in config.document.settings(snapshot).items()}
    return GuestConfig.parse(config.vmid, "", config.document.file).edit(settings)


def _by_option(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Each option of a command line with its values; first the program."""
    line: list[str] = []
    for word in arguments:
        if word.startswith("-") and line:
            yield line
            line = []
        line.append(word)
    yield line


async def _change(ctx: Context, p: ConfigBase, say: Say) -> None:
    settings = generated(p.vmid, settings_of(p, _CONFIG_OWN), mac_prefix(ctx))
    _check_files(ctx, settings)
    wish = Wish(
        settings,
        frozenset(words(p.delete)),
        frozenset(words(p.revert)),
        p.force,
        import_rates_kib_s(ctx, settings, None),
    )
    await _changes(ctx).make(
        p.vmid, wish, who=ctx.identity.name, digest=p.digest or "", skiplock=p.skiplock, say=say
    )


def _changes(ctx: Context) -> Changes:
    return Changes(ctx.service(GuestManager), ctx.service(Storages), ctx.service(Unfinished))


def _check_files(ctx: Context, settings: dict[str, str]) -> None:
    """Only root may name files outside storages; others need the right to allocate on each storage."""
    root = ctx.identity.user == "root@pam" and ctx.identity.token is None
    for key, value in settings.items():
        of_node = key.startswith(("hostpci", "parallel")) or (
            key.startswith("usb") and not Usb.parse(value).spice  # which is the client's
        )
        if not root and (key in ("args", "hookscript") or of_node):
            raise PermissionDenied(f"only root can set '{key}'")
        if key.startswith("serial") and value != "socket" and not root:
            raise PermissionDenied(f"only root can set '{key}' to a device of the node")
        if not is_disk_key(key):
            continue
        disk = Disk.parse(value)
        for file in (disk.file, disk.options.get("import-from", "")):
            if file.startswith("/") and not root:
                raise PermissionDenied(f"{key}: only root can use the path '{file}'")
            if ":" in file and not file.startswith("/"):
                path = f"/storage/{VolumeId.parse(file).storage}"
                if not ctx.allowed(path, "Datastore.AllocateSpace"):
                    raise PermissionDenied(f"Permission check failed ({path}, Datastore.AllocateSpace)")
