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
from pathlib import Path

from kvorum.guests.errors import GuestError

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
DEADLINE_S = 10.0


def bridge_exists(name: str) -> bool:
    """Whether this node has a bridge of this name."""
    return Path(f"/sys/class/net/{name}/bridge").is_dir()


def tap_name(vmid: int, number: int) -> str:
    """The name of the tap of a guest's card ``netNUMBER``."""
    return f"tap{vmid}i{number}"


async def open_tap(vmid: int, number: int, bridge: str) -> int:
    """A tap ``tapVMIDiN`` in a bridge, up; returns its descriptor, which the caller closes.

    Raises ``GuestError`` naming the bridge or the interface.
    """
    name = tap_name(vmid, number)
    try:
        return await asyncio.wait_for(asyncio.to_thread(_open, name, bridge), DEADLINE_S)
    except TimeoutError:
        raise GuestError(f"'{name}' could not be plugged into '{bridge}' within {DEADLINE_S:g} s") from None


def open_vhost() -> int | None:
    """A descriptor of the kernel's virtio-net back end, or ``None`` where there is none."""
    with contextlib.suppress(OSError):
        return os.open("/dev/vhost-net", os.O_RDWR | os.O_CLOEXEC)
    return None


def _open(name: str, bridge: str) -> int:
    if not bridge_exists(bridge):
        raise GuestError(
            f"bridge '{bridge}' does not exist on this node; create it or change the guest's net"
        )
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise GuestError(f"'/dev/net/tun' can't be opened: {error.strerror}") from error
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
        _plug(name, bridge)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise GuestError(f"'{name}' can't be plugged into '{bridge}': {error}") from error
        raise
    return descriptor


def _plug(name: str, bridge: str) -> None:
    """Raises ``OSError``, or ``GuestError`` with what the kernel says against it."""
    # Here, since pveproxy knows of guests and plugs none in: 9 MB of its memory.
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types
    from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

    with IPRoute() as route:
        try:
            (tap,) = route.link_lookup(ifname=name)
            (master,) = route.link_lookup(ifname=bridge)
            mtu = route.get_links(master)[0].get_attr("IFLA_MTU")
            route.link("set", index=tap, mtu=mtu, master=master, state="up")
        except NetlinkError as error:
            raise GuestError(f"'{name}' can't be plugged into '{bridge}': {error}") from error
