"""Datagrams between the stores of a cluster, past Corosync's order: small, for one member, never promised.

What is said here needs no order and may be lost (``protocol.owing``); it spares Corosync a message, which
costs every node its turns on a processor. Each node listens at its first link's address. How it is reached,
a secret among it, goes to the members through Corosync, encrypted, and is another one with each ring: a
datagram counts only with the listener's present secret over it, so who was a member once says nothing.

A datagram is a BLAKE2b MAC of 16 bytes, the sender's node id in 4, and what is said.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from hashlib import blake2b

import msgspec

log = logging.getLogger(__name__)

PORT = 5413
"""UDP; Corosync's own links have 5405 to 5412."""
SAID_BYTES = 512
_MAC_BYTES = 16
_SECRET_BYTES = 32
_HEAD = struct.Struct("!I")
_BATCH = 64


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """How one node is reached: at a numeric address, with a MAC by this secret."""

    address: str
    port: int
    secret: bytes


class Whispers:
    """One node's socket. All methods belong to the event loop's thread."""

    def __init__(self, nodeid: int, heard: Callable[[int, bytes], None]) -> None:
        """``heard`` is told (node id, what it said); never from within another method."""
        self._nodeid = nodeid
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._secret = b""
        self._members: dict[int, tuple[tuple[str, int], bytes]] = {}

    def open(self, host: str, port: int = PORT) -> None:
        """Listen at a node's own address or name; raises ``OSError`` when that can't be."""
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            opened.bind(place)
        except OSError:
            opened.close()
            raise
        self._socket = opened
        self._loop.add_reader(opened.fileno(), self._readable)

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def reach(self) -> bytes:
        """For the members of a new ring: how to reach this node; what was told before counts no more."""
        self._members = {}
        if self._socket is None:
            return b""
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        address, port = self._socket.getsockname()[:2]
        return msgspec.msgpack.encode(Reach(address, port, self._secret))

    def meet(self, reach: Mapping[int, bytes]) -> None:
        """What the members of the ring have told of themselves."""
        self._members = {}
        for nodeid, told in reach.items():
            try:
                one = msgspec.msgpack.decode(told, type=Reach)
                ipaddress.ip_address(one.address.partition("%")[0])
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("node id %d can't be whispered to: %s", nodeid, error)
            else:
                self._members[nodeid] = (one.address, one.port), one.secret

    def say(self, to: int, what: bytes) -> None:
        """Send one datagram; what can't be sent now is lost."""
        member = self._members.get(to)
        if member is None or self._socket is None:
            return
        place, secret = member
        body = _HEAD.pack(self._nodeid) + what
        try:
            self._socket.sendto(_mac(secret, body) + body, place)
        except (OSError, OverflowError) as error:
            log.debug("a whisper to node id %d is lost: %s", to, error)

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                datagram = self._socket.recv(_MAC_BYTES + _HEAD.size + SAID_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("nothing to hear: %s", error)
                return
            mac, body = datagram[:_MAC_BYTES], datagram[_MAC_BYTES:]
            known = len(body) > _HEAD.size and self._secret
            if known and hmac.compare_digest(mac, _mac(self._secret, body)):
                self._heard(_HEAD.unpack_from(body)[0], body[_HEAD.size :])


def _mac(secret: bytes, body: bytes) -> bytes:
    return blake2b(body, key=secret, digest_size=_MAC_BYTES).digest()
