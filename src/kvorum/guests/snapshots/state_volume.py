"""The volume that a guest's memory is kept in: how large, where, and by which name."""

from __future__ import annotations

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.snapshots import tree
from kvorum.storage import Storages
from kvorum.storage.kind import Reserving

SPARE_MIB = 256
"""What a guest's devices and its display need beside its memory."""


async def make_state(
    storages: Storages, config: GuestConfig, name: str, reserving: Reserving, storage: str = ""
) -> VolumeId:
    """A new volume: on ``storage``, else on the guest's ``vmstatestorage``, else beside its first disk."""
    kind = storages.get(storage or place(config))
    size_bytes = (config.memory_mib + SPARE_MIB) << 20
    return await kind.allocate(
        config.vmid, size_bytes, "raw", f"vm-{config.vmid}-state-{name}.raw", reserving
    )


def place(config: GuestConfig) -> str:
    """The storage that a guest's memory goes to unless another is asked for."""
    volumes = [disk.volume for disk in tree.disks(config).values() if disk.volume is not None]
    return config.text("vmstatestorage") or (volumes[0].storage if volumes else "local")
