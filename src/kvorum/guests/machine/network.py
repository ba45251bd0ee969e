"""Taps: a guest's network card, as a descriptor for QEMU, plugged into a bridge.

The tap is not persistent: it lives as long as QEMU holds its descriptor, so nothing is left behind whoever
dies. QEMU gets the descriptor and needs no right on /dev/net/tun.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from kvorum.guests.config import Nic
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import wiring
from kvorum.guests.machine.cable import Bridge, Cable, cable

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
DEADLINE_S = 10.0


def bridge_exists(name: str) -> bool:
    """Whether this node has a bridge of this name."""
    return Path(f"/sys/class/net/{name}/bridge").is_dir()


def tap_name(vmid: int, number: int) -> str:
    """The name of the tap of a guest's card ``netNUMBER``."""
    return f"tap{vmid}i{number}"


@dataclass(frozen=True, slots=True)
class Taps:
    """A tap in its bridge: a descriptor for each queue, which the caller closes."""

    fds: tuple[int, ...]
    mtu: int
    one_way: bool = False
    """What the guest sends is not limited, though it was to be: this kernel can't."""


async def open_tap(vmid: int, key: str, nic: Nic) -> Taps:
    """A tap ``tapVMIDiN`` in the card's bridge, up, with its VLANs and its rate.

    Raises ``GuestError`` naming the card, the bridge or the interface.
    """
    if nic.bridge is None:
        raise ValueError(f"{key} has no bridge")
    name = tap_name(vmid, int(key[3:]))
    try:
        return await asyncio.wait_for(asyncio.to_thread(_open, name, key, nic, nic.bridge), DEADLINE_S)
    except TimeoutError:
        raise GuestError(
            f"'{name}' could not be plugged into '{nic.bridge}' within {DEADLINE_S:g} s"
        ) from None


def open_vhost() -> int | None:
    """A descriptor of the kernel's virtio-net back end, or ``None`` where there is none."""
    with contextlib.suppress(OSError):
        return os.open("/dev/vhost-net", os.O_RDWR | os.O_CLOEXEC)
    return None


def read_bridge(name: str, root: Path = Path("/sys/class/net")) -> Bridge:
    """A bridge as the kernel has it. Raises ``GuestError`` when there is none."""
    folder = root / name
    if not (folder / "bridge").is_dir():
        raise GuestError(f"bridge '{name}' does not exist on this node; create it or change the guest's net")
    try:
        aware = (folder / "bridge" / "vlan_filtering").read_text().strip() == "1"
    except OSError:
        aware = False  # a kernel without VLANs in bridges
    ports = sorted(path.name for path in (folder / "brif").iterdir()) if (folder / "brif").is_dir() else []
    return Bridge(name, aware, int((folder / "mtu").read_text()), tuple(ports))


def _open(name: str, key: str, nic: Nic, bridge: str) -> Taps:
    plan = cable(key, nic, read_bridge(bridge))
    descriptors: list[int] = []
    try:
        for _ in range(plan.queues):
            descriptors.append(_queue(name, plan.queues > 1))
        one_way = _plug(name, key, plan)
    except BaseException as error:
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise GuestError(f"'{name}' can't be plugged into '{plan.bridge}': {error}") from error
        raise
    return Taps(tuple(descriptors), plan.mtu, one_way)


def _queue(name: str, many: bool) -> int:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise GuestError(f"'/dev/net/tun' can't be opened: {error.strerror}") from error
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if many else 0)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _plug(name: str, key: str, plan: Cable) -> bool:
    """Put the tap where the plan says; whether its rate holds one way only.

    Raises ``OSError``, or ``GuestError`` with what the kernel says against it.
    """
    # Here, since pveproxy knows of guests and plugs none in: 9 MB of its memory.
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types
    from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

    with IPRoute() as route:
        try:
            if plan.carriers or not route.link_lookup(ifname=plan.bridge):
                wiring.make_vlan_bridge(route, key, plan)
            (tap,) = route.link_lookup(ifname=name)
            (master,) = route.link_lookup(ifname=plan.bridge)
            address = {"address": plan.address} if plan.address else {}
            route.link("set", index=tap, mtu=plan.mtu, master=master, **address)
            if plan.untagged is not None:
                wiring.set_vlans(route, key, tap, plan)
            one_way = bool(plan.rate_bytes_s) and not wiring.set_rate(route, tap, plan)
            route.link("set", index=tap, state="up")  # last: nothing passes before its VLANs are set
        except NetlinkError as error:
            raise GuestError(f"'{name}' can't be plugged into '{plan.bridge}': {error}") from error
    return one_way
