"""A guest cloned: its settings under a new id, its disks copied whole or rested upon.

The new guest is locked (``clone``) from the first write to the store to the last, which decides: until then
it is no guest, and whatever was made for it is noted (``Unfinished``) and removed by whoever finds the note.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from kvorum.access import put_in_pool
from kvorum.core.errors import Conflict
from kvorum.guests.cloudinit.drive import CloudInit
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import is_disk_key
from kvorum.guests.copies import plan
from kvorum.guests.copies.plan import Wish
from kvorum.guests.copies.running import copy_running
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.registry import config_path
from kvorum.guests.unfinished import Undertaking, Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import StorageKind, Storages, convert, make_last
from kvorum.store import Expect, MakeDirectory, Operation, Rename, Write

SIZE_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Copy:
    """One drive's way."""

    key: str
    disk: Disk
    source: StorageKind
    target: StorageKind
    format: str


class Clones:
    """Clones of this node's guests. The caller has checked what it may."""

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        self._manager = manager
        self._registry = manager.registry
        self._store = manager.store
        self._storages = storages
        self._unfinished = unfinished

    def check(self, wish: Wish) -> tuple[GuestConfig, list[_Copy]]:
        """Raise ``KvorumError`` when this can't be done; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(wish.vmid)
        self._manager.check_unlocked(config)
        wish.check(config)
        if owner := self._registry.owner(wish.newid):
            raise Conflict(
                f"unable to create VM {wish.newid}: VM {wish.newid} already exists on node '{owner}'"
            )
        copies = [
            self._copy(wish, config, key, disk) for key, disk in plan.drives(config, wish.snapshot).items()
        ]
        if (
            self._manager.running(wish.vmid) is not None
            and not wish.snapshot
            and "tpmstate0" in {c.key for c in copies}
        ):
            raise GuestError(
                f"VM {wish.vmid} has a TPM, whose state is not copied while it runs: stop it first"
            )
        self._check_node(wish, config, copies)
        plan.clone_of(config, wish, "")
        return config, copies

    async def make(self, wish: Wish, *, who: str, log: TaskLog) -> None:
        """Clone the guest; raises ``KvorumError``, and nothing is left of it then."""
        async with (
            self._manager.exclusive(wish.newid, f"clone of {wish.vmid}"),
            self._original(wish),
            self._unfinished.undertaking(wish.newid, "clone", created=True, log=log) as under_way,
        ):
            config, copies = self.check(wish)
            clone = plan.clone_of(config, wish, self._registry.path(wish.newid))
            await self._registry.create(clone, who)
            if wish.linked(config):
                made = await self._rest(wish, copies, under_way, log)
            elif self._manager.running(wish.vmid) is not None and not wish.snapshot:
                made = await self._copy_running(wish, copies, under_way, log)
            else:
                made = await self._copy_still(wish, copies, under_way, log)
            made |= await self._cloudinit(wish, config, under_way)
            await self._finish(wish, clone, made, who)
        if wish.pool:
            await put_in_pool(self._store, wish.pool, wish.newid, who=who)
        where = f" on node '{wish.node}'" if wish.node else ""
        log.line(f"VM {wish.newid} is a clone of VM {wish.vmid}{where}")

    @contextlib.asynccontextmanager
    async def _original(self, wish: Wish) -> AsyncIterator[None]:
        """Hold the original still. A template never changes, so many can be copied from it at once."""
        config = self._registry.config(wish.vmid)
        if config.template and not wish.linked(config):
            yield
            return
        async with self._manager.exclusive(wish.vmid, f"clone to {wish.newid}"):
            yield

    def _copy(self, wish: Wish, config: GuestConfig, key: str, disk: Disk) -> _Copy:
        volume = disk.volume
        assert volume is not None, "plan.drives gives volumes"
        source = self._storages.of(volume)
        format = source.format(volume)
        if wish.linked(config):
            able = source.capabilities
            if format not in able.clones or (wish.snapshot and not able.snapshot_clones):
                what = "on a snapshot" if wish.snapshot else f"on format {format}"
                raise GuestError(
                    f"storage '{source.id}' can't make linked clones {what} ({key} is '{volume}'); "
                    "make a full clone"
                )
            return _Copy(key, disk, source, source, format)
        if wish.snapshot and format not in source.capabilities.snapshots:
            raise GuestError(f"{key}: '{volume}' has no snapshots")
        target = self._storages.get(wish.storage) if wish.storage else source
        wanted = wish.format or (format if format in target.capabilities.formats else "")
        if wanted and wanted not in target.capabilities.formats:
            allowed = ", ".join(target.capabilities.formats)
            raise GuestError(f"storage '{target.id}' can't keep the format '{wanted}'; allowed: {allowed}")
        return _Copy(key, disk, source, target, wanted or target.capabilities.formats[0])

    def _check_node(self, wish: Wish, config: GuestConfig, copies: list[_Copy]) -> None:
        """A clone for another node may rest on, and lie on, what that node sees too."""
        if not wish.node or wish.node == self._store.node:
            return
        if wish.node not in {member.name for member in self._store.membership.members}:
            raise GuestError(f"node '{wish.node}' is not in the cluster")
        shared = [
            Disk.parse(value)
            for key, value in plan.original(config, wish.snapshot).items()
            if is_disk_key(key) and key not in {copy.key for copy in copies}
        ]
        used = {copy.target.id for copy in copies} | {d.volume.storage for d in shared if d.volume}
        for name in sorted(used):
            entry = self._storages.config().get(name)
            if not (entry.shared and entry.available_on(wish.node)):
                raise GuestError(
                    f"can't clone VM {wish.vmid} to node '{wish.node}': it does not see storage '{name}'; "
                    "clone it here and migrate the clone"
                )

    async def _rest(
        self, wish: Wish, copies: list[_Copy], under_way: Undertaking, log: TaskLog
    ) -> dict[str, Disk]:
        made = {}
        for copy in copies:
            assert copy.disk.volume is not None
            volume = await copy.source.clone(
                copy.disk.volume, wish.snapshot or None, wish.newid, under_way.reserving
            )
            log.line(f"{copy.key}: linked clone '{volume}'")
            made[copy.key] = Disk(str(volume), copy.disk.options)
        return made

    async def _cloudinit(self, wish: Wish, config: GuestConfig, under_way: Undertaking) -> dict[str, Disk]:
        """Empty drives of the clone's own, which its first start fills with what its settings say."""
        made = {}
        for key, disk in plan.cloudinit_drives(config, wish.snapshot).items():
            assert disk.volume is not None
            storage = wish.storage or disk.volume.storage
            volume = await CloudInit(self._storages).allocate(wish.newid, storage, under_way.reserving)
            made[key] = Disk(str(volume), disk.options)
        return made

    async def _allocate(self, wish: Wish, copy: _Copy, under_way: Undertaking) -> tuple[Disk, int]:
        """A new empty volume of the size that the drive has, or had at the snapshot."""
        assert copy.disk.volume is not None
        size = copy.disk.size_bytes if wish.snapshot else None
        if size is None:
            size = await asyncio.wait_for(copy.source.size(copy.disk.volume), SIZE_DEADLINE_S)
        volume = await copy.target.allocate(wish.newid, size, copy.format, reserving=under_way.reserving)
        return copy.disk.with_volume(volume, size), size

    async def _copy_still(
        self, wish: Wish, copies: list[_Copy], under_way: Undertaking, log: TaskLog
    ) -> dict[str, Disk]:
        """Copies of what nobody writes to: a guest that is off, a template, a snapshot."""
        new = {copy.key: await self._allocate(wish, copy, under_way) for copy in copies}
        total, done = sum(size for _, size in new.values()) or 1, 0
        for copy in copies:
            disk, size = new[copy.key]
            assert copy.disk.volume is not None and disk.volume is not None
            path, before = copy.target.path(disk.volume), done
            log.line(f"{copy.key}: copying '{copy.disk.volume}' to '{disk.volume}'")

            def progress(fraction: float, before: int = before, size: int = size) -> None:
                log.progress((before + fraction * size) / total)

            async with copy.source.reading(copy.disk.volume, wish.snapshot or None) as source:
                await convert(
                    source.path,
                    source.format,
                    ("-n", "--target-is-zero", "-O", copy.format, str(path)),
                    rate_bytes_s=wish.rate_kib_s * 1024,
                    snapshot=source.snapshot,
                    progress=progress,
                )
            await asyncio.to_thread(make_last, path)
            done += size
        return {key: disk for key, (disk, _) in new.items()}

    async def _copy_running(
        self, wish: Wish, copies: list[_Copy], under_way: Undertaking, log: TaskLog
    ) -> dict[str, Disk]:
        """Copies of a running guest's drives, all of one instant, while it goes on."""
        guest, launcher = self._manager.need_running(wish.vmid), self._manager.workshop.launcher
        new = {copy.key: (await self._allocate(wish, copy, under_way))[0] for copy in copies}
        targets, paths = {}, []
        for copy in copies:
            volume = new[copy.key].volume
            assert volume is not None
            path = copy.target.path(volume)
            paths.append(path)
            await asyncio.to_thread(launcher.own, wish.vmid, path)
            targets[copy.key] = (str(path), copy.format)
        await copy_running(self._manager, guest, targets, wish.rate_kib_s, log)
        for path in paths:
            await asyncio.to_thread(launcher.own, wish.newid, path)
            await asyncio.to_thread(make_last, path)
        return new

    async def _finish(self, wish: Wish, clone: GuestConfig, made: Mapping[str, Disk], who: str) -> None:
        """The write that decides: the clone has its drives, and no lock; on another node it goes there."""
        whole = clone.edit({key: str(disk) for key, disk in made.items()}, frozenset({"lock"}))
        if not wish.node or wish.node == self._store.node:
            await self._registry.replace(clone, whole, who=who)
            return
        here, there = config_path(self._store.node, wish.newid), config_path(wish.node, wish.newid)
        folder = there.rpartition("/")[0]
        operations: list[Operation] = []
        if self._store.read(folder) is None and wish.node not in self._store.names("nodes"):
            operations.append(MakeDirectory(folder))
        operations += [Rename(here, there), Write(there, whole.document.render().encode())]
        file = self._registry.file(wish.newid)
        await self._store.transact(operations, [Expect(here, file.version)], who=who)
