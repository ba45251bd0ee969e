"""This node's bridges and network interfaces as the kernel has them, as ``/nodes/{node}/network`` tells them.

Read by netlink (rtnetlink(7)), never changed. ``rows`` is pure; it leaves out what guests bring along (taps).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Row = dict[str, object]

DEADLINE_S = 5.0
LOCAL_BRIDGES = frozenset({"bridge", "OVSBridge"})
ALL_BRIDGES = LOCAL_BRIDGES | {"vnet"}

_OF_GUESTS = re.compile(r"(tap|veth|fwbr|fwpr|fwln)\d+[ip]?\d*o?\d*")
_LOOPBACK, _UP = 0x8, 0x1  # IFF_LOOPBACK, IFF_UP: netdevice(7)
_FOREVER_S = 0xFFFFFFFF
_TYPES = {"bridge": "bridge", "bond": "bond", "vlan": "vlan"}
_BOND_MODES = (
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface, with its prefix's length."""

    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    lasting: bool = True
    """It has no end: configured by hand, not leased or announced."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface of the kernel."""

    index: int
    name: str
    kind: str = ""
    """The kernel's word: bridge, bond, vlan, tun, veth, …; empty for hardware."""
    up: bool = True
    loopback: bool = False
    mtu: int = 1500
    master: int | None = None
    parent: int | None = None
    vlan: int | None = None
    vlan_aware: bool = False
    bond_mode: int = 0
    addresses: tuple[Address, ...] = ()
    gateways: tuple[str, ...] = field(default=())


def read() -> list[Link]:
    """The interfaces of this network namespace. Blocking, a few milliseconds; raises ``OSError``."""
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # no types; here, since pveproxy needs none

    with IPRoute() as route:
        addresses: dict[int, list[Address]] = {}
        for message in route.get_addr():
            addresses.setdefault(message["index"], []).append(_address(message))
        gateways: dict[int, list[str]] = {}
        for message in route.get_default_routes():
            via, out = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_OIF")
            if via and out:
                gateways.setdefault(out, []).append(via)
        return [
            _link(m, tuple(addresses.get(m["index"], ())), tuple(gateways.get(m["index"], ())))
            for m in route.get_links()
        ]


def rows(links: Iterable[Link]) -> list[Row]:
    """A row for each interface of the node itself, by name; the loopback and guests' taps are left out."""
    found = {link.index: link for link in links}
    own = [link for link in found.values() if not link.loopback and not _OF_GUESTS.fullmatch(link.name)]
    return [
        _row(link, number, own, found)
        for number, link in enumerate(sorted(own, key=lambda each: each.name), 1)
    ]


def wanted(row: Row, type: str | None) -> bool:
    """Whether a row is of the type that was asked for, ``any_bridge`` and the like among them."""
    if type in (None, "include_sdn"):
        return True
    if type in ("any_bridge", "any_local_bridge"):
        return row["type"] in (ALL_BRIDGES if type == "any_bridge" else LOCAL_BRIDGES)
    return row["type"] == type


def _row(link: Link, number: int, own: list[Link], all_links: dict[int, Link]) -> Row:
    row: Row = {
        "iface": link.name,
        "type": _type(link),
        "active": link.up,
        "exists": True,
        "mtu": link.mtu,
        "priority": number,
        "families": ["inet"],
        **_addresses(link),
    }
    ports = " ".join(sorted(port.name for port in own if port.master == link.index))
    if link.kind == "bridge":
        row |= {"bridge_ports": ports} | ({"bridge_vlan_aware": True} if link.vlan_aware else {})
    elif link.kind == "bond":
        row["slaves"] = ports
        if link.bond_mode < len(_BOND_MODES):
            row["bond_mode"] = _BOND_MODES[link.bond_mode]
    elif link.kind == "vlan" and link.vlan is not None:
        row["vlan-id"] = link.vlan
        if link.parent in all_links:
            row["vlan-raw-device"] = all_links[link.parent].name
    return row


def _addresses(link: Link) -> Row:
    row: Row = {"method": "manual", "method6": "manual"}
    for suffix, version, leased in (("", 4, "dhcp"), ("6", 6, "auto")):
        fitting = [
            a for a in link.addresses if a.interface.version == version and not a.interface.is_link_local
        ]
        if fitting:
            first = fitting[0]
            row |= {
                f"method{suffix}": "static" if first.lasting else leased,
                f"address{suffix}": str(first.interface.ip),
                f"netmask{suffix}": _mask(first.interface),
                f"cidr{suffix}": str(first.interface),
            }
            if suffix:
                row["families"] = ["inet", "inet6"]
        for gateway in link.gateways:
            if ipaddress.ip_address(gateway).version == version:
                row.setdefault(f"gateway{suffix}", gateway)
    return row


def _mask(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> object:
    """The prefix's length: as text for IPv4, a number for IPv6, as clients know it."""
    length = interface.network.prefixlen
    return str(length) if interface.version == 4 else length


def _type(link: Link) -> str:
    return _TYPES.get(link.kind, "unknown" if link.kind in ("tun", "ipip", "sit", "wireguard") else "eth")


def _address(message: object) -> Address:
    get = message.get_attr  # type: ignore[attr-defined]  # pyroute2's messages have no types
    text = get("IFA_LOCAL") or get("IFA_ADDRESS")
    lifetime = (get("IFA_CACHEINFO") or {}).get("ifa_valid", _FOREVER_S)
    interface = ipaddress.ip_interface(f"{text}/{message['prefixlen']}")  # type: ignore[index]  # as above
    return Address(interface, lasting=lifetime == _FOREVER_S)


def _link(message: object, addresses: tuple[Address, ...], gateways: tuple[str, ...]) -> Link:
    get = message.get_attr  # type: ignore[attr-defined]  # pyroute2's messages have no types
    header: dict[str, int] = message  # type: ignore[assignment]  # as above
    information = get("IFLA_LINKINFO")
    kind = information.get_attr("IFLA_INFO_KIND") if information else None
    data = information.get_attr("IFLA_INFO_DATA") if information else None
    detail = getattr(data, "get_attr", lambda name: None)
    return Link(
        index=header["index"],
        name=get("IFLA_IFNAME"),
        kind=kind or "",
        up=bool(header["flags"] & _UP),
        loopback=bool(header["flags"] & _LOOPBACK),
        mtu=get("IFLA_MTU") or 0,
        master=get("IFLA_MASTER"),
        parent=get("IFLA_LINK"),
        vlan=detail("IFLA_VLAN_ID"),
        vlan_aware=bool(detail("IFLA_BR_VLAN_FILTERING")),
        bond_mode=detail("IFLA_BOND_MODE") or 0,
        addresses=addresses,
        gateways=gateways,
    )
