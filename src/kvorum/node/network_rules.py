"""What can't work in a node's network configuration, said before it is written. Pure.

The kernel's rules (netdevice(7), VLAN ids of IEEE 802.1Q) and those of ifupdown2's interfaces(5): names,
what a bridge, a bond and a VLAN are made of, and who uses an interface already.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kvorum.core.errors import ParameterError
from kvorum.node.interfaces import Interfaces, key_of

NAME_MAX = 15
"""IFNAMSIZ less the closing zero: linux/if.h."""
_VLAN_NAME = re.compile(r"(?P<raw>\S+)\.(?P<tag>\d{1,4})|vlan(?P<alone>\d{1,4})")
_HASHED = frozenset({"balance-xor", "802.3ad", "balance-tlb"})
_WITH_PRIMARY = frozenset({"active-backup", "balance-tlb", "balance-alb"})


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN device: its tag, and the device that carries it."""

    tag: int
    raw: str


def vlan_of(name: str, options: Mapping[str, str]) -> Vlan | None:
    """What an interface is a VLAN of, by its options or by its name (``eno1.5``); ``None`` if it is none."""
    match = _VLAN_NAME.fullmatch(name)
    raw = options.get("vlan-raw-device") or (match["raw"] if match else None)
    tag = options.get("vlan-id") or (match and (match["tag"] or match["alone"]))
    if not raw or not tag or not str(tag).isdigit():
        return None
    return Vlan(int(tag), raw)


def check(file: Interfaces, name: str, type: str, present: Collection[str]) -> None:
    """Refuse an interface that can't work with the rest of the file and the devices that are there.

    Raises ``ParameterError`` with the parameter's sentence.
    """
    options = options_of(file, name)
    known = {*file.names(), *present}
    if ":" not in name and len(name) > NAME_MAX:
        raise ParameterError({"iface": f"'{name}' is longer than {NAME_MAX} characters, the kernel's most"})
    if type == "vlan":
        _check_vlan(file, name, options, known)
    elif type == "bond":
        _check_bond(file, name, options, known)
    elif type == "bridge":
        _check_bridge(file, name, options, known)
    elif type == "alias" and name.split(":")[0] not in known:
        raise ParameterError({"iface": f"'{name}' is an alias of an interface that this node does not have"})
    _check_addresses(file, name)


def check_unused(file: Interfaces, name: str) -> None:
    """Refuse the removal of what other interfaces stand on. Raises ``ParameterError``."""
    if user := _user(file, name, but=name):
        raise ParameterError({"iface": f"interface '{user}' needs '{name}': change or remove '{user}' first"})


def options_of(file: Interfaces, name: str) -> dict[str, str]:
    """The options of all stanzas of an interface, by their plain names."""
    return {key_of(key): value for block in file.stanzas(name) for key, value in block.options}


def parts(options: Mapping[str, str]) -> list[str]:
    """The devices that a bridge or a bond is made of."""
    words = f"{options.get('bridge-ports', '')} {options.get('bond-slaves', options.get('slaves', ''))}"
    return [word for word in words.split() if word != "none"]


def _check_vlan(file: Interfaces, name: str, options: Mapping[str, str], known: Collection[str]) -> None:
    vlan = vlan_of(name, options)
    if vlan is None:
        missing = "vlan-id" if options.get("vlan-raw-device") else "vlan-raw-device"
        raise ParameterError(
            {missing: f"'{name}' is to be a VLAN: name it as its device and tag (vmbr0.5), or give {missing}"}
        )
    if not 1 <= vlan.tag <= 4094:
        raise ParameterError({"vlan-id": f"{vlan.tag} is no VLAN's tag: use 1 to 4094"})
    match = _VLAN_NAME.fullmatch(name)
    if match and (spelled := match["tag"] or match["alone"]) and int(spelled) != vlan.tag:
        raise ParameterError({"vlan-id": f"is {vlan.tag}, but the name '{name}' says {spelled}"})
    if vlan.raw == name or vlan.raw not in known:
        raise ParameterError({"vlan-raw-device": f"this node has no interface '{vlan.raw}'"})
    for other in file.names():
        if other != name and vlan_of(other, options_of(file, other)) == vlan:
            raise ParameterError(
                {"vlan-id": f"interface '{other}' is VLAN {vlan.tag} of '{vlan.raw}' already"}
            )


