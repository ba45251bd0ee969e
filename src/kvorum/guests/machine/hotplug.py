"""Changes that a running QEMU takes: which they are (pure), and their commands.

What is plugged gets the same name and address as on a command line made anew, since a migration's target
builds the machine from the configuration. So nothing is plugged whose bus would be another one then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from enum import Enum, auto

from kvorum.core.errors import KvorumError
from kvorum.guests.config import Disk, GuestConfig, Nic
from kvorum.guests.config.devices import THROTTLES
from kvorum.guests.config.hardware import Usb
from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine import nodes, usb
from kvorum.guests.machine.cards import nic_device
from kvorum.guests.machine.commandline import buses
from kvorum.guests.machine.disks import blockdev, controllers, disk_device, node_name
from kvorum.guests.machine.guest import RunningGuest, Workshop
from kvorum.guests.machine.iothreads import thread_of
from kvorum.guests.machine.launcher import LIMITS, close_links
from kvorum.guests.machine.memory import STATIC_MIB
from kvorum.guests.machine.plug import change_cpus, change_memory, unplug
from kvorum.guests.machine.process import bind
from kvorum.guests.machine.throttle import limited

TRAY_TRIES = 5
FREE = frozenset({
    "name", "description", "tags", "onboot", "startup", "protection", "autostart", "hookscript", "lock",
    "migrate_downtime", "migrate_speed", "boot", "bootdisk", "template", "vmstatestorage",
    "ciuser", "cipassword", "citype", "ciupgrade", "cicustom", "nameserver", "searchdomain", "sshkeys",
})  # fmt: skip
"""Settings that QEMU doesn't know, so they may change at any time."""
_FREE_DISK = frozenset({"size", "backup", "replicate", "shared"})
_FREE_NIC = frozenset({"link_down", "firewall"})
_WHOLE = frozenset(
    {
        "bootindex",
        "channel",
        "lun",
        "rotation_rate",
        "scsi-id",
        "unit",
        "host_mtu",
        "num_queues",
        "num-queues",
        "p2",
        "p3",
        "vectors",
        "wwn",
    }
)
_SWITCHES = frozenset({"mq"})


class Way(Enum):
    """How a change takes effect."""

    FREE = auto()
    """QEMU need not know."""
    PLUG = auto()
    """The running QEMU takes it."""
    LATER = auto()
    """The next QEMU has it."""


def way(now: GuestConfig, key: str, value: str | None) -> Way:
    """How one setting of a running guest changes to ``value``, or goes (``None``)."""
    if key == "hotplug":
        then = now.edit({key: value} if value is not None else {}, frozenset({key} if value is None else ()))
        return Way.LATER if (now.hotplug ^ then.hotplug) & {"cpu", "memory"} else Way.FREE
    if key in FREE or key.startswith(("unused", "ipconfig")) or now.settings.get(key) == value:
        return Way.FREE
    then = now.edit({key: value}) if value is not None else now.edit({}, frozenset({key}))
    if key in now.disks or key in then.disks:
        return _disk_way(now, then, key)
    if key in now.nics or key in then.nics:
        return _nic_way(now, then, key)
    if key in now.usbs or key in then.usbs:
        return _usb_way(now, now.usbs.get(key), then.usbs.get(key))
    if key in LIMITS or (key == "affinity" and value is not None):
        return Way.PLUG
    if key == "vcpus" and "cpu" in now.hotplug:
        return Way.PLUG
    if key == "memory" and "memory" in now.hotplug:
        return Way.PLUG if min(now.memory_mib, then.memory_mib) >= STATIC_MIB else Way.LATER
    if key == "balloon" and now.number("balloon", 1) and then.number("balloon", 1):
        return Way.PLUG
    return Way.LATER


def _disk_way(now: GuestConfig, then: GuestConfig, key: str) -> Way:
    old, new = now.disks.get(key), then.disks.get(key)
    if old and new and old.is_cdrom and new.is_cdrom:
        return Way.PLUG
    if old and new and old.file == new.file:
        changed = {name for name, _ in old.options.items() ^ new.options.items()}
        if changed <= _FREE_DISK:
            return Way.FREE
        return Way.PLUG if changed <= _FREE_DISK | THROTTLES else Way.LATER
    pluggable = key.startswith("virtio") or (
        key.startswith("scsi") and now.text("scsihw").startswith("virtio-scsi")
    )
    same = list(buses(now)) == list(buses(then))
    return Way.PLUG if pluggable and same and "disk" in now.hotplug else Way.LATER


def _nic_way(now: GuestConfig, then: GuestConfig, key: str) -> Way:
    old, new = now.nics.get(key), then.nics.get(key)
    if old and new and _fixed(old) == _fixed(new):
        return Way.PLUG
    same = list(buses(now)) == list(buses(then))
    return Way.PLUG if same and "network" in now.hotplug else Way.LATER


