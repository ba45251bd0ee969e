"""The settings for cloud-init, checked: addresses, keys, snippets, names."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from kvorum.core import property_string
from kvorum.core.ids import VolumeId
from kvorum.guests.config.hardware import known

CUSTOM = ("meta", "network", "user", "vendor")
_KEY = re.compile(
    r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|"
    r"sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,3}(?: .*)?"
)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


@dataclass(frozen=True, slots=True)
class IpConfig:
    """The addresses of one card. ``ip``: an address with its prefix, ``dhcp``, or nothing."""

    ip: str
    gateway: str
    ip6: str
    """Also ``auto``: as the network's routers tell."""
    gateway6: str

    @classmethod
    def parse(cls, text: str) -> IpConfig:
        """Parse ``ip=…,gw=…,ip6=…,gw6=…``; raises ``ValueError``."""
        parts = property_string.parse(text)
        known(parts, "ipconfig", ("ip", "gw", "ip6", "gw6"))
        for key, version, words in (("ip", 4, ("dhcp",)), ("ip6", 6, ("dhcp", "auto"))):
            gateway = {"ip": "gw", "ip6": "gw6"}[key]
            if key in parts and parts[key] not in words:
                _interface(key, parts[key], version)
            elif gateway in parts:
                raise ValueError(f"{gateway}={parts[gateway]} needs an address of its own in {key}")
            if gateway in parts:
                _address(gateway, parts[gateway], version)
        return cls(parts.get("ip", ""), parts.get("gw", ""), parts.get("ip6", ""), parts.get("gw6", ""))


def ssh_keys(text: str) -> tuple[str, ...]:
    """The public keys of ``sshkeys``, percent-encoded as it is; raises ``ValueError``."""
    lines = tuple(line.strip() for line in unquote(text).splitlines() if line.strip())
    for line in lines:
        if not line.startswith("#") and not _KEY.fullmatch(line):
            shown = line if len(line) <= 40 else line[:37] + "..."
            raise ValueError(
                f"'{shown}' is no public key of SSH; write one a line, such as ssh-ed25519 AAAA..."
            )
    return tuple(line for line in lines if not line.startswith("#"))


def custom(text: str) -> dict[str, VolumeId]:
    """The snippets of ``cicustom``; raises ``ValueError``."""
    parts = property_string.parse(text)
    known(parts, "cicustom", CUSTOM)
    found = {key: VolumeId.parse(value) for key, value in parts.items()}
    for key, volume in found.items():
        if not volume.name.startswith("snippets/"):
            raise ValueError(f"{key}={volume} is no snippet; write STORAGE:snippets/NAME")
    return found


def check_user(text: str) -> None:
    """Check a user's name; raises ``ValueError``."""
    if not _USER.fullmatch(text):
        raise ValueError(f"'{text}' is no name of a user: up to 32 lower-case letters, digits, '-' and '_'")


def check_nameservers(text: str) -> None:
    """Check addresses of name servers; raises ``ValueError``."""
    for word in text.split():
        _address("nameserver", word, None)


def check_search_domains(text: str) -> None:
    """Check domains; raises ``ValueError``."""
    for word in text.split():
        if not _DOMAIN.fullmatch(word):
            raise ValueError(f"'{word}' is no domain")


def _interface(key: str, text: str, version: int) -> None:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        found = None
    if found is None or found.version != version or "/" not in text:
        example = "192.0.2.7/24" if version == 4 else "2001:db8::7/64"
        raise ValueError(f"{key}={text} is no address with its prefix, such as {example}")


def _address(key: str, text: str, version: int | None) -> None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{key}={text} is no IP address") from None
    if version is not None and found.version != version:
        raise ValueError(f"{key}={text} is no address of IP version {version}")
