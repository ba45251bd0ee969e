"""Disks in a configuration become volumes: new ones (``STORAGE:SIZE_IN_GIB``), imported ones.

``Making`` notes each volume with the undertaking it is made for, which takes it back unless a guest has it
in the end.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from kvorum.core.errors import ParameterError
from kvorum.core.ids import VolumeId
from kvorum.guests.cloudinit import CloudInit, hashed
from kvorum.guests.cloudinit.drive import new_drive
from kvorum.guests.config import Disk, GuestConfig, Nic
from kvorum.guests.config.devices import STATE_DISKS, render_size
from kvorum.guests.config.drives import is_disk_key, owned
from kvorum.guests.errors import GuestError
from kvorum.guests.machine.firmware import VARIABLES_BYTES, Uefi
from kvorum.guests.machine.peripherals import TPM_BYTES
from kvorum.guests.snapshots import tree
from kvorum.guests.suspend import state as suspend
from kvorum.guests.unfinished import Undertaking
from kvorum.storage import Part, StorageKind, Storages, convert, inspect, part

_SIZE_DEADLINE_S = 20.0
MAC_PREFIX = "BC:24:11"
"""The OUI under which users' networks know such guests; datacenter.cfg's ``mac_prefix`` replaces it."""

Log = Callable[[str], None]


def generated(vmid: int, changes: Mapping[str, str], prefix: str = MAC_PREFIX) -> dict[str, str]:
    """The settings with what is made up when left out: MAC addresses, a new generation's id.
    A password becomes its hash."""
    result = _spelled_out(changes)
    if changes.get("vmgenid") == "1":
        result["vmgenid"] = str(uuid.uuid4())
    if "cipassword" in changes:
        result["cipassword"] = hashed(changes["cipassword"])
    for key, value in changes.items():
        if key.startswith("net") and key[3:].isdigit():
            nic = Nic.parse(value)
            result[key] = str(nic if nic.mac else nic.with_mac(_random_mac(prefix)))
    return result


def _spelled_out(changes: Mapping[str, str]) -> dict[str, str]:
    """With ``ide2`` for ``cdrom``, its other word; raises ``ParameterError`` when both are given."""
    result = dict(changes)
    if (medium := result.pop("cdrom", None)) is not None:
        if "ide2" in result:
            raise ParameterError({"cdrom": "it is another word for ide2, which is given too; leave one out"})
        disk = Disk.parse(medium)
        result["ide2"] = str(replace(disk, options={**disk.options, "media": "cdrom"}))
    return result


def new_identity() -> dict[str, str]:
    """What a new guest gets once: the UUIDs of its firmware and its generation."""
    return {"smbios1": f"uuid={uuid.uuid4()}", "vmgenid": str(uuid.uuid4())}


def _whole_kib(size_bytes: float) -> int:
    """Rounded up, so that the size has a unit and every format takes it."""
    return -int(-size_bytes // 1024) * 1024


def _random_mac(prefix: str) -> str:
    known = prefix.upper().split(":")
    rest = [f"{secrets.randbelow(256):02X}" for _ in range(6 - len(known))]
    return ":".join(known + rest)


class Making:
    """Volumes being made for a guest; ``rates_kib_s`` has, by the drive's key, how fast images are copied."""

    def __init__(
        self,
        storages: Storages,
        vmid: int,
        under_way: Undertaking,
        log: Log,
        rates_kib_s: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._storages = storages
        self._vmid = vmid
        self._under_way = under_way
        self._log = log
        self._rates_kib_s = rates_kib_s

    async def realise(self, changes: Mapping[str, str]) -> dict[str, str]:
        """The settings with every new or imported disk made and every size filled in."""
        result = dict(changes)
        for key in sorted(changes):
            if is_disk_key(key):
                result[key] = str(await self._one(key, Disk.parse(changes[key])))
        return result

    async def _one(self, key: str, disk: Disk) -> Disk:
        volume = disk.volume
        if (storage := new_drive(disk)) is not None:
            made = await CloudInit(self._storages).allocate(self._vmid, storage, self._under_way.reserving)
            return Disk(str(made), {**disk.options, "media": "cdrom"})
        if volume is None or disk.is_cdrom:
            return disk
        kind = self._storages.get(volume.storage)
        format, reserving = disk.options.get("format"), self._under_way.reserving
        size_gib = disk.new_size_gib
        if "import-from" in disk.options:
            source = await asyncio.to_thread(self._source, disk.options["import-from"])
            rate_bytes_s = self._rates_kib_s.get(key, 0) * 1024
            made = await kind.import_disk(
                self._vmid, source, format, reserving=reserving, rate_bytes_s=rate_bytes_s
            )
        elif size_gib is not None and key in STATE_DISKS:
            return await self._state(key, disk, kind)
        elif size_gib is not None:
            size_bytes = _whole_kib(size_gib * (1 << 30))
            made = await kind.allocate(self._vmid, size_bytes, format, reserving=reserving)
        else:
            size = await asyncio.wait_for(kind.size(volume), _SIZE_DEADLINE_S)
            return disk if "size" in disk.options else disk.with_volume(volume, size)
        size = (await inspect(kind.path(made), kind.format(made))).virtual_size
        self._log(f"{key}: successfully created disk '{made},size={render_size(size)}'")
        return disk.with_volume(made, size)

    async def _state(self, key: str, disk: Disk, kind: StorageKind) -> Disk:
        """A new volume of the firmware or the TPM: its size is given, whatever was asked for."""
        format, reserving = disk.options.get("format"), self._under_way.reserving
        if key == "tpmstate0":
            if format not in (None, "raw"):
                raise GuestError(f"tpmstate0: format={format}: swtpm writes raw volumes only; leave it out")
            made = await kind.allocate(self._vmid, TPM_BYTES, "raw", reserving=reserving)
            size, more = TPM_BYTES, {"version": disk.options.get("version", "v2.0")}
        else:
            more = {"efitype": disk.options.get("efitype", "4m")}
            variant = Uefi.of(replace(disk, options={**disk.options, **more}))
            if not variant.variables.exists():
                raise GuestError(
                    f"efidisk0: '{variant.variables}' is not there: install Debian's package ovmf"
                )
            size = VARIABLES_BYTES
            made = await kind.allocate(self._vmid, size, format, reserving=reserving)
            await convert(variant.variables, "raw", ("-n", "-O", kind.format(made), str(kind.path(made))))
        self._log(f"{key}: successfully created disk '{made},size={render_size(size)}'")
        return replace(disk, options={**disk.options, **more}).with_volume(made, size)

    def _source(self, text: str) -> Path | Part:
        if not text.startswith("/"):
            return self._storages.importable(VolumeId.parse(text))
        path = Path(text)
        return part(path.parent, path.name) if path.parent.suffix == ".ova" else path


def own_volumes(config: GuestConfig) -> list[VolumeId]:
    """Every volume of a guest that belongs to it: also in its snapshots, in what waits for its start, and its
    memory if it is suspended to disk.

    Another guest's disks and CDs are not among them.
    """
    waiting = [Disk.parse(value) for key, value in config.pending.changes.items() if is_disk_key(key)]
    found = [*config.disks.values(), *config.unused.values(), *waiting]
    own = [volume for disk in found if (volume := owned(config.vmid, disk)) is not None]
    memory = suspend.memory(config)
    return list(dict.fromkeys([*own, *tree.volumes(config), *([memory] if memory else [])]))