def _usb_way(now: GuestConfig, old: Usb | None, new: Usb | None) -> Way:
    if old == new:
        return Way.FREE
    redirected = any(each and each.spice for each in (old, new))
    return Way.PLUG if "usb" in now.hotplug and not redirected else Way.LATER


def _fixed(nic: Nic) -> tuple[object, ...]:
    """What of a card is not the cable's state."""
    return nic.model, nic.mac, nic.bridge, {k: v for k, v in nic.options.items() if k not in _FREE_NIC}


class Hotplug:
    """Changes made to one running guest. Its methods raise ``KvorumError`` and leave QEMU as it was."""

    def __init__(self, workshop: Workshop, guest: RunningGuest) -> None:
        self._workshop = workshop
        self._guest = guest
        self._monitor = guest.monitor

    async def change(self, now: GuestConfig, then: GuestConfig, key: str) -> None:
        """Have QEMU take one setting that ``way`` calls ``PLUG``."""
        if key in LIMITS:
            await self._workshop.launcher.limit(then)
        elif key == "affinity":
            await asyncio.to_thread(bind, self._guest.process.pid, then.affinity)
        elif key == "vcpus":
            wanted = then.number("vcpus", then.cores * then.sockets)
            await change_cpus(self._monitor, wanted, self._guest.record.accelerator)
        elif key == "memory":
            await change_memory(self._monitor, now, then)
        elif key == "balloon":
            await self._monitor.execute("balloon", {"value": then.number("balloon", 0) << 20})
        elif key in now.nics or key in then.nics:
            await self._nic(key, now.nics.get(key), then.nics.get(key))
        elif key in now.usbs or key in then.usbs:
            await self._usb(then, key, now.usbs.get(key), then.usbs.get(key))
        else:
            await self._disk(now, then, key)

    @contextlib.asynccontextmanager
    async def _bringing(self, controllers: Iterable[str]) -> AsyncIterator[None]:
        """Plug those controllers that are not there, for the block; when it fails they are taken out again.

        Raises ``GuestError`` that names also a controller which the guest keeps; the next device uses it.
        """
        brought: list[str] = []
        try:
            present = await self._devices()
            for controller in map(_properties, controllers):
                if controller["id"] not in present:
                    await self._monitor.execute("device_add", controller)
                    brought.append(str(controller["id"]))
            yield
        except BaseException as error:
            for device in reversed(brought):
                try:
                    await unplug(self._monitor, device)
                except (KvorumError, TimeoutError) as kept:
                    raise GuestError(f"{error}; {device} stays until the next start: {kept}") from error
            raise

    async def _devices(self) -> set[str]:
        """The names of all devices that QEMU has by name."""
        found = await self._monitor.execute("qom-list", {"path": "/machine/peripheral"})
        return {str(entry["name"]) for entry in found}

    # Disks

    async def _disk(self, now: GuestConfig, then: GuestConfig, key: str) -> None:
        old, new = now.disks.get(key), then.disks.get(key)
        if old and new and old.is_cdrom and new.is_cdrom:
            await self._medium(key, old, new)
            return
        if old and new and old.file == new.file:
            await self._guest.limit(key, new)
            return
        if old:
            # A controller takes its last disk along: both go, or, when the guest refuses, neither does.
            for device in sorted(_ids(now) - _ids(then)) or (key,):
                await unplug(self._monitor, device)
            await self._forget(key)
            await self._end_thread(thread_of(now, key))
        if new:
            await self._plug_disk(then, key, new)
            if limited(new):
                await self._guest.limit(key, new)

    async def _plug_disk(self, then: GuestConfig, key: str, disk: Disk) -> None:
        drive = await self._workshop.drive(self._guest.vmid, key, disk)
        thread = thread_of(then, key)
        if thread is not None and not await self._has_thread(thread):
            await self._monitor.execute("object-add", {"qom-type": "iothread", "id": thread})
        try:
            if drive is not None:
                await self._monitor.execute("blockdev-add", blockdev(key, disk, drive))
            async with self._bringing(controllers(then)):
                await self._monitor.execute(
                    "device_add", _properties(disk_device(then, key, disk, drive is not None))
                )
        except BaseException:
            with contextlib.suppress(QmpError):
                await self._monitor.execute("blockdev-del", {"node-name": node_name(key)})
            with contextlib.suppress(QmpError):  # a controller that stays has it still
                await self._end_thread(thread)
            raise

    async def _end_thread(self, thread: str | None) -> None:
        """End the thread of a disk that has gone; nothing to do where there is none."""
        if thread is not None and await self._has_thread(thread):
            await self._monitor.execute("object-del", {"id": thread})

    async def _has_thread(self, thread: str) -> bool:
        return any(each["id"] == thread for each in await self._monitor.execute("query-iothreads"))

    async def _medium(self, key: str, old: Disk, new: Disk) -> None:
        drive = await self._workshop.drive(self._guest.vmid, key, new)
        if old.file not in ("none", "cdrom"):
            await self._with_open_tray(key, "blockdev-remove-medium", {"id": key})
            await self._forget(key)
        if drive is not None:
            await self._monitor.execute("blockdev-add", blockdev(key, new, drive))
            medium = {"id": key, "node-name": node_name(key)}
            await self._with_open_tray(key, "blockdev-insert-medium", medium)
        await self._monitor.execute("blockdev-close-tray", {"id": key})

    async def _with_open_tray(self, key: str, command: str, arguments: dict[str, str]) -> None:
        """Open the tray and do what needs it open; a guest (its firmware, say) may close it in between."""
        for left in reversed(range(TRAY_TRIES)):
            await self._monitor.execute("blockdev-open-tray", {"id": key, "force": True})
            try:
                await self._monitor.execute(command, arguments)
                return
            except QmpError as error:
                if not left or "is not open" not in str(error):
                    raise

    async def _forget(self, key: str) -> None:
        """Close a drive's file; nothing to do for one that was empty."""
        present = await nodes.present(self._monitor)
        for name in nodes.names(key):
            if name in present:
                await self._monitor.execute("blockdev-del", {"node-name": name})

    # Network cards

    async def _nic(self, key: str, old: Nic | None, new: Nic | None) -> None:
        if old and new and _fixed(old) == _fixed(new):
            await self._guest.set_cable(key, new)
            return
        if old:
            await unplug(self._monitor, key)
            await self._monitor.execute("netdev_del", {"id": key})
        if new:
            await self._plug_nic(key, new)
            await self._guest.set_cable(key, new)

    async def _plug_nic(self, key: str, nic: Nic) -> None:
        link = await self._workshop.launcher.open_link(self._guest.vmid, key, nic)
        try:
            netdev: dict[str, object] = {"type": "tap" if link.fds else "user", "id": key}
            for name, descriptors in (("fd", link.fds), ("vhostfd", link.vhost_fds)):
                given = [f"{key}-{name}{number}" for number in range(len(descriptors))]
                for one, descriptor in zip(given, descriptors, strict=True):
                    await self._monitor.give(descriptor, "getfd", {"fdname": one})
                if given:
                    netdev[name if len(given) == 1 else f"{name}s"] = ":".join(given)
            if link.vhost_fds:
                netdev["vhost"] = True
            await self._monitor.execute("netdev_add", netdev)
        finally:
            close_links({key: link})
        try:
            await self._monitor.execute("device_add", _properties(nic_device(key, nic, link)))
        except BaseException:
            with contextlib.suppress(QmpError):
                await self._monitor.execute("netdev_del", {"id": key})
            raise

    # USB devices

    async def _usb(self, then: GuestConfig, key: str, old: Usb | None, new: Usb | None) -> None:
        opened = await asyncio.to_thread(usb.open_one, key, new) if new else None
        try:
            if old:
                # The controller goes with its last device: both, or, when the guest refuses, neither.
                await unplug(self._monitor, key if then.usbs else usb.CONTROLLER_ID)
                await self._drop_descriptor(key)
            if opened is not None:
                await self._plug_usb(key, opened)
        finally:
            if opened is not None:
                os.close(opened)

    async def _plug_usb(self, key: str, descriptor: int) -> None:
        given = {"fdset-id": usb.fd_set(key), "opaque": key}
        await self._monitor.give(descriptor, "add-fd", given)
        try:
            async with self._bringing([usb.CONTROLLER]):
                await self._monitor.execute("device_add", _properties(usb.device(key)))
        except BaseException:
            await self._drop_descriptor(key)
            raise

    async def _drop_descriptor(self, key: str) -> None:
        """Have QEMU close its copy; it may have done so with the device."""
        with contextlib.suppress(QmpError):
            await self._monitor.execute("remove-fd", {"fdset-id": usb.fd_set(key)})


def _ids(config: GuestConfig) -> frozenset[str]:
    return frozenset(str(_properties(controller)["id"]) for controller in controllers(config))


def _properties(device: str) -> dict[str, object]:
    """A ``-device`` argument as ``device_add`` takes it."""
    driver, *pairs = device.split(",")
    properties: dict[str, object] = {"driver": driver}
    for pair in pairs:
        key, _, value = pair.partition("=")
        properties[key] = int(value, 0) if key in _WHOLE else value == "on" if key in _SWITCHES else value
    return properties
