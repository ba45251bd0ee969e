"""What a tap's cable asks of the kernel, by rtnetlink: VLANs of a bridge's port, VLAN bridges, rates.

A kernel may be built without VLANs (those of bridges and the devices apart); it then refuses with EOPNOTSUPP,
and the guest is not started: without its tag it would be in another network.
"""

from __future__ import annotations

import errno
from typing import Protocol

from kvorum.guests.errors import GuestError
from kvorum.guests.machine.cable import DEFAULT_VLAN, Cable

_PVID, _UNTAGGED, _BEGIN, _END = 0x2, 0x4, 0x8, 0x10
"""BRIDGE_VLAN_INFO_*: linux/if_bridge.h."""
_INGRESS = 0xFFFF0000
"""The handle of the qdisc for what comes in: linux/pkt_sched.h."""
_ETH_P_ALL = 0x0003
_BURST_S = 0.05
_BURST_BYTES_MIN = 64 << 10
"""A frame of a guest that leaves cutting to the card (GSO) is up to 64 KiB long."""


class Route(Protocol):
    """What is used of pyroute2's ``IPRoute``; refusals are ``NetlinkError`` with the errno as ``code``."""

    def link(self, command: str, **attributes: object) -> object:
        """RTM_NEWLINK and its kin."""
        ...

    def link_lookup(self, **attributes: object) -> list[int]:
        """The indices of the links with these attributes."""
        ...

    def vlan_filter(self, command: str, **attributes: object) -> object:
        """VLANs of a bridge's port."""
        ...

    def tc(self, command: str, kind: str, index: int, handle: int = 0, **attributes: object) -> object:
        """Queueing disciplines and filters."""
        ...


def set_vlans(route: Route, key: str, tap: int, plan: Cable) -> None:
    """Give a bridge's port its VLANs, and take the one that every port begins with."""
    untagged = plan.untagged or DEFAULT_VLAN
    try:
        if untagged != DEFAULT_VLAN:
            route.vlan_filter("del", index=tap, vlan_info={"vid": DEFAULT_VLAN, "flags": 0})
        route.vlan_filter("add", index=tap, vlan_info={"vid": untagged, "flags": _PVID | _UNTAGGED})
        for first, last in plan.tagged:
            if first == last:
                route.vlan_filter("add", index=tap, vlan_info={"vid": first, "flags": 0})
            else:
                ends = [{"vid": first, "flags": _BEGIN}, {"vid": last, "flags": _END}]
                route.vlan_filter("add", index=tap, vlan_info=ends)
    except Exception as error:
        raise _refused(error, f"{key}: VLANs of bridge '{plan.bridge}' can't be set") from error


def make_vlan_bridge(route: Route, key: str, plan: Cable) -> None:
    """Make the bridge of one VLAN and the VLAN devices of its ports; what is there already stays."""
    try:
        for carrier in plan.carriers:  # first: a kernel without VLANs is left as it was
            if not route.link_lookup(ifname=carrier.name):
                (raw,) = route.link_lookup(ifname=carrier.raw)
                route.link("add", ifname=carrier.name, kind="vlan", link=raw, vlan_id=carrier.tag)
        if not (found := route.link_lookup(ifname=plan.bridge)):
            route.link("add", ifname=plan.bridge, kind="bridge", br_stp_state=0, br_forward_delay=0)
            found = route.link_lookup(ifname=plan.bridge)
        for carrier in plan.carriers:
            (device,) = route.link_lookup(ifname=carrier.name)
            route.link("set", index=device, master=found[0], state="up")
        route.link("set", index=found[0], state="up")
    except Exception as error:
        raise _refused(error, f"{key}: the VLAN's bridge '{plan.bridge}' can't be made") from error


def set_rate(route: Route, tap: int, plan: Cable) -> bool:
    """Limit what passes the tap: by shaping towards the guest, by dropping what comes from it.

    Returns whether both hold; a kernel without the ``police`` action keeps the first alone.
    """
    rate = plan.rate_bytes_s
    burst = max(int(rate * _BURST_S), _BURST_BYTES_MIN)
    route.tc("add", "tbf", tap, 0x10000, rate=rate, burst=burst, latency="50ms")
    try:
        route.tc("add", "ingress", tap, _INGRESS)
        route.tc(
            "add-filter",
            "matchall",
            tap,
            parent=_INGRESS,
            protocol=_ETH_P_ALL,
            prio=50,
            action={"kind": "police", "rate": rate, "burst": burst},
        )
    except Exception as error:
        if getattr(error, "code", None) in (errno.ENOENT, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _refused(error: Exception, what: str) -> Exception:
    """The sentence for a kernel without VLANs; anything else as it is."""
    code = getattr(error, "code", None)
    if code is None:
        return error
    if code == errno.EOPNOTSUPP:
        return GuestError(
            f"{what}: this node's kernel has no VLANs (8021q, BRIDGE_VLAN_FILTERING), and without them the "
            "guest would reach another network; remove 'tag' and 'trunks' to let it"
        )
    return GuestError(f"{what}: {error}")
