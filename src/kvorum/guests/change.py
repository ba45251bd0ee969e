"""A guest's settings changed: at once, in its running QEMU, or with its next start.

What QEMU need not know changes at once. The rest is written down as pending first; then what the running
QEMU takes is plugged, and what it has taken is pending no longer. So a daemon that dies in between, or a
guest that does not let a device go, leaves a change that waits for the next start, never one that is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.core.ids import VolumeId
from kvorum.guests.cloudinit import CloudInit
from kvorum.guests.cloudinit.drive import drive_of, with_note
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.devices import parse_size, render_size
from kvorum.guests.config.drives import is_cloudinit, is_disk_key, owned
from kvorum.guests.config.pending import Pending
from kvorum.guests.disks import Making
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import nodes
from kvorum.guests.machine.hotplug import Hotplug, Way, way
from kvorum.guests.manager import GuestManager
from kvorum.guests.unfinished import Unfinished
from kvorum.storage import Storages

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to change."""

    changes: Mapping[str, str]
    delete: frozenset[str] = frozenset()
    revert: frozenset[str] = frozenset()
    """Settings whose pending change is dropped."""
    destroy: bool = False
    """Destroy the volumes of the drives that go."""
    rates_kib_s: Mapping[str, int] = field(default_factory=dict)
    """How fast the drives that are filled from images are, by key; 0 and none: as it can."""

    def check(self) -> None:
        """Raises ``ParameterError`` for what contradicts itself."""
        errors = {
            key: f"can't delete '{key}' and set it at the same time"
            for key in self.delete & self.changes.keys()
        }
        for key in self.revert & (self.delete | self.changes.keys()):
            errors[key] = f"can't revert '{key}' and change it at the same time"
        if errors:
            raise ParameterError(errors)


