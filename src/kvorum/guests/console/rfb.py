"""The beginning of the remote framebuffer protocol (RFC 6143, 7.1 to 7.3), on both of its sides.

A client is asked for its password here, one console at a time; QEMU, which only this daemon can reach, asks
for none. What follows the beginning (from ServerInit on) is passed on without being looked at.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable

from kvorum.core.errors import KvorumError

VERSION = b"RFB 003.008\n"
NONE, PASSWORD = 1, 2
PASSWORD_LENGTH = 8
"""VNC's passwords count up to here (RFC 6143, 7.2.2)."""
_MAX_SECURITY_TYPES = 16
_REFUSED = b"authentication failure"


class BadClient(KvorumError):
    """The client speaks otherwise, or does not know the password."""


class ByteStream:
    """Bytes by count, from messages as they come."""

    def __init__(self, receive: Callable[[], Awaitable[bytes | None]]) -> None:
        self._receive = receive
        self._rest = b""

    async def exactly(self, count: int) -> bytes:
        """The next bytes; raises ``ConnectionError`` when the other side closes before."""
        while len(self._rest) < count:
            data = await self._receive()
            if not data and data is not None:
                continue
            if data is None:
                raise ConnectionResetError("closed in the middle of a message")
            self._rest += data
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def rest(self) -> bytes:
        """What has arrived beyond, once."""
        found, self._rest = self._rest, b""
        return found


Send = Callable[[bytes], Awaitable[object]]


def new_password() -> str:
    """A password that no one can guess, as long as VNC's can be."""
    return secrets.token_urlsafe(PASSWORD_LENGTH)[:PASSWORD_LENGTH]


async def admit(client: ByteStream, send: Send, password: str, *, demanded: bool) -> None:
    """Take a client in, up to its wish whether to share, which is not asked for: consoles are shared.

    Without ``demanded`` it may leave the password out. Raises ``BadClient`` for a wrong one.
    """
    await send(VERSION)
    minor = _minor(await client.exactly(12))
    if minor >= 7:
        offered = bytes([PASSWORD] if demanded else [PASSWORD, NONE])
        await send(bytes([len(offered)]) + offered)
        chosen = (await client.exactly(1))[0]
        if chosen not in offered:
            raise BadClient(f"the client wants security type {chosen}; offered are {list(offered)}")
    else:
        chosen = PASSWORD
        await send(chosen.to_bytes(4))
    if chosen == PASSWORD:
        challenge = secrets.token_bytes(16)
        await send(challenge)
        if not hmac.compare_digest(await client.exactly(16), response(challenge, password)):
            reason = len(_REFUSED).to_bytes(4) + _REFUSED if minor >= 8 else b""
            await send((1).to_bytes(4) + reason)
            raise BadClient("the console's password is wrong: use the ticket or password that came with it")
    if chosen == PASSWORD or minor >= 8:
        await send((0).to_bytes(4))
    await client.exactly(1)


async def enter(server: ByteStream, send: Send) -> None:
    """Come to a server that asks for no password, sharing it with others; raises ``KvorumError``."""
    version = await server.exactly(12)
    if not version.startswith(b"RFB 003."):
        raise KvorumError(f"QEMU's display speaks another protocol: {version!r}")
    await send(VERSION)
    count = (await server.exactly(1))[0]
    types = await server.exactly(count) if count <= _MAX_SECURITY_TYPES else b""
    if NONE not in types:
        raise KvorumError("QEMU's display asks this node for a password")
    await send(bytes([NONE]))
    if await server.exactly(4) != bytes(4):
        raise KvorumError("QEMU's display refused this node")
    await send(b"\1")


def response(challenge: bytes, password: str) -> bytes:
    """The challenge encrypted by DES, the password being the key with each byte's bits mirrored."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    key = password.encode("utf-8", "replace")[:PASSWORD_LENGTH].ljust(PASSWORD_LENGTH, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    encryptor = Cipher(TripleDES(mirrored * 3), ECB()).encryptor()  # noqa: S305  # RFC 6143, 7.2.2; three equal keys are DES
    return encryptor.update(challenge) + encryptor.finalize()


def _minor(version: bytes) -> int:
    """The protocol that both speak: 3, 7 or 8 (anything else counts as 3); raises ``BadClient``."""
    if not version.startswith(b"RFB 003.") or not version[8:11].isdigit():
        raise BadClient(f"the client does not speak RFB: it sent {version!r}")
    number = int(version[8:11])
    return 8 if number >= 8 else number if number == 7 else 3
