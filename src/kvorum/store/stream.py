"""What the store's socket carries: MessagePack frames behind a length of four bytes, big-endian.

Client and server are of one installation but may differ for a moment during an upgrade: fields are only
added at the end with a default, and tags are never reused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown, ParameterError
from kvorum.store.face import Change, Expect, File, Membership, Operation

FRAME_BYTES = 32 << 20
SNAPSHOT_BYTES = 1 << 20


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First from a client: what its mirror holds."""

    mark: bytes = b""


class Transact(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A change; answered by ``Reply``."""

    id: int
    operations: tuple[Operation, ...]
    expect: tuple[Expect, ...]
    who: str
    timeout: float


class PublishValue(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A value in memory; answered by ``Reply``."""

    id: int
    key: str
    value: bytes
    ttl: float


class Adopt(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """``pvecm adopt``; answered by ``Reply``."""

    id: int


class ReadHistory(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """What ``path`` was before; answered by ``History``, or by ``Reply`` with an error."""

    id: int
    path: str
    number: int = 0
    """One revision with its content; 0 asks for the list without contents."""
    most: int = 100


class Hold(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A claim to a lease, its renewal or its end; answered by ``Leased``, or by ``Reply`` with an error."""

    id: int
    name: str
    owner: str
    seconds: float


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First from the server."""

    node: str
    version: int
    mark: bytes


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A part of everything, when a client can't resume; counts when the last part is here."""

    last: bool
    version: int
    mark: bytes
    files: tuple[File, ...] = ()
    directories: tuple[str, ...] = ()


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """One step; ``mark`` is the tree's checksum after it."""

    version: int
    mark: bytes
    changes: tuple[Change, ...]


class Members(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The present membership."""

    membership: Membership


class Value(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A published value, with the seconds it still lives."""

    node: str
    key: str
    value: bytes
    ttl: float


class Reply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The answer to a request; ``error`` is one of ``ERRORS`` or empty."""

    id: int
    version: int = 0
    error: str = ""
    text: str = ""


class Revision(msgspec.Struct, frozen=True, array_like=True):
    """One change of a file, as this node's database keeps it for some days."""

    number: int
    """Names the revision on this node."""
    time: float
    """Unix seconds, by the clock of the node that made the change."""
    version: int
    """The store's version that the change made."""
    who: str
    node: str
    size: int | None
    """Bytes the file had before the change; ``None`` when it did not exist."""
    before: bytes | None = None
    """What the file held before the change, where it was asked for."""


class History(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The answer to ``ReadHistory``, newest first."""

    id: int
    revisions: tuple[Revision, ...]


class Leased(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The answer to ``Hold``: the lease runs until then, in seconds of CLOCK_BOOTTIME."""

    id: int
    until: float


class Holders(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """All leases: name to owner. Told when one was granted to another owner or let go."""

    owners: dict[str, str]


Asking: TypeAlias = Hello | Transact | PublishValue | Adopt | ReadHistory | Hold
Told: TypeAlias = Welcome | Snapshot | Changes | Members | Value | Reply | History | Leased | Holders

_encoder = msgspec.msgpack.Encoder()
asking = msgspec.msgpack.Decoder[Asking](Asking)
told = msgspec.msgpack.Decoder[Told](Told)


ERRORS: dict[str, Callable[[str], KvorumError]] = {
    "conflict": Conflict,
    "no_quorum": NoQuorum,
    "unknown": OutcomeUnknown,
    "parameter": lambda text: ParameterError({}, text),
    "error": KvorumError,
}
"""Errors by their name on the wire; append only."""


def error_name(error: KvorumError) -> str:
    """The wire's name of an error."""
    match error:
        case Conflict():
            return "conflict"
        case NoQuorum():
            return "no_quorum"
        case OutcomeUnknown():
            return "unknown"
        case ParameterError():
            return "parameter"
    return "error"


def frame(message: Asking | Told) -> bytes:
    """The message with its length before it."""
    data = _encoder.encode(message)
    return len(data).to_bytes(4, "big") + data


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's content.

    Raises ``asyncio.IncompleteReadError`` at the end and ``ValueError`` for a frame that is too long.
    """
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; at most {FRAME_BYTES} are allowed")
    return await reader.readexactly(length)
