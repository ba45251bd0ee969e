"""The beginning of a SPICE channel (spice-space.org, "Spice Protocol", link messages), between both sides.

A client says which channel it wants, is given a public key, and answers with its password under that key.
Here the password is asked for by this daemon, a session's own: the key in QEMU's reply is replaced by ours,
and QEMU, which only this daemon can reach, is given an empty password, since it asks for none.
What follows is passed on without being looked at.
"""

from __future__ import annotations

import functools
import hmac
import secrets
import struct
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kvorum.core.errors import KvorumError
from kvorum.guests.console.rfb import BadClient, ByteStream, Send

MAGIC = b"REDQ"
MAJOR, MINOR = 2, 2
MAX_MESSAGE_BYTES = 4096
KEY_BITS = 1024
"""The protocol's, whose fields have no other size. It adds nothing to TLS, under which all of it travels."""
KEY_BYTES = 162
CIPHER_BYTES = KEY_BITS // 8
AUTH_SELECTION, AUTH_SPICE = 0, 1
"""Bits of the common capabilities: the client names how it shows who it is, and this is by a password."""
MINI_HEADER = 3
"""The bit of short headers, used when both sides have it."""
OK, PERMISSION_DENIED = 0, 7
CHANNELS = {
    1: "main", 2: "display", 3: "inputs", 4: "cursor", 5: "playback", 6: "record", 8: "smartcard",
    9: "usbredir", 10: "port", 11: "webdav",
}  # fmt: skip

_HEADER = struct.Struct("<4sIII")
_MESSAGE = struct.Struct("<IBBIII")
_REPLY = struct.Struct(f"<I{KEY_BYTES}sIII")
_WORD = struct.Struct("<I")
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303  # the protocol's


@dataclass(frozen=True, slots=True)
class Channel:
    """What a client asks for."""

    connection: int
    """The session's number in QEMU; 0: a new one."""
    kind: int
    number: int
    selects: bool
    """Whether it will name how it shows who it is."""
    mini: bool
    """Whether messages after the link have short headers."""

    def __str__(self) -> str:
        return f"{CHANNELS.get(self.kind, f'type {self.kind}')} {self.number}"


def new_password() -> str:
    """A password that no one can guess; SPICE takes up to 60 characters."""
    return secrets.token_hex(20)


async def link(
    client: ByteStream, to_client: Send, server: ByteStream, to_server: Send, password: str
) -> Channel:
    """Take a client's channel in and to QEMU's server, up to the server's word that it is linked.

    Raises ``BadClient`` for a wrong password and what is no SPICE, ``KvorumError`` for QEMU's refusal.
    """
    asked = await _message(client, "the client")
    if asked is None:
        raise BadClient("the client does not speak SPICE 2")
    wish = _channel(asked)
    await to_server(asked)
    reply = await _message(server, "QEMU")
    if reply is None or len(reply) < _HEADER.size + _REPLY.size:
        raise KvorumError("QEMU's display does not speak SPICE 2")
    error, theirs, *rest = _REPLY.unpack_from(reply, _HEADER.size)
    if error != OK:
        await to_client(reply)
        raise KvorumError(f"QEMU refused the SPICE channel '{wish}' (error {error})")
    ours = _own_key()
    own = _REPLY.pack(error, _public(ours), *rest)
    await to_client(reply[: _HEADER.size] + own + reply[_HEADER.size + _REPLY.size :])
    way = b""
    if wish.selects:
        way = await client.exactly(_WORD.size)
        if _WORD.unpack(way)[0] != AUTH_SPICE:
            raise BadClient(
                f"the client wants authentication {_WORD.unpack(way)[0]}; a password is asked for"
            )
    if not _right(ours, await client.exactly(CIPHER_BYTES), password):
        await to_client(_WORD.pack(PERMISSION_DENIED))
        raise BadClient("the SPICE password is wrong: ask for a new file, and open that one")
    await to_server(way + _encrypted(theirs, b"\0"))
    linked = await server.exactly(_WORD.size)
    await to_client(linked)
    if linked != _WORD.pack(OK):
        raise KvorumError(f"QEMU refused the SPICE channel '{wish}' (error {_WORD.unpack(linked)[0]})")
    common = _capabilities(reply[_HEADER.size :], rest[0], rest[2])
    return replace(wish, mini=wish.mini and bool(common & 1 << MINI_HEADER))


async def _message(stream: ByteStream, who: str) -> bytes | None:
    """One link message with its header; ``None`` for what is none."""
    head = await stream.exactly(_HEADER.size)
    magic, major, _, size = _HEADER.unpack(head)
    if magic != MAGIC or major != MAJOR:
        return None
    if size > MAX_MESSAGE_BYTES:
        raise BadClient(f"{who} begins SPICE with {size} bytes; {MAX_MESSAGE_BYTES} are the most")
    return head + await stream.exactly(size)


def _channel(message: bytes) -> Channel:
    body = message[_HEADER.size :]
    if len(body) < _MESSAGE.size:
        raise BadClient("the client's SPICE link message is too short")
    connection, kind, number, common, _, offset = _MESSAGE.unpack_from(body)
    caps = _capabilities(body, common, offset)
    return Channel(connection, kind, number, bool(caps & 1 << AUTH_SELECTION), bool(caps & 1 << MINI_HEADER))


def _capabilities(body: bytes, count: int, offset: int) -> int:
    """The first word of the common capabilities in a link message without its header; 0: none."""
    first = body[offset : offset + _WORD.size] if count else b""
    return int(_WORD.unpack(first)[0]) if len(first) == _WORD.size else 0


@functools.cache
def _own_key() -> rsa.RSAPrivateKey:
    """This process's key; made once, a few hundredths of a second."""
    return rsa.generate_private_key(65537, KEY_BITS)  # the protocol's size


def _public(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _right(key: rsa.RSAPrivateKey, encrypted: bytes, password: str) -> bool:
    try:
        found = key.decrypt(encrypted, _OAEP)
    except ValueError:
        return False
    return hmac.compare_digest(found.rstrip(b"\0"), password.encode())


def _encrypted(key: bytes, text: bytes) -> bytes:
    try:
        public = serialization.load_der_public_key(key)
    except ValueError as error:
        raise KvorumError(f"the key of QEMU's display can't be read: {error}") from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise KvorumError("the key of QEMU's display is no RSA key")
    return public.encrypt(text, _OAEP)
