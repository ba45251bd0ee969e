"""From the API's words for an interface to its stanzas in /etc/network/interfaces, and back. Pure."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping

from kvorum.core.errors import ParameterError
from kvorum.node.interfaces import Interfaces, key_of

Row = dict[str, object]

_OPTIONS = {
    "bridge_ports": "bridge-ports",
    "bridge_vlan_aware": "bridge-vlan-aware",
    "bridge_vids": "bridge-vids",
    "slaves": "bond-slaves",
    "bond_mode": "bond-mode",
    "bond-primary": "bond-primary",
    "bond_xmit_hash_policy": "bond-xmit-hash-policy",
    "vlan-id": "vlan-id",
    "vlan-raw-device": "vlan-raw-device",
    "mtu": "mtu",
    "gateway": "gateway",
    "ovs_bridge": "ovs_bridge",
    "ovs_bonds": "ovs_bonds",
    "ovs_ports": "ovs_ports",
    "ovs_options": "ovs_options",
    "ovs_tag": "ovs_tag",
}
"""The API's parameter and the option it becomes in the ``inet`` stanza."""
_SHOWN = {key_of(option): name for name, option in _OPTIONS.items()} | {"bond-slaves": "slaves"}
_OF_NEW = {
    "bridge": {"bridge-ports": "none", "bridge-stp": "off", "bridge-fd": "0"},
    "bond": {"bond-miimon": "100"},
}
_INTEGERS = frozenset({"mtu", "vlan-id", "ovs_tag"})
_OVS = frozenset({"OVSBridge", "OVSBond", "OVSPort", "OVSIntPort"})


def change(old: Interfaces, name: str, given: Mapping[str, object], delete: Iterable[str] = ()) -> Interfaces:
    """The file with an interface made or changed as the API's parameters say.

    Raises ``ParameterError`` for what contradicts itself or another interface.
    """
    gone = set(delete)
    if both := sorted(gone & given.keys()):
        raise ParameterError({key: f"can't delete '{key}' and set it at the same time" for key in both})
    new = name not in old.names()
    settings = {_OPTIONS[key]: _option_text(value) for key, value in given.items() if key in _OPTIONS}
    removed = {_OPTIONS[key] for key in gone if key in _OPTIONS}
    type = str(given.get("type", ""))
    if new:
        settings = _OF_NEW.get(type, {}) | settings
    if type in _OVS:
        settings["ovs_type"] = type
    changed = old
    for suffix, family, version in (("", "inet", 4), ("6", "inet6", 6)):
        changed = _change_family(changed, name, given, gone, (suffix, family, version), settings, removed)
    if "autostart" in given or "autostart" in gone:
        changed = changed.with_automatic(name, bool(given.get("autostart")))
    _check_others(changed, name)
    return changed


def _change_family(
    file: Interfaces,
    name: str,
    given: Mapping[str, object],
    gone: set[str],
    family: tuple[str, str, int],
    settings: Mapping[str, str],
    removed: set[str],
) -> Interfaces:
    suffix, word, version = family
    now = next((block for block in file.stanzas(name) if block.family == word), None)
    options = dict(now.options) if now else {}
    address = _address(given, suffix, version)
    no_address = gone & {f"address{suffix}", f"cidr{suffix}"}
    mine = dict(settings) if not suffix else {}
    drop = set(removed) if not suffix else set()
    gateway = given.get(f"gateway{suffix}")
    if suffix and gateway:
        mine["gateway"] = str(gateway)
    if suffix and "gateway6" in gone:
        drop.add("gateway")
    if address:
        mine["address"] = address
        drop.add("netmask")
    elif no_address:
        drop |= {"address", "netmask", "gateway"}
        mine.pop("gateway", None)
    has_address = bool(address) or ("address" in options and not no_address)
    if gateway and not has_address:
        raise ParameterError({f"gateway{suffix}": f"needs an address: give cidr{suffix} too"})
    comments = given.get(f"comments{suffix}", "" if f"comments{suffix}" in gone else None)
    if suffix and now is None and not mine and not comments:
        return file
    method = "static" if has_address else now.method if now and now.method != "static" else "manual"
    if suffix and not has_address and method == "manual" and not (now and set(options) - drop):
        return file.without_stanza(name, word)
    return file.with_stanza(name, word, method, mine, drop, None if comments is None else str(comments))


def _address(given: Mapping[str, object], suffix: str, version: int) -> str:
    """``ADDRESS/LENGTH`` from cidr, or from address and netmask; empty when none is given."""
    cidr, address, mask = (given.get(f"{key}{suffix}") for key in ("cidr", "address", "netmask"))
    if cidr is None and address is None:
        if mask is not None:
            raise ParameterError({f"netmask{suffix}": f"needs address{suffix}"})
        return ""
    if cidr is None and mask is None:
        raise ParameterError({f"address{suffix}": f"needs netmask{suffix}, or write cidr{suffix}"})
    text = str(cidr) if cidr is not None else f"{address}/{mask}"
    name = f"cidr{suffix}" if cidr is not None else f"address{suffix}"
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ParameterError({name: f"'{text}' is no address with its prefix's length"}) from None
    if interface.version != version or "/" not in text:
        raise ParameterError({name: f"'{text}' is no IPv{version} address with its prefix's length"})
    if cidr is not None and address is not None and str(interface.ip) != str(address):
        raise ParameterError({name: f"'{text}' is another address than address{suffix} '{address}'"})
    return str(interface)


