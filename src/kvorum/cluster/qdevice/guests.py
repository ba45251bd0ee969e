"""Whether an address is a guest's of this cluster: it falls with the nodes that it is to judge."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket

from kvorum.store import Store

_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_ADDRESS = re.compile(r"\bip6?=([0-9A-Fa-f.:]+)")


async def guest_at(store: Store, address: str) -> str:
    """The VM id of the guest that has the address, as far as can be known; else empty.

    By the guests' configured addresses (cloud-init), and by the hardware address that answers on our nets.
    """
    numbers = await _numbers(address)
    hardware = await asyncio.to_thread(_neighbours, numbers)
    for node in store.names("nodes"):
        for name in store.names(f"nodes/{node}/qemu-server"):
            file = store.read(f"nodes/{node}/qemu-server/{name}")
            if file is not None and _has(file.text, numbers, hardware):
                return name.removesuffix(".conf")
    return ""


def _has(text: str, numbers: set[str], hardware: set[str]) -> bool:
    """Whether a guest's configuration, without its snapshots, has one of the addresses."""
    for line in text.partition("\n[")[0].splitlines():
        key, _, value = line.partition(":")
        if key.startswith("net") and hardware & {mac.lower() for mac in _MAC.findall(value)}:
            return True
        if key.startswith("ipconfig") and numbers & set(_ADDRESS.findall(value)):
            return True
    return False


async def _numbers(address: str) -> set[str]:
    try:
        return {str(ipaddress.ip_address(address))}
    except ValueError:
        pass
    try:
        async with asyncio.timeout(5):
            found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return set()
    return {str(entry[4][0]) for entry in found}


def _neighbours(numbers: set[str]) -> set[str]:
    """The hardware addresses that the kernel knows for these addresses (ip-neighbour(8))."""
    from pyroute2 import IPRoute  # type: ignore[import-untyped]

    found = set()
    try:
        with IPRoute() as kernel:
            for entry in kernel.get_neighbours():
                if entry.get_attr("NDA_DST") in numbers and entry.get_attr("NDA_LLADDR"):
                    found.add(str(entry.get_attr("NDA_LLADDR")).lower())
    except OSError:
        pass  # without it, the configured addresses have to do
    return found
