"""What a clone is to be: its settings, and which of its drives are copied, shared or rested upon. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from kvorum.guests.config import Disk, GuestConfig, Nic
from kvorum.guests.config.drives import is_cloudinit, is_disk_key
from kvorum.guests.disks import MAC_PREFIX, generated
from kvorum.guests.errors import GuestError
from kvorum.guests.snapshots import tree

LOCK = "clone"
_LEFT_OUT = frozenset({
    "description", "lock", "parent", "runningcpu", "runningmachine", "running-nets-host-mtu", "snapstate",
    "snaptime", "template", "vmstate",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    vmid: int
    newid: int
    name: str = ""
    description: str = ""
    full: bool | None = None
    """Whole copies of all disks; ``None``: only where the guest is no template."""
    snapshot: str = ""
    """The state to copy; empty: the present one."""
    node: str = ""
    """Where the clone shall be; empty: here."""
    storage: str = ""
    """Where its disks shall lie; empty: each where its original does."""
    format: str = ""
    rate_kib_s: int = 0
    pool: str = ""
    mac_prefix: str = MAC_PREFIX
    """How its cards' new addresses begin."""

    def linked(self, config: GuestConfig) -> bool:
        """Whether the clone rests on its original."""
        return config.template if self.full is None else not self.full

    def check(self, config: GuestConfig) -> None:
        """Raise ``GuestError`` for a wish that contradicts itself, or the guest."""
        if self.linked(config) and (self.storage or self.format):
            what = "storage" if self.storage else "format"
            raise GuestError(
                f"a linked clone lies where its original does: leave '{what}' out, or make a full clone"
            )
        if self.linked(config) and not (config.template or self.snapshot):
            raise GuestError(
                f"VM {self.vmid} is no template: a linked clone rests on a template, or on a snapshot where "
                "the storage can; make a full clone, or a template of it first"
            )
        if self.snapshot and tree.snapshot(config, self.snapshot).step is not None:
            raise GuestError(f"snapshot '{self.snapshot}' of VM {self.vmid} is not whole")


def original(config: GuestConfig, snapshot: str) -> Mapping[str, str]:
    """The settings that are copied: the present ones, or those of a snapshot's time."""
    return tree.snapshot(config, snapshot).settings if snapshot else config.settings


def drives(config: GuestConfig, snapshot: str) -> dict[str, Disk]:
    """The drives that the clone has its own of; CDs and empty ones are shared.

    Raises ``GuestError`` for what lies on no storage.
    """
    found = {}
    for key, value in sorted(original(config, snapshot).items()):
        if not is_disk_key(key):
            continue
        disk = Disk.parse(value)
        if disk.is_cdrom or is_cloudinit(disk) or disk.file == "none":
            continue
        if disk.volume is None:
            raise GuestError(
                f"VM {config.vmid} can't be cloned: {key} is the path '{disk.file}' and lies on no storage"
            )
        found[key] = disk
    return found


def cloudinit_drives(config: GuestConfig, snapshot: str) -> dict[str, Disk]:
    """The drives that cloud-init in the clone reads: it gets its own, made when it starts."""
    found = {key: Disk.parse(value) for key, value in original(config, snapshot).items() if is_disk_key(key)}
    return {key: disk for key, disk in sorted(found.items()) if is_cloudinit(disk)}


def clone_of(config: GuestConfig, wish: Wish, file: str) -> GuestConfig:
    """The clone's configuration, its drives still those of the original; locked until they are its own.

    Network cards have new addresses, its firmware new ids where it had any: no two guests are the same.
    """
    settings = {
        key: value
        for key, value in original(config, wish.snapshot).items()
        if key not in _LEFT_OUT and not re.fullmatch(r"unused\d+", key)
    }
    cards = {key: value for key, value in settings.items() if re.fullmatch(r"net\d+", key)}
    fresh = {key: str(Nic.parse(cards[key]).with_mac("")) for key in cards}
    settings |= generated(wish.newid, fresh, wish.mac_prefix)
    if "smbios1" in settings:
        settings["smbios1"] = re.sub(r"(?<=uuid=)[0-9a-fA-F-]{36}", str(uuid.uuid4()), settings["smbios1"])
    if len(settings.get("vmgenid", "")) > 1:
        settings["vmgenid"] = str(uuid.uuid4())
    settings["name"] = wish.name or f"Copy-of-VM-{settings.get('name', config.vmid)}"
    settings["lock"] = LOCK
    if notes := wish.description or config.document.description:
        settings["description"] = notes
    drives(config, wish.snapshot)
    return GuestConfig.parse(wish.newid, "", file).edit(settings)
