"""A running guest: its QEMU process, the connection to it, and how both come about."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig, Nic
from kvorum.guests.config.drives import is_cloudinit
from kvorum.guests.errors import GuestConfigError, GuestError, QmpError, QmpLost, StartFailed
from kvorum.guests.machine import tpm, trouble, usb
from kvorum.guests.machine.cards import Link
from kvorum.guests.machine.commandline import (
    NodeFacts,
    Wiring,
    accelerator,
    command_line,
    machine_type,
    socket_names,
)
from kvorum.guests.machine.disks import Drive
from kvorum.guests.machine.launcher import Launcher, close_links
from kvorum.guests.machine.process import Process, bind, last_output, start_time
from kvorum.guests.machine.qmp import Monitor
from kvorum.guests.machine.runtime import RunFiles, RunRecord
from kvorum.guests.machine.throttle import limited, limits
from kvorum.storage import StorageError, StorageKind, Storages, takes_direct_io

log = logging.getLogger(__name__)

READY_DEADLINE_S = 30.0
ATTACH_DEADLINE_S = 5.0
_STATUS_EVENTS = {
    "STOP": "paused",
    "RESUME": "running",
    "SUSPEND": "suspended",
    "GUEST_PANICKED": "guest-panicked",
}


class RunningGuest:
    """One guest's QEMU. ``status`` follows QEMU's events: running, paused, io-error, inmigrate, …"""

    def __init__(
        self,
        config: GuestConfig,
        record: RunRecord,
        process: Process,
        monitor: Monitor,
        tpm: Process | None = None,
    ) -> None:
        self.vmid = record.vmid
        self.config = config
        self.record = record
        self.process = process
        self.monitor = monitor
        self.tpm = tpm
        """Its swtpm, which ends with QEMU."""
        self.status = "prelaunch"
        self.end_reason = ""
        """Why it ended, if somebody asked for it or the guest switched itself off; empty: it crashed."""
        self.trouble = ""
        """Why QEMU has it stand still, and what to do: its storage is full, say; empty: it has no trouble."""
        self._task = asyncio.create_task(self._follow(), name=f"guest {self.vmid}")

    async def refresh(self) -> str:
        """Ask QEMU for the status; raises as ``Monitor.execute``."""
        self.status = (await self.monitor.execute("query-status"))["status"]
        if self.status == "io-error" and not self.trouble:
            self._stands_still(trouble.found(self.config, await self.monitor.execute("query-block")))
        return self.status

    async def resume(self) -> None:
        """Let the guest run."""
        await self.monitor.execute("cont")
        self.status = "running"

    async def pause(self) -> None:
        """Let the guest stand still; what it had in memory stays there."""
        await self.monitor.execute("stop")
        self.status = "paused"

    async def set_cable(self, key: str, nic: Nic) -> None:
        """Plug a card's cable in or out, as its setting says."""
        await self.monitor.execute("set_link", {"name": key, "up": not nic.link_down})

    async def limit(self, key: str, disk: Disk) -> None:
        """Hold a disk to its limits, or to none."""
        # What holds a virtio disk's data is a part of its device.
        device = f"/machine/peripheral/{key}/virtio-backend" if key.startswith("virtio") else key
        await self.monitor.execute("block_set_io_throttle", {"id": device, **limits(disk)})

    async def stop(self, reason: str, deadline_s: float = 10.0) -> None:
        """End QEMU: by its own command, then by signals. Raises ``GuestError`` when it can't be ended."""
        self.end_reason = self.end_reason or reason
        with contextlib.suppress(QmpLost, QmpError, TimeoutError):
            await self.monitor.execute("quit", deadline_s=3.0)
        if not await self.process.wait(deadline_s) and not await self.process.kill():
            raise GuestError(
                f"VM {self.vmid}: QEMU (pid {self.process.pid}) can't be ended; is its storage stuck?"
            )

    async def detach(self) -> None:
        """Let go of it; QEMU and its guest go on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.monitor.close()
        for process in (self.process, self.tpm):
            if process is not None:
                process.detach()

    async def end_helpers(self) -> None:
        """Wait until what stands beside QEMU has ended after it; what doesn't within 3 s is killed."""
        if self.tpm is not None and not await self.tpm.wait(3.0):
            await self.tpm.kill()

    async def _follow(self) -> None:
        async with self.monitor.listen("SHUTDOWN", "BLOCK_IO_ERROR", *_STATUS_EVENTS) as events:
            with contextlib.suppress(QmpLost):
                while True:
                    event = await events.next()
                    match event.name:
                        case "SHUTDOWN":
                            self.end_reason = self.end_reason or str(event.data.get("reason", "shutdown"))
                        case "BLOCK_IO_ERROR":
                            if event.data["action"] == "stop" and not self.trouble:  # then STOP follows
                                self._stands_still(trouble.told(self.config, event.data))
                        case "STOP" if self.trouble:
                            self.status = "io-error"
                        case status:
                            self.status, self.trouble = _STATUS_EVENTS[status], ""

    def _stands_still(self, why: str) -> None:
        self.trouble = why
        log.error("VM %d stands still: %s", self.vmid, why)


