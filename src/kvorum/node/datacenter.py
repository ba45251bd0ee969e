"""datacenter.cfg: the cluster's options, how each is checked, and how the API shows them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from kvorum.core import property_string
from kvorum.core.options_file import OptionsFile

FILE = "datacenter.cfg"
FOR_ALL = frozenset({"console", "consent-text", "description", "keyboard", "language", "tag-style"})
"""What every user's page needs."""
NEXT_ID = (100, 1_000_000)

_TRANSPORT = {"type": "secure|insecure", "network": "CIDR"}
_LIMIT = "number"
_FORMATS: Mapping[str, tuple[str | None, Mapping[str, str]]] = {
    "bwlimit": (None, dict.fromkeys(("clone", "default", "migration", "move", "restore"), _LIMIT)),
    "crs": (
        None,
        {
            "ha": "basic|static|dynamic",
            "ha-rebalance-on-start": "boolean",
            "ha-auto-rebalance": "boolean",
            "ha-auto-rebalance-hold-duration": _LIMIT,
            "ha-auto-rebalance-margin": _LIMIT,
            "ha-auto-rebalance-method": "bruteforce|topsis",
            "ha-auto-rebalance-threshold": _LIMIT,
        },
    ),
    "ha": (None, {"shutdown_policy": "freeze|failover|conditional|migrate"}),
    "migration": ("type", _TRANSPORT),
    "replication": ("type", _TRANSPORT),
    "next-id": (None, {"lower": "number", "upper": "number"}),
    "notify": (
        None,
        {
            "fencing": "always|never",
            "package-updates": "auto|always|never",
            "replication": "always|never",
            "target-fencing": "",
            "target-package-updates": "",
            "target-replication": "",
        },
    ),
    "tag-style": (
        None,
        {
            "case-sensitive": "boolean",
            "color-map": "",
            "ordering": "config|alphabetical",
            "shape": "full|circle|dense|none",
        },
    ),
    "u2f": (None, {"appid": "", "origin": ""}),
    "user-tag-access": (None, {"user-allow": "none|list|existing|free", "user-allow-list": ""}),
    "webauthn": (None, {"allow-subdomains": "boolean", "id": "", "origin": "", "rp": ""}),
}
"""Each property string's default key, and what its keys may hold."""
_WORDS = {
    "console": "applet|vv|html5|xtermjs",
    "fencing": "watchdog|hardware|both",
    "keyboard": (
        "de|de-ch|da|en-gb|en-us|es|fi|fr|fr-be|fr-ca|fr-ch|hu|is|it|ja|lt|mk|nl|no|pl|pt|pt-br|sv|sl|tr"
    ),
    "language": "ar|ca|da|de|en|es|eu|fa|fr|hr|he|it|ja|ka|kr|nb|nl|nn|pl|pt_BR|ru|sl|sv|tr|ukr|zh_CN|zh_TW",
}
_MAC_PREFIX = re.compile(r"[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){0,4}:?")


def check(key: str, text: str) -> str:
    """Return an option's text if it may stand in datacenter.cfg; raises ``ValueError`` with a sentence."""
    if key in _WORDS:
        _check_value(key, text, _WORDS[key])
    elif key == "mac_prefix":
        if not _MAC_PREFIX.fullmatch(text):
            raise ValueError(f"'{text}' is no prefix of MAC addresses: write such as BC:24:11 (no multicast)")
    else:
        default, keys = _FORMATS[key]
        for name, value in property_string.parse(text, default).items():
            if name not in keys:
                raise ValueError(f"'{name}' is no property of {key}; known: {', '.join(keys)}")
            _check_value(f"{key}: {name}", value, keys[name])
        if key == "next-id":
            next_id_range(text)
    return text


def next_id_range(text: str) -> tuple[int, int]:
    """The first proposed id and the one after the last; raises ``ValueError`` when there is none between."""
    parts = property_string.parse(text)
    lower, upper = int(parts.get("lower", NEXT_ID[0])), int(parts.get("upper", NEXT_ID[1]))
    if not NEXT_ID[0] <= lower < upper <= 1_000_000_000:
        raise ValueError(f"next-id: lower ({lower}) must be at least 100 and less than upper ({upper})")
    return lower, upper


def next_ids(text: str) -> tuple[int, int]:
    """The range of proposed ids that a datacenter.cfg names; the usual one where that is none."""
    value = OptionsFile.parse(text).values.get("next-id", "")
    try:
        return next_id_range(value) if value else NEXT_ID
    except ValueError:
        return NEXT_ID


def shown(file: OptionsFile) -> dict[str, object]:
    """The options as the API tells them: property strings as objects, what can't be read as its text."""
    result: dict[str, object] = {}
    for key, text in file.values.items():
        result[key] = text
        if key == "registered-tags":
            result[key] = [tag for tag in re.split(r"[;,\s]+", text) if tag]
        elif key == "max_workers" and text.isdigit():
            result[key] = int(text)
        elif key in _FORMATS and key != "bwlimit":
            try:
                result[key] = property_string.parse(text, _FORMATS[key][0])
            except ValueError:
                continue
    if file.description:
        result["description"] = file.description
    return result


def _check_value(what: str, text: str, allowed: str) -> None:
    if allowed == "boolean":
        property_string.boolean(text)
    elif allowed == "number":
        if not re.fullmatch(r"\d+(\.\d+)?", text):
            raise ValueError(f"{what}: '{text}' is no number")
    elif allowed == "CIDR":
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{what}: '{text}' is no network; write such as 198.51.100.0/24") from None
    elif allowed and text not in allowed.split("|"):
        raise ValueError(f"{what}: '{text}' is not one of {', '.join(allowed.split('|'))}")
