"""Where the cable of a guest's network card ends, and what may pass it: bridge, VLANs, rate. Pure.

On a bridge that is VLAN aware the tap's port has its VLANs: ``tag`` alone is what the guest sees untagged,
``trunks`` are those it sees tagged, and with neither it sees all of them. On another bridge a tag leads into
a bridge of its own, ``vmbr0v5``, whose ports are that VLAN of the first bridge's ports, as users of these
names know it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kvorum.guests.config import Nic
from kvorum.guests.errors import GuestError

FIRST_VLAN, LAST_VLAN = 1, 4094
DEFAULT_VLAN = 1
"""What Linux' bridges call the untagged network (ip-link(8), vlan_default_pvid)."""
NAME_MAX = 15
"""The kernel's longest name of an interface (IFNAMSIZ)."""
_GUESTS = re.compile(r"(tap|veth|fwbr|fwpr|fwln)\d+.*")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of this node as the kernel has it."""

    name: str
    vlan_aware: bool = False
    mtu: int = 1500
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Carrier:
    """A VLAN device that the tap's bridge needs as its port."""

    raw: str
    tag: int

    @property
    def name(self) -> str:
        """The device's name, as interfaces(5) has it."""
        return f"{self.raw}.{self.tag}"


@dataclass(frozen=True, slots=True)
class Cable:
    """What is done for one tap."""

    bridge: str
    mtu: int
    address: str = ""
    """The tap's own Ethernet address; empty: as the kernel makes one."""
    untagged: int | None = None
    """The VLAN that the guest sees without a tag; ``None``: the bridge has no VLANs of its own."""
    tagged: tuple[tuple[int, int], ...] = ()
    """Ranges of VLANs that pass with their tags."""
    carriers: tuple[Carrier, ...] = ()
    rate_bytes_s: int = 0
    """The most that passes in either direction; 0: no limit."""
    queues: int = 1


def cable(key: str, nic: Nic, bridge: Bridge) -> Cable:
    """Where the card's cable ends. Raises ``GuestError`` naming the card."""
    tag, trunks = nic.tag, nic.trunks
    mtu, wanted = bridge.mtu, int(nic.options.get("mtu", "0"))
    if wanted > mtu:
        raise GuestError(
            f"{key}: mtu={wanted} is more than bridge '{bridge.name}' carries ({mtu}); raise the bridge's "
            "MTU and that of its ports, or lower the card's"
        )
    plain = Cable(bridge.name, mtu, _tap_address(nic.mac), rate_bytes_s=nic.rate_bytes_s, queues=nic.queues)
    if bridge.vlan_aware:
        untagged = tag or DEFAULT_VLAN
        tagged = trunks or (() if tag else ((FIRST_VLAN, LAST_VLAN),))
        return replace(plain, untagged=untagged, tagged=_without(tagged, untagged))
    if trunks:
        raise GuestError(
            f"{key}: trunks={nic.options['trunks']} needs a bridge that is VLAN aware, and '{bridge.name}' "
            "is not: set bridge_vlan_aware on it, or remove 'trunks'"
        )
    if not tag:
        return plain
    own = f"{bridge.name}v{tag}"
    carriers = tuple(Carrier(port, tag) for port in bridge.ports if not _GUESTS.fullmatch(port))
    for name in (own, *(carrier.name for carrier in carriers)):
        if len(name) > NAME_MAX:
            raise GuestError(
                f"{key}: tag={tag} would need an interface '{name}', and names end at {NAME_MAX} characters: "
                f"make '{bridge.name}' VLAN aware"
            )
    return replace(plain, bridge=own, carriers=carriers)


def _tap_address(mac: str) -> str:
    """The guest's address with a first byte that is higher than any network card's, and not the guest's.

    A bridge without an address of its own takes its ports' lowest, and one that changes with the guests that
    come and go cuts the host off until all have heard of it.
    """
    if not mac:
        return ""
    return ("fa" if mac.lower().startswith("fe") else "fe") + mac[2:].lower()


def _without(ranges: tuple[tuple[int, int], ...], vlan: int) -> tuple[tuple[int, int], ...]:
    """The ranges without one VLAN, which passes untagged."""
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        if first <= vlan <= last:
            left += [part for part in ((first, vlan - 1), (vlan + 1, last)) if part[0] <= part[1]]
        else:
            left.append((first, last))
    return tuple(left)