def _check_bond(file: Interfaces, name: str, options: Mapping[str, str], known: Collection[str]) -> None:
    slaves = parts({"bond-slaves": options.get("bond-slaves", options.get("slaves", ""))})
    if not slaves:
        raise ParameterError({"slaves": f"name the interfaces that the bond '{name}' is made of"})
    _check_parts(file, name, slaves, known, "slaves")
    mode, primary = options.get("bond-mode", ""), options.get("bond-primary", "")
    if primary and primary not in slaves:
        raise ParameterError({"bond-primary": f"'{primary}' is none of the bond's interfaces"})
    if primary and mode not in _WITH_PRIMARY:
        raise ParameterError({"bond-primary": f"has no meaning in the mode '{mode or 'balance-rr'}'"})
    if options.get("bond-xmit-hash-policy") and mode not in _HASHED:
        raise ParameterError(
            {"bond_xmit_hash_policy": f"has no meaning in the mode '{mode or 'balance-rr'}'"}
        )


def _check_bridge(file: Interfaces, name: str, options: Mapping[str, str], known: Collection[str]) -> None:
    _check_parts(file, name, parts(options), known, "bridge_ports")
    vids = options.get("bridge-vids", "")
    if not vids:
        return
    if options.get("bridge-vlan-aware", "").lower() not in ("yes", "1", "on", "true"):
        raise ParameterError({"bridge_vids": "needs a bridge that is VLAN aware: set bridge_vlan_aware too"})
    for word in re.split(r"[\s,;]+", vids):
        first, dash, last = word.partition("-")
        numbers = [int(each) if each.isdigit() else 0 for each in ((first, last) if dash else (first,))]
        if not all(1 <= number <= 4094 for number in numbers) or numbers != sorted(numbers):
            raise ParameterError(
                {"bridge_vids": f"'{word}' is no VLAN and no range of them: write such as '2-100 4094'"}
            )


def _check_parts(
    file: Interfaces, name: str, wanted: Iterable[str], known: Collection[str], parameter: str
) -> None:
    seen: set[str] = set()
    for part in wanted:
        vlan = _VLAN_NAME.fullmatch(part)
        if part == name:
            raise ParameterError({parameter: f"'{name}' can't be a part of itself"})
        if part in seen:
            raise ParameterError({parameter: f"'{part}' is named twice"})
        seen.add(part)
        if part not in known and not (vlan and vlan["raw"] in known):
            raise ParameterError({parameter: f"this node has no interface '{part}'"})
        for other in file.names():
            if other != name and part in parts(options_of(file, other)):
                raise ParameterError({parameter: f"'{part}' is a part of '{other}' already"})
        if any(key_of(key) == "address" for block in file.stanzas(part) for key, _ in block.options):
            raise ParameterError(
                {parameter: f"'{part}' has an address of its own: move it to '{name}', or it has no effect"}
            )


def _check_addresses(file: Interfaces, name: str) -> None:
    """The network's own and its broadcast address are no interface's, nor is the gateway's own."""
    for block in file.stanzas(name):
        options = {key_of(key): value for key, value in block.options}
        suffix = "6" if block.family == "inet6" else ""
        try:
            address = ipaddress.ip_interface(options.get("address", ""))
        except ValueError:
            continue
        network, last = address.network, 31 if address.version == 4 else 127
        if network.prefixlen < last and (
            address.ip == network.network_address
            or (address.version == 4 and address.ip == network.broadcast_address)
        ):
            raise ParameterError(
                {f"cidr{suffix}": f"'{address}' is no host's address in its network {network}"}
            )
        if not (gateway := options.get("gateway")):
            continue
        try:
            via = ipaddress.ip_address(gateway)
        except ValueError:
            via = None
        if via is None or via.version != address.version:
            raise ParameterError({f"gateway{suffix}": f"'{gateway}' is no IPv{address.version} address"})
        if via == address.ip:
            raise ParameterError({f"gateway{suffix}": f"'{gateway}' is this interface's own address"})
        if via not in network and not via.is_link_local and network.prefixlen <= last - 1:
            raise ParameterError({f"gateway{suffix}": f"'{gateway}' is not in the network {network}"})


def _user(file: Interfaces, name: str, but: str) -> str:
    """An interface that is made of this one, or carried by it; empty when there is none."""
    for other in file.names():
        if other == but:
            continue
        options = options_of(file, other)
        vlan = vlan_of(other, options)
        if name in parts(options) or (vlan and vlan.raw == name) or other.split(":")[0] == name:
            return other
    return ""
