"""Whether an address is a guest's of this cluster: a QDevice there falls with the node that it is to judge.

What can be known without an agent in the guest: the addresses of its configuration (cloud-init), and the
hardware address that this node's kernel knows for the address, which is a guest's where both hang on one
bridge. A guest behind a router is not found.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvorum.store import Store

ARP = Path("/proc/net/arp")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_ADDRESS = re.compile(r"\bip6?=([0-9A-Fa-f.:]+)")
_RESOLVE_S = 2.0


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest's id and the node that has it."""

    vmid: str
    node: str


@dataclass(frozen=True, slots=True)
class Known:
    """A machine's numeric addresses, and the hardware addresses behind them (lower case)."""

    numbers: frozenset[str]
    hardware: frozenset[str] = frozenset()


def guest_with(known: Known, configurations: Iterable[tuple[Guest, str]]) -> Guest | None:
    """The guest whose configuration, without its snapshots, has one of these addresses. Pure."""
    return next((guest for guest, text in configurations if _has(text, known)), None)


async def guest_at(store: Store, address: str) -> Guest | None:
    """The guest of this cluster that has the address (a number or a name), as far as can be known."""
    import asyncio  # not for ``pvecm status``, which is typed often

    try:
        async with asyncio.timeout(_RESOLVE_S):
            known = await asyncio.to_thread(look, address)
    except TimeoutError:
        return None
    return guest_with(known, _in_store(store))


def node_of_guest_at(address: str, etc_pve: Path, wait_s: float) -> str:
    """The node whose guest has the address, read at /etc/pve without a daemon of ours; empty: none is known.

    A store or a name server that hangs does not hold this up.
    """
    found: list[Guest | None] = []
    looking = threading.Thread(
        target=lambda: found.append(guest_with(look(address), _at(etc_pve))), daemon=True
    )
    looking.start()
    looking.join(wait_s)
    return found[0].node if found and found[0] else ""


def look(address: str, arp: Path = ARP) -> Known:
    """What this node knows of an address; blocks while a name is resolved."""
    numbers = _numbers(address) if address else frozenset()
    return Known(numbers, _neighbours(numbers, arp))


def _has(text: str, known: Known) -> bool:
    own = text.partition("\n[")[0]
    for line in own.splitlines():
        key, _, value = line.partition(":")
        if key.startswith("net") and known.hardware & {mac.lower() for mac in _MAC.findall(value)}:
            return True
        if key.startswith("ipconfig") and known.numbers & set(_ADDRESS.findall(value)):
            return True
    return False


def _in_store(store: Store) -> Iterator[tuple[Guest, str]]:
    for node in store.names("nodes"):
        for name in store.names(f"nodes/{node}/qemu-server"):
            file = store.read(f"nodes/{node}/qemu-server/{name}")
            if file is not None:
                yield Guest(name.removesuffix(".conf"), node), file.text


def _at(etc_pve: Path) -> Iterator[tuple[Guest, str]]:
    for path in etc_pve.glob("nodes/*/qemu-server/*.conf"):
        try:
            yield Guest(path.stem, path.parent.parent.name), path.read_text(errors="replace")
        except OSError:
            continue  # it moved to another node just now


def _numbers(address: str) -> frozenset[str]:
    try:
        return frozenset((str(ipaddress.ip_address(address)),))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(str(entry[4][0]) for entry in found)


def _neighbours(numbers: frozenset[str], arp: Path) -> frozenset[str]:
    """The hardware addresses that the kernel has heard for these addresses (arp(7), ip-neighbour(8))."""
    found = set()
    try:
        for line in arp.read_text().splitlines()[1:]:
            address, _, flags, hardware = line.split()[:4]
            if address in numbers and int(flags, 16) & 2:  # complete: it has answered
                found.add(hardware.lower())
    except (OSError, ValueError):
        pass  # without it, the configured addresses have to do
    if any(":" in number for number in numbers):
        found |= _neighbours_six(numbers)
    return frozenset(found)


def _neighbours_six(numbers: frozenset[str]) -> set[str]:
    from pyroute2 import IPRoute  # type: ignore[import-untyped]

    found = set()
    try:
        with IPRoute() as kernel:
            for entry in kernel.get_neighbours(family=socket.AF_INET6):
                if entry.get_attr("NDA_DST") in numbers and entry.get_attr("NDA_LLADDR"):
                    found.add(str(entry.get_attr("NDA_LLADDR")).lower())
    except OSError:
        pass
    return found
