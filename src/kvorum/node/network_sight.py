"""Looks who is reachable from this node: other nodes at the page's port, the default gateways by ping."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable

from kvorum.node.network import Link, read
from kvorum.node.network_trial import Sight
from kvorum.store import Store

PORT = 8006
ANSWER_S = 1.5
_ECHO = {4: (8, 0), 6: (128, 129)}
"""ICMP's echo request and its reply (RFC 792, RFC 4443)."""


async def look(store: Store, port: int = PORT) -> Sight:
    """Who answers now; at most ``ANSWER_S`` seconds and a little."""
    membership = store.membership
    others = {member.name: member.address for member in membership.members if member.name != store.node}
    try:
        links = await asyncio.to_thread(read)
    except OSError:
        links = []
    gateways = gateways_of(links)
    answers = await asyncio.gather(
        *(_connects(address, port) for address in others.values()), *(_pings(each) for each in gateways)
    )
    return Sight(
        nodes=frozenset(name for name, answered in zip(others, answers, strict=False) if answered),
        quorate=membership.cluster is not None and membership.quorate,
        gateway=any(answers[len(others) :]),
    )


def gateways_of(links: Iterable[Link]) -> list[str]:
    """The default gateways, each once; a link-local one with its interface."""
    return list(
        dict.fromkeys(
            f"{gateway}%{link.name}" if ipaddress.ip_address(gateway).is_link_local else gateway
            for link in links
            for gateway in link.gateways
        )
    )


async def _connects(address: str, port: int) -> bool:
    """Whether a machine is there: who refuses the connection is."""
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def _pings(address: str) -> bool:
    """Whether an address answers an echo request. Needs a raw socket, which root has."""
    version = ipaddress.ip_address(address).version
    request, reply = _ECHO[version]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    number = os.getpid() & 0xFFFF
    try:
        with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
            raw.setblocking(False)
            target = socket.getaddrinfo(address, None, family)[0][4]
            raw.connect(target)
            raw.send(_echo(request, number))  # a fresh socket's buffer takes it at once
            async with asyncio.timeout(ANSWER_S):
                while True:
                    packet = await asyncio.get_running_loop().sock_recv(raw, 2048)
                    header = (packet[0] & 15) * 4 if version == 4 else 0
                    told = packet[header : header + 8]
                    if len(told) == 8 and told[0] == reply and told[4:6] == struct.pack("!H", number):
                        return True
    except (OSError, TimeoutError):
        return False


def _echo(kind: int, number: int) -> bytes:
    """An echo request with its checksum (RFC 1071); for IPv6 the kernel fills it in."""
    header = struct.pack("!BBHHH", kind, 0, 0, number, 1)
    total = sum(struct.unpack("!4H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, number, 1)
