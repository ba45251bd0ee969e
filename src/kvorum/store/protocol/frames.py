"""Messages cut into frames that fit Corosync's limit, and put together again.

A frame is two bytes (wire version, flags) and a part of the message. Frames of one sender arrive in order;
a message whose frames straddle a membership change is stale by its tag in any case, so ``reset`` then.
A large message is packed (zlib) where that makes it much smaller: Corosync's processes pay for each byte.
"""

from __future__ import annotations

import zlib

WIRE_VERSION = 3
FRAME_BYTES = 256 * 1024
"""Corosync takes 1 MiB at most per message; smaller ones let others in between."""
MESSAGE_BYTES = 160 << 20
"""More is garbage: the store itself holds 128 MiB at most."""

_FIRST, _LAST, _PACKED = 1, 2, 4
_PACK_BYTES = 16 * 1024
"""From this size on a message may be packed."""
_SAMPLE_BYTES = 8 * 1024
_WHOLE = bytes((WIRE_VERSION, _FIRST | _LAST))
"""The header of a message that is one frame, as most are."""


class ForeignVersion(ValueError):
    """A frame of another protocol version."""


def split(message: bytes) -> tuple[bytes, ...]:
    """The frames that carry ``message``, in order."""
    if len(message) < _PACK_BYTES:
        return (_WHOLE + message,)
    packed = _pack(message)
    kind = 0 if packed is None else _PACKED
    message = message if packed is None else packed
    starts = range(0, len(message), FRAME_BYTES)
    last = starts[-1]
    return tuple(
        bytes((WIRE_VERSION, kind | (_FIRST if start == 0 else 0) | (_LAST if start == last else 0)))
        + message[start : start + FRAME_BYTES]
        for start in starts
    )


def whole(frame: bytes) -> bytes:
    """The message of a frame that has all of it; raises as ``Assembly.add``, also for a part."""
    flags = _flags(frame)
    if not (flags & _FIRST and flags & _LAST):
        raise ValueError(f"a frame of {len(frame)} bytes is only a part of a message")
    return _content(frame[2:], flags)


class Assembly:
    """Puts each sender's frames together."""

    def __init__(self) -> None:
        self._parts: dict[int, list[bytes]] = {}
        self._bytes: dict[int, int] = {}

    def reset(self) -> None:
        """Forget what is incomplete: at every membership change."""
        self._parts.clear()
        self._bytes.clear()

    def add(self, sender: int, frame: bytes) -> bytes | None:
        """The whole message when ``frame`` was its last, else ``None``.

        Raises ``ForeignVersion`` for another protocol version and ``ValueError`` for garbage.
        """
        flags = _flags(frame)
        if flags & _FIRST and flags & _LAST:
            self._parts.pop(sender, None)
            self._bytes.pop(sender, None)
            return _content(frame[2:], flags)
        if flags & _FIRST:
            self._parts[sender], self._bytes[sender] = [], 0
        elif sender not in self._parts:
            return None
        self._bytes[sender] += len(frame) - 2
        if self._bytes[sender] > MESSAGE_BYTES:
            del self._parts[sender], self._bytes[sender]
            raise ValueError(f"a message of more than {MESSAGE_BYTES} bytes")
        self._parts[sender].append(frame[2:])
        if not flags & _LAST:
            return None
        del self._bytes[sender]
        return _content(b"".join(self._parts.pop(sender)), flags)


def _flags(frame: bytes) -> int:
    if len(frame) < 2:
        raise ValueError(f"a frame of {len(frame)} bytes is too short")
    if frame[0] != WIRE_VERSION:
        raise ForeignVersion(f"protocol version {frame[0]}; this node speaks {WIRE_VERSION}")
    return frame[1]


def _content(joined: bytes, flags: int) -> bytes:
    return _unpack(joined) if flags & _PACKED else joined


def _pack(message: bytes) -> bytes | None:
    """The message made much smaller, or ``None`` where it does not shrink."""
    middle = len(message) // 2
    sample = message[middle : middle + _SAMPLE_BYTES]
    if len(zlib.compress(sample, 1)) > len(sample) * 3 // 4:
        return None
    return zlib.compress(message, 1)


def _unpack(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        message = unpacking.decompress(packed, MESSAGE_BYTES)
    except zlib.error as error:
        raise ValueError(f"a packed message of {len(packed)} bytes is damaged: {error}") from error
    if unpacking.unconsumed_tail or not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"a packed message of {len(packed)} bytes is damaged or too large")
    return message
