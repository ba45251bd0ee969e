"""A node's own options (nodes/N/config): how they are checked and shown. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvorum.core import property_string
from kvorum.core.errors import ParameterError
from kvorum.core.options_file import OptionsFile

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,19}")
_NUMBERS = ("ballooning-target", "startall-onboot-delay")


@dataclass(frozen=True, slots=True)
class WakeRequest:
    """Where a magic packet goes."""

    mac: str
    interface: str = ""
    """The interface to send from; empty: the one of the default route."""
    broadcast: str = "255.255.255.255"


def path(node: str) -> str:
    """Where the store has it."""
    return f"nodes/{node}/config"


def shown(file: OptionsFile) -> dict[str, object]:
    """The options as the API tells them."""
    values: dict[str, object] = {
        key: int(text) if key in _NUMBERS and text.isdigit() else text for key, text in file.values.items()
    }
    return values | ({"description": file.description} if file.description else {})


def check(settings: Mapping[str, object]) -> None:
    """Raise ``ParameterError`` for an option whose text means nothing."""
    for key, value in settings.items():
        try:
            if key == "wakeonlan":
                wake_request(str(value))
            elif key == "acme":
                property_string.parse(str(value))
            elif key.startswith("acmedomain"):
                property_string.parse(str(value), "domain")
        except ValueError as error:
            raise ParameterError({key: str(error)}) from None


def wake_request(text: str) -> WakeRequest:
    """Read ``MAC[,bind-interface=IF][,broadcast-address=IP]``; raises ``ValueError`` with a sentence."""
    parts = property_string.parse(text, "mac")
    unknown = parts.keys() - {"mac", "bind-interface", "broadcast-address"}
    if unknown:
        raise ValueError(
            f"'{min(unknown)}' is no property of wakeonlan: mac, bind-interface, broadcast-address"
        )
    mac, interface = parts.get("mac", ""), parts.get("bind-interface", "")
    if not _MAC.fullmatch(mac):
        raise ValueError(f"'{mac}' is no MAC address: write such as 02:00:5E:00:53:01")
    if interface and not _INTERFACE.fullmatch(interface):
        raise ValueError(f"'{interface}' is no interface's name")
    broadcast = parts.get("broadcast-address", "255.255.255.255")
    try:
        ipaddress.IPv4Address(broadcast)
    except ValueError:
        raise ValueError(f"'{broadcast}' is no IPv4 address") from None
    return WakeRequest(mac, interface, broadcast)
