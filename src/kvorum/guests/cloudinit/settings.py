"""What a guest's configuration says to cloud-init, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.cloud import IpConfig, custom, ssh_keys

KEYS = frozenset({
    "cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "name", "nameserver", "searchdomain",
    "sshkeys",
})  # fmt: skip
"""Settings that are told to the guest, beside those of ``FAMILIES``."""
FAMILIES = ("ipconfig", "net")
SECTION = "special:cloudinit"
"""Where a configuration keeps what the drive says now."""
MASK = "**********"
"""What is shown of a password."""


@dataclass(frozen=True, slots=True)
class Card:
    """A network card of the guest, as cloud-init is told of it."""

    name: str
    mac: str
    addresses: IpConfig


@dataclass(frozen=True, slots=True)
class Cloud:
    """Everything for cloud-init."""

    kind: str
    """``nocloud`` or ``configdrive2``."""
    hostname: str
    user: str
    password_hash: str
    ssh_keys: tuple[str, ...]
    upgrade: bool
    cards: tuple[Card, ...]
    nameservers: tuple[str, ...]
    search_domains: tuple[str, ...]
    custom: Mapping[str, VolumeId]
    """Snippets that take the place of what would be generated."""

    @classmethod
    def of(cls, config: GuestConfig) -> Cloud:
        """What a configuration says."""
        cards = [
            Card(f"eth{key[3:]}", nic.mac.lower(), IpConfig.parse(config.settings[f"ipconfig{key[3:]}"]))
            for key, nic in config.nics.items()
            if f"ipconfig{key[3:]}" in config.settings
        ]
        return cls(
            kind=config.text("citype", "configdrive2" if config.windows else "nocloud"),
            hostname=config.text("name", f"VM{config.vmid}"),
            user=config.text("ciuser"),
            password_hash=config.text("cipassword"),
            ssh_keys=ssh_keys(config.text("sshkeys")),
            upgrade=config.flag("ciupgrade", True),
            cards=tuple(cards),
            nameservers=tuple(config.text("nameserver").split()),
            search_domains=tuple(config.text("searchdomain").split()),
            custom=custom(config.text("cicustom")) if "cicustom" in config.settings else {},
        )


def masked(config: GuestConfig) -> GuestConfig:
    """The configuration as it may be shown: its password is none."""
    return config.edit({"cipassword": MASK}) if "cipassword" in config.settings else config


def told(config: GuestConfig) -> dict[str, str]:
    """The settings that the drive's content follows from."""
    return {
        key: value
        for key, value in config.settings.items()
        if key in KEYS or (key.rstrip("0123456789") in FAMILIES and key[-1].isdigit())
    }
