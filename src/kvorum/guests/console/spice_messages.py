"""Where a SPICE channel's messages end, in what a server sends after the link. Pure.

spice-gtk reads one message for each time that its socket has something, and does not look at what TLS still
holds: of two messages in one TLS record it leaves the second until more comes (seen with 0.42). A server that
writes its own TLS writes them one by one; who passes them on must do so too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIZE = struct.Struct("<I")


class Messages:
    """Follows a stream of messages, with the protocol's short headers (``mini``) or its long ones."""

    def __init__(self, *, mini: bool) -> None:
        # The size stands after the type; the long one begins with a serial and ends with a sub list's place.
        self._length, self._size_at = (6, 2) if mini else (18, 10)
        self._header = b""
        self._left = 0

    def split(self, data: bytes) -> Iterator[bytes]:
        """The same bytes in pieces, none of which has bytes of two messages."""
        at = 0
        while at < len(data):
            begin = at
            if not self._left:
                at += self._length - len(self._header)
                self._header += data[begin:at]
                if len(self._header) < self._length:
                    yield data[begin:]
                    return
                (self._left,) = _SIZE.unpack_from(self._header, self._size_at)
                self._header = b""
            taken = min(self._left, len(data) - at)
            at += taken
            self._left -= taken
            yield data[begin:at]
