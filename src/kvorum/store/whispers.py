"""Datagrams between the stores of a cluster, past Corosync's order: encrypted, small, never promised.

What is said here may come early, late, twice or never (``protocol.order``, ``protocol.owing``); it spares
Corosync a message, which costs every node its turns on a processor. Each node listens at its first link's
address. How it is reached, and the key with which it speaks, go to the members through Corosync, encrypted,
and the key is another one with each ring: a datagram counts only under its sender's present key, so who was a
member once says nothing. It is true whoever hears it, so it names no listener and is encrypted once for all.

A datagram is the sender's node id in 4 bytes, a counter in 8, and AES-256-GCM's text of what is said, with
both as the nonce (NIST SP 800-38D, 8.2.1: a counter never comes twice under one key).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = logging.getLogger(__name__)

PORT = 5413
"""UDP; Corosync's own links have 5405 to 5412."""
_DATAGRAM_BYTES = 65536
_HEAD = struct.Struct("!IQ")
_BATCH = 64
_BUFFER_BYTES = 1 << 20


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """How one node is reached, at a numeric address, and the key with which it speaks."""

    address: str
    port: int
    key: bytes


class Whispers:
    """One node's socket. All methods belong to the event loop's thread."""

    def __init__(self, nodeid: int, heard: Callable[[int, bytes], None]) -> None:
        """``heard`` is told (node id, what it said); never from within another method."""
        self._nodeid = nodeid
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._cipher = AESGCM(_new_key())
        self._said = 0
        """The counter of the last datagram."""
        self._members: dict[int, tuple[tuple[str, int], AESGCM]] = {}

    def open(self, host: str, port: int = PORT) -> None:
        """Listen at a node's own address or name; raises ``OSError`` when that can't be."""
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                opened.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)
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
        key = _new_key()
        self._cipher = AESGCM(key)
        address, port = self._socket.getsockname()[:2]
        return msgspec.msgpack.encode(Reach(address, port, key))

    def meet(self, reach: Mapping[int, bytes]) -> None:
        """What the members of the ring have told of themselves."""
        self._members = {}
        for nodeid, told in reach.items():
            try:
                one = msgspec.msgpack.decode(told, type=Reach)
                ipaddress.ip_address(one.address.partition("%")[0])
                self._members[nodeid] = (one.address, one.port), AESGCM(one.key)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("node id %d can't be whispered to: %s", nodeid, error)

    def say(self, to: Iterable[int], what: bytes) -> None:
        """Send each of them a datagram; what can't be sent now is lost."""
        if self._socket is None:
            return
        self._said += 1
        head = _HEAD.pack(self._nodeid, self._said)
        datagram = head + self._cipher.encrypt(head, what, None)
        for member in to:
            if member in self._members:
                try:
                    self._socket.sendto(datagram, self._members[member][0])
                except (OSError, OverflowError) as error:
                    log.debug("a whisper to node id %d is lost: %s", member, error)

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("nothing to hear: %s", error)
                return
            self._decipher(datagram)

    def _decipher(self, datagram: bytes) -> None:
        head = datagram[: _HEAD.size]
        if len(head) < _HEAD.size:
            return
        sender, _ = _HEAD.unpack(head)
        if sender not in self._members:
            return
        try:
            what = self._members[sender][1].decrypt(head, datagram[_HEAD.size :], None)
        except InvalidTag:
            return
        self._heard(sender, what)


def _new_key() -> bytes:
    return AESGCM.generate_key(256)