class Changes:
    """Changes of this node's guests. The caller has checked what it may."""

    def __init__(self, manager: GuestManager, storages: Storages, unfinished: Unfinished) -> None:
        self._manager = manager
        self._registry = manager.registry
        self._storages = storages
        self._unfinished = unfinished

    async def make(
        self, vmid: int, wish: Wish, *, who: str, digest: str = "", skiplock: bool = False,
        say: Say = lambda text: None,
    ) -> None:  # fmt: skip
        """Make a change; returns when it is written, and what can be plugged is.

        Raises ``ParameterError`` naming each setting that the guest did not take now, and that is pending, or
        what else is wrong, and nothing has changed then.
        """
        async with self._manager.exclusive(vmid, "config"):
            self._manager.check_quorum()
            self._registry.check_digest(vmid, digest or None)
            config = self._registry.config(vmid)
            self._manager.check_unlocked(config, skiplock)
            wish.check()
            running = self._manager.running(vmid) is not None
            going = wish.delete & config.unused.keys()
            going |= _cloudinit_drives(config, wish.delete | wish.changes.keys())
            if not running:
                going |= config.pending.forced | (wish.delete if wish.destroy else frozenset())
            async with self._unfinished.undertaking(
                vmid, "change of the configuration", volumes=_volumes(config, going)
            ) as under_way:
                made = await Making(self._storages, vmid, under_way, say, wish.rates_kib_s).realise(
                    wish.changes
                )
                wish = replace(wish, changes=made)
                changed = staged(config, wish) if running else settled(config, wish)
                await self._registry.replace(config, changed, who=who, digest=digest)
            if running:
                await self._plug(changed, made.keys() | wish.delete, who, say)

    async def grow(
        self, vmid: int, key: str, size: str, *, who: str, digest: str = "", skiplock: bool = False,
        say: Say = lambda text: None,
    ) -> None:  # fmt: skip
        """Make a disk larger, also while its guest runs: to a size, or with ``+`` by one.

        Raises ``GuestError`` for a disk that can't grow, or would shrink.
        """
        async with self._manager.exclusive(vmid, "resize"):
            self._manager.check_quorum()
            self._registry.check_digest(vmid, digest or None)
            config = self._registry.config(vmid)
            self._manager.check_unlocked(config, skiplock)
            disk = config.disks.get(key)
            if disk is None:
                raise GuestError(f"disk '{key}' does not exist")
            if (volume := disk.volume) is None or disk.is_cdrom:
                raise GuestError(f"you can't resize a CD drive or a path: {key} is '{disk.file}'")
            kind = self._storages.of(volume)
            present = await kind.size(volume)
            wanted = -(-parse_size(size.removeprefix("+")) // 1024) * 1024
            wanted += present if size.startswith("+") else 0
            if wanted < present:
                shown = f"{render_size(present)} to {render_size(wanted)}"
                raise GuestError(f"shrinking disks is not supported: {key} would go from {shown}")
            guest = self._manager.running(vmid)
            if wanted > present and guest is not None:
                await kind.before_growing(volume, wanted)
                node = await nodes.current(guest.monitor, key)
                await guest.monitor.execute("block_resize", {"node-name": node, "size": wanted})
            elif wanted > present:
                await kind.grow(volume, wanted)
            say(f"{key}: '{volume}' has {render_size(wanted)}")
            await self._registry.edit(vmid, {key: str(disk.with_volume(volume, wanted))}, who=who)

    async def renew_cloudinit(self, vmid: int, *, who: str) -> None:
        """Have a guest's cloud-init drive say what its configuration does now, also while it runs.

        Raises ``GuestError`` when it has none.
        """
        async with self._manager.exclusive(vmid, "cloudinit"):
            self._manager.check_quorum()
            config = self._registry.config(vmid)
            self._manager.check_unlocked(config)
            if (key := drive_of(config)) is None:
                raise GuestError(f"VM {vmid} has no cloud-init drive; add one with --ide2 STORAGE:cloudinit")
            guest, empty = self._manager.running(vmid), {key: "none,media=cdrom"}
            if guest is None:
                after = await CloudInit(self._storages).refresh(config)
            else:
                # Out of the drive and in again, so that the guest's system reads it anew.
                hotplug, without = Hotplug(self._manager.workshop, guest), config.edit(empty)
                await hotplug.change(config, without, key)
                await CloudInit(self._storages).write(config, key)
                await hotplug.change(without, config, key)
                after = with_note(config)
            if after is not config:
                await self._registry.replace(config, after, who=who)
            if guest is not None:
                guest.config = after

    async def _plug(self, config: GuestConfig, keys: Iterable[str], who: str, say: Say) -> None:
        """Have the running QEMU take what it can of what waits."""
        errors: dict[str, str] = {}
        guest = self._manager.need_running(config.vmid)
        hotplug = Hotplug(self._manager.workshop, guest)
        for key in sorted(keys):
            pending = config.pending
            waits = key in pending.changes or key in pending.delete
            if not waits or way(config, key, pending.changes.get(key)) is not Way.PLUG:
                continue
            then = promoted(config, key)
            try:
                if key in then.disks and is_cloudinit(then.disks[key]):
                    await CloudInit(self._storages).write(then, key)
                    then = with_note(then)
                await hotplug.change(config, then, key)
            except (KvorumError, TimeoutError) as error:
                errors[key] = (
                    f"hotplug problem - {error}; it is pending, and takes effect with the next start"
                )
                say(f"{key}: {errors[key]}")
                continue
            doomed = _volumes(config, (pending.forced & {key}) | _cloudinit_drives(config, {key}))
            async with self._unfinished.undertaking(config.vmid, "removal of a drive", volumes=doomed):
                await self._registry.replace(config, then, who=who)
            guest.config = config = then
        if errors:
            raise ParameterError(errors)


def _volumes(config: GuestConfig, keys: Set[str]) -> list[VolumeId]:
    """The guest's own volumes of those settings that are drives, also unused ones."""
    drives = {**config.disks, **config.unused}
    found = (owned(config.vmid, drives[key]) for key in sorted(drives.keys() & keys))
    return [volume for volume in found if volume is not None]


def _cloudinit_drives(config: GuestConfig, keys: Set[str]) -> set[str]:
    """Those of the drives that cloud-init reads: nothing is lost with them."""
    return {key for key, disk in config.disks.items() if key in keys and is_cloudinit(disk)}


def settled(config: GuestConfig, wish: Wish) -> GuestConfig:
    """A stopped guest's configuration after a change: nothing waits any more."""
    now = reverted(config, wish.revert)
    pending = now.pending.stage(wish.changes, wish.delete)
    bare = now.with_pending(Pending())
    destroy = now.pending.forced | (wish.delete if wish.destroy else frozenset())
    return keeping_what_waited(now, bare.changed(pending.changes, frozenset(pending.delete), destroy))


def staged(config: GuestConfig, wish: Wish) -> GuestConfig:
    """A running guest's configuration: what QEMU need not know is changed, the rest waits."""
    now = reverted(config, wish.revert)
    pending = now.pending
    free: dict[str, str] = {}
    gone: set[str] = set()
    for key, value in wish.changes.items():
        if way(now, key, value) is Way.FREE:
            free[key] = value
            pending = pending.revert({key})
        else:
            pending = pending.stage({key: value}, ())
    for key in wish.delete:
        if key not in now.settings or way(now, key, None) is Way.FREE:
            gone.add(key)
            pending = pending.revert({key})
        else:
            pending = pending.stage({}, {key}, force=wish.destroy)
    return keeping_what_waited(now, now.with_pending(pending).edit(free, frozenset(gone)))


def reverted(config: GuestConfig, keys: Set[str]) -> GuestConfig:
    """Without what waits of these settings; a volume that was made for one of them becomes ``unused``."""
    return keeping_what_waited(config, config.with_pending(config.pending.revert(keys)))


def keeping_what_waited(before: GuestConfig, after: GuestConfig) -> GuestConfig:
    """With each of the guest's volumes that waited for the next start, and that nothing names any more, as
    ``unused``.
    """
    waiting = before.pending.changes
    named = {disk.file for disk in (*after.disks.values(), *after.unused.values())}
    named |= {Disk.parse(value).file for key, value in after.pending.changes.items() if is_disk_key(key)}
    for disk in (Disk.parse(value) for key, value in sorted(waiting.items()) if is_disk_key(key)):
        if disk.file not in named and owned(before.vmid, disk) is not None:
            after = after.keep(disk)
    return after


def promoted(config: GuestConfig, key: str) -> GuestConfig:
    """With one setting that waited in effect."""
    pending = config.pending
    rest = config.with_pending(pending.revert({key}))
    if key in pending.delete:
        going = frozenset({key})
        return rest.changed({}, going, going & pending.forced)
    return rest.changed({key: pending.changes[key]}, frozenset())
