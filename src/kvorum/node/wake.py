"""Wake on LAN: a magic packet (the MAC address sixteen times after six bytes of ones) by UDP broadcast."""

from __future__ import annotations

import socket

from kvorum.core.errors import KvorumError
from kvorum.node.node_config import WakeRequest

PORT = 9


def magic_packet(mac: str) -> bytes:
    """The packet that wakes the card with this address."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


async def send(request: WakeRequest) -> None:
    """Send the packet; raises ``KvorumError`` when the interface can't."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if request.interface:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, request.interface.encode())
            sock.sendto(magic_packet(request.mac), (request.broadcast, PORT))
    except OSError as error:
        where = f"{request.broadcast}{f' on {request.interface}' if request.interface else ''}"
        raise KvorumError(f"the wake-up packet can't be sent to {where}: {error.strerror}") from error