class Workshop:
    """Begins guests' QEMUs on this node, and takes up those that an earlier daemon began."""

    def __init__(self, launcher: Launcher, storages: Storages, files: RunFiles, facts: NodeFacts) -> None:
        self.launcher = launcher
        self.storages = storages
        self.files = files
        self.facts = facts

    async def start(
        self,
        config: GuestConfig,
        *,
        machine: str = "",
        pinned: str = "",
        cpu: str = "",
        incoming: bool = False,
        only_disks: bool = False,
    ) -> RunningGuest:
        """Begin the guest's QEMU, stopped. Whatever fails, nothing stays. With ``only_disks`` it is there to
        serve the guest's volumes, and no guest will run in it.

        Raises ``StartFailed`` with QEMU's last output, or the ``KvorumError`` of what is missing.
        """
        if config.template:
            raise GuestConfigError(f"VM {config.vmid} is a template; clone it and start the clone")
        drives = await self._drives(config)
        self.files.prepare()
        links = await self.launcher.open_links(config)
        devices = {} if only_disks else await self._usb(config, links)
        sockets = self.files.listen(config.vmid, socket_names(config))
        begun: list[Process] = []
        try:
            numbers = {name: server.fileno() for name, server in sockets.items()}
            taps = [fd for link in links.values() for fd in (*link.fds, *link.vhost_fds)]
            identity = self.launcher.identity(config.vmid)
            with tpm.line() as (ours, theirs):
                has_tpm = "tpmstate0" in drives and not only_disks
                wiring = Wiring(numbers, drives, links, ours.fileno() if has_tpm else None, devices)
                arguments = command_line(
                    config, self.facts, wiring, machine=machine, pinned=pinned, cpu=cpu, incoming=incoming
                )
                descriptors = [*numbers.values(), *taps, *devices.values()]
                if has_tpm:
                    descriptors.append(ours.fileno())
                    log, state = self.files.path(config.vmid, "tpm.log"), drives["tpmstate0"].path
                    begun.append(await tpm.start(config.disks["tpmstate0"], state, theirs, log, identity))
                log = self.files.path(config.vmid, "log")
                begun.insert(0, await Process.start(arguments, descriptors, log, identity))
        except BaseException:
            await asyncio.shield(_kill(begun))
            self.files.remove(config.vmid)
            raise
        finally:
            close_links(links)
            usb.close_all(devices)
            for server in sockets.values():
                server.close()
        try:
            return await self._settle(config, begun, machine, pinned, incoming)
        except BaseException:
            await asyncio.shield(_kill(begun))
            self.files.remove(config.vmid)
            raise

    async def attach(self, config: GuestConfig) -> RunningGuest | None:
        """Take up a QEMU that an earlier daemon began; ``None`` when there is none alive.

        Raises ``QmpLost`` or ``DeadlineExceeded`` when it lives and does not answer.
        """
        record = self.files.read(config.vmid)
        if record is None:
            return None
        log = self.files.path(record.vmid, "log")
        process = Process.attach(record.pid, record.started, log)
        if process is None:
            return None
        try:
            address = str(self.files.path(record.vmid, "qmp"))
            monitor = await Monitor.connect(f"VM {record.vmid}", address, ATTACH_DEADLINE_S)
        except BaseException:
            process.detach()
            raise
        helper = Process.attach(record.tpm_pid, record.tpm_started, log) if record.tpm_pid else None
        guest = RunningGuest(config, record, process, monitor, helper)
        await guest.refresh()
        return guest

    def note(self, guest: RunningGuest, record: RunRecord) -> None:
        """Replace what a later daemon is told about a guest."""
        guest.record = record
        self.files.write(record)

    async def _settle(
        self, config: GuestConfig, begun: Sequence[Process], machine: str, pinned: str, incoming: bool
    ) -> RunningGuest:
        """Put QEMU and what stands beside it in their place and wait until it answers."""
        vmid, process = config.vmid, begun[0]
        helper = begun[1] if len(begun) > 1 else None
        record = RunRecord(
            vmid=vmid,
            pid=process.pid,
            started=start_time(process.pid),
            begun=time.time(),
            machine=machine_type(config, self.facts, machine),
            accelerator=pinned or accelerator(config, self.facts),
            version=self.facts.version,
            incoming=incoming,
            tpm_pid=helper.pid if helper else 0,
            tpm_started=start_time(helper.pid) if helper else 0,
        )
        self.files.write(record)
        try:
            await self.launcher.admit(config, [one.pid for one in begun])
            address = str(self.files.path(vmid, "qmp"))
            monitor = await Monitor.connect(f"VM {vmid}", address, READY_DEADLINE_S)
        except Exception as error:
            if isinstance(error, QmpLost):
                await process.wait(3.0)
            output = last_output(self.files.path(vmid, "log"))
            if helper is not None and helper.ended.is_set():
                output += "\nswtpm: " + last_output(self.files.path(vmid, "tpm.log"))
            if process.ended.is_set() or output:
                raise StartFailed(f"VM {vmid}: QEMU did not start: {_brief(output) or error}") from error
            raise
        guest = RunningGuest(config, record, process, monitor, helper)
        await guest.refresh()
        if config.affinity:
            await asyncio.to_thread(bind, process.pid, config.affinity)
        for key, nic in config.nics.items():
            if nic.link_down:
                await guest.set_cable(key, nic)
        for key, disk in config.bus_disks.items():
            if limited(disk):
                await guest.limit(key, disk)
        target_mib = config.number("balloon", config.memory_mib)
        if 0 < target_mib < config.memory_mib and not incoming:
            await monitor.execute("balloon", {"value": target_mib << 20})
        return guest

    async def _usb(self, config: GuestConfig, links: dict[str, Link]) -> dict[str, int]:
        """The guest's USB devices, opened; without them its taps are closed again. Raises ``GuestError``."""
        try:
            return await asyncio.to_thread(usb.open_all, config)
        except BaseException:
            close_links(links)
            raise

    async def _drives(self, config: GuestConfig) -> dict[str, Drive]:
        """Where each disk is here, given to the guest's uid; raises ``GuestError`` naming what is missing."""
        found = {key: await self.drive(config.vmid, key, disk) for key, disk in config.disks.items()}
        return {key: drive for key, drive in found.items() if drive is not None}

    async def drive(self, vmid: int, key: str, disk: Disk) -> Drive | None:
        """Where one disk is; ``None`` for an empty CD drive. Raises ``GuestError`` when it is not there."""
        if disk.file in ("none", "cdrom"):
            return None
        volume = disk.volume
        if volume is None:
            path, format = Path(disk.file), disk.options.get("format", "raw")
        else:
            kind = self.storages.of(volume)
            await asyncio.wait_for(kind.activate(), READY_DEADLINE_S)
            path, format = kind.path(volume), kind.format(volume)
        direct = await asyncio.to_thread(_direct_io, path, format)
        if direct is None:
            raise GuestError(f"VM {vmid}: {key}: volume '{disk.file}' does not exist ('{path}')")
        if volume is not None and _is_base(kind, volume):
            raise GuestError(
                f"VM {vmid}: {key}: '{volume}' is a template's disk, to which nobody writes: clone it"
            )
        if not disk.is_cdrom or is_cloudinit(disk):
            await asyncio.to_thread(self.launcher.own, vmid, path)
        backing = None
        if volume is not None and format == "qcow2" and (base := kind.parent(volume)) is not None:
            backing = await self.drive_of_base(vmid, key, base)
        return Drive(str(path), format, direct, backing)

    async def drive_of_base(self, vmid: int, key: str, base: VolumeId) -> Drive:
        """What a linked clone's disk rests on, which is nobody's to write; raises ``GuestError``."""
        kind = self.storages.of(base)
        path = kind.path(base)
        direct = await asyncio.to_thread(_direct_io, path, kind.format(base))
        if direct is None:
            raise GuestError(f"VM {vmid}: {key} rests on '{base}', which does not exist ('{path}')")
        return Drive(str(path), kind.format(base), direct)


def _is_base(kind: StorageKind, volume: VolumeId) -> bool:
    """Whether clones may rest on a volume, by its name."""
    try:
        return kind.based(volume) == volume
    except StorageError:
        return False


async def _kill(processes: Sequence[Process]) -> None:
    for process in processes:
        await process.kill()


def _direct_io(path: Path, format: str) -> bool | None:
    """Whether QEMU can use a file with O_DIRECT; ``None`` when there is no file."""
    return takes_direct_io(path, format) if path.exists() else None


def _brief(output: str) -> str:
    """The last three lines of QEMU's output, in one."""
    return " / ".join(line for line in output.splitlines()[-3:] if line)