def _check_others(file: Interfaces, name: str) -> None:
    """Refuse an address or a default gateway that another interface has already."""
    mine = {(f, key): value for f, key, value in _settings(file, name) if key in ("address", "gateway")}
    for other in file.names():
        if other == name:
            continue
        for family, key, value in _settings(file, other):
            suffix = "6" if family == "inet6" else ""
            if key == "gateway" and (family, key) in mine:
                raise ParameterError(
                    {f"gateway{suffix}": f"interface '{other}' has the default gateway already"}
                )
            if key == "address" and mine.get((family, key), "").split("/")[0] == value.split("/")[0]:
                raise ParameterError({f"cidr{suffix}": f"interface '{other}' has address '{value}' already"})


def _settings(file: Interfaces, name: str) -> Iterable[tuple[str, str, str]]:
    for block in file.stanzas(name):
        for key, value in block.options:
            yield block.family, key_of(key), value


def configured_rows(file: Interfaces) -> dict[str, Row]:
    """What the file says of each interface but the loopback, in the API's words."""
    return {
        name: _configured(file, name)
        for name in file.names()
        if not any(block.method == "loopback" for block in file.stanzas(name))
    }


def _configured(file: Interfaces, name: str) -> Row:
    row: Row = {"iface": name, "method": "manual", "method6": "manual", "families": []}
    families: list[str] = []
    for block in file.stanzas(name):
        suffix = "6" if block.family == "inet6" else ""
        families.append(block.family)
        row[f"method{suffix}"] = block.method
        unknown = []
        mask = ""
        for key, value in block.options:
            plain = key_of(key)
            if plain == "address":
                row[f"address{suffix}"] = value
            elif plain == "netmask":
                mask = value
            elif plain == "gateway":
                row[f"gateway{suffix}"] = value
            elif plain in _SHOWN:
                row[_SHOWN[plain]] = _shown(_SHOWN[plain], value)
            else:
                unknown.append(f"{key} {value}".strip())
        _spell_address(row, suffix, mask)
        if unknown:
            row[f"options{suffix}"] = unknown
        if block.comments:
            row[f"comments{suffix}"] = block.comments
    row["families"] = families
    if file.automatic(name):
        row["autostart"] = True
    row["type"] = _type(name, row)
    return row


def _spell_address(row: Row, suffix: str, mask: str) -> None:
    text = row.get(f"address{suffix}")
    if text is None:
        return
    try:
        interface = ipaddress.ip_interface(f"{text}/{mask}" if mask and "/" not in str(text) else str(text))
    except ValueError:
        return
    length = interface.network.prefixlen
    row[f"address{suffix}"] = str(interface.ip)
    row[f"netmask{suffix}"] = length if suffix else str(length)
    row[f"cidr{suffix}"] = str(interface)


def _type(name: str, row: Row) -> str:
    for option in row.get("options", ()):  # type: ignore[attr-defined]  # a list where it is there
        word, _, value = str(option).partition(" ")
        if word.replace("-", "_") == "ovs_type":
            return value
    if "bridge_ports" in row:
        return "bridge"
    if "slaves" in row:
        return "bond"
    if "vlan-raw-device" in row or "vlan-id" in row or re.fullmatch(r"\S+\.\d{1,4}", name):
        return "vlan"
    return "alias" if ":" in name else "eth" if re.match(r"(eth|en|usb|wl)", name) else "unknown"


def merged(configured: Mapping[str, Row], present: Iterable[Row]) -> list[Row]:
    """One row an interface: the file's where it has one, with what the kernel says of it beside."""
    kernel = {str(row["iface"]): row for row in present}
    rows = []
    for number, name in enumerate(sorted({*configured, *kernel}), 1):
        now = kernel.get(name)
        row = dict(configured.get(name) or now or {})
        if now is not None:
            row |= {key: now[key] for key in ("active", "exists") if now.get(key)}
            if row["type"] == "unknown":
                row["type"] = now["type"]
            if not row.get("mtu") and now.get("mtu"):
                row["mtu"] = now["mtu"]
        rows.append({**row, "priority": number})
    return rows


def difference(old: str, new: str) -> str:
    """What is pending, as a diff that people read."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        "/etc/network/interfaces",
        "/etc/network/interfaces.new",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple | list) else str(value)


def _shown(name: str, value: str) -> object:
    if name == "bridge_vlan_aware":
        return value.lower() in ("yes", "1", "on", "true")
    if name in _INTEGERS and value.isdigit():
        return int(value)
    return "" if name == "bridge_ports" and value == "none" else value
