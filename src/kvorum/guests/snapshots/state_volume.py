"""The volume that a guest's memory is kept in, how it gets there, and the QEMU that goes on from it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.machine.cpu import cpu_argument
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.settling import quiet, to_its_end
from kvorum.guests.snapshots import memory, tree
from kvorum.guests.snapshots.memory import Saving
from kvorum.guests.snapshots.standstill import insist
from kvorum.interface import TaskLog
from kvorum.storage import Storages
from kvorum.storage.kind import Reserving

SPARE_MIB = 256
"""What a guest's devices and its display need beside its memory."""


async def make_state(
    manager: GuestManager,
    storages: Storages,
    config: GuestConfig,
    name: str,
    reserving: Reserving,
    log: TaskLog,
    storage: str = "",
) -> tuple[VolumeId, Path]:
    """A new volume that the guest's QEMU may write, and its path.

    It is on ``storage``, else on the guest's ``vmstatestorage``, else beside its first disk.
    """
    vmid, kind = config.vmid, storages.get(storage or place(config))
    size_bytes = (config.memory_mib + SPARE_MIB) << 20
    volume = await kind.allocate(vmid, size_bytes, "raw", f"vm-{vmid}-state-{name}.raw", reserving)
    log.line(f"saving the memory of VM {vmid} to '{volume}'")
    path = kind.path(volume)
    await asyncio.to_thread(manager.workshop.launcher.own, vmid, path)
    return volume, path


@contextlib.asynccontextmanager
async def saving(guest: RunningGuest, log: TaskLog) -> AsyncIterator[Saving]:
    """The guest's memory on its way; however the block ends, nothing of that is left in QEMU."""
    try:
        yield Saving(guest.monitor, log)
    finally:
        await to_its_end(quiet(insist(lambda: memory.give_up(guest.monitor)), log))


def kept_in(volume: VolumeId, guest: RunningGuest, config: GuestConfig) -> dict[str, str]:
    """What a configuration notes of memory that is kept, and of the machine and CPU that go on from it."""
    return {
        "vmstate": str(volume),
        "runningmachine": guest.record.machine,
        "runningcpu": cpu_argument(config, guest.record.accelerator),
    }


async def begin_qemu(manager: GuestManager, config: GuestConfig, machine: str, cpu: str) -> RunningGuest:
    """A QEMU of this machine and CPU that waits for memory; its record says that it stands still."""
    workshop = manager.workshop
    guest = await workshop.start(config, machine=machine, cpu=cpu, incoming=True)
    workshop.note(guest, msgspec.structs.replace(guest.record, incoming=False, standing=True))
    manager.adopt(guest)
    return guest


def place(config: GuestConfig) -> str:
    """The storage that a guest's memory goes to unless another is asked for."""
    volumes = [disk.volume for disk in tree.disks(config).values() if disk.volume is not None]
    return config.text("vmstatestorage") or (volumes[0].storage if volumes else "local")
