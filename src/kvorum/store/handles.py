"""Open files: what was written through a handle, and when it becomes the file's new content.

A handle has a change to commit after a write, a truncation through it, O_TRUNC at open, or the creation of
the file. ``flush`` (close, also of a dup) commits only what was written, since a shell closes a dup of a file
that it has just truncated before it writes; ``release`` commits what is then still pending. What a close
could not commit is not tried again there: its program was told, and others may have written meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Handle:
    """One open file."""

    inode: int
    content: bytes = b""
    """What reads see of a file that is made when it is opened."""
    fixed: bool = False
    """A virtual file: reads come from ``content``."""
    who: str = ""
    """Who opened it for writing, for the history; empty when it only reads."""
    buffer: bytearray | None = None
    """The content as this handle sees it, once it differs."""
    written: bool = False
    """Written or truncated through the handle since the last commit."""
    pending: bool = False
    """Created, or opened with O_TRUNC, and nothing committed yet."""
    failed: bool = False
    """A close was told that what is in the buffer was not written, and nothing was added since."""
    mtime: float | None = None
    """Set through the handle while it has a change to commit."""
    committing: bool = False
    """A commit is under way: what is set now comes after it."""
    alone: bool = False
    """Emptied when opened, only to write, and nobody else has it open: the kernel has what was written."""
    shown: bool = True
    """The kernel may have the file's attributes: it was given some since a write, which drops them."""
    commits: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)
    """Held during a commit: whoever closes or syncs meanwhile waits for its fate."""

    @property
    def dirty(self) -> bool:
        """Whether there is something that the file does not have."""
        return self.written or self.pending

    @property
    def seen(self) -> bytearray | None:
        """What this handle sees of its own and nobody else does yet; ``None`` when it sees the file."""
        return self.buffer if self.dirty or self.committing else None

    def known_to_kernel(self, data: bytes) -> bool:
        """Whether the kernel, which drops the attributes at each write, caches nothing but ``data``."""
        return self.alone and not self.shown and (self.buffer or b"") == data

    def write(self, offset: int, data: bytes, base: bytes) -> None:
        """Write into the buffer, which begins as ``base``; a gap is filled with zeros."""
        buffer = self._own(base)
        if offset > len(buffer):
            buffer.extend(bytes(offset - len(buffer)))
        buffer[offset : offset + len(data)] = data
        self.written, self.failed, self.shown = True, False, False

    def truncate(self, size: int, base: bytes) -> None:
        """Cut or extend to ``size`` bytes."""
        buffer = self._own(base)
        if size < len(buffer):
            del buffer[size:]
        else:
            buffer.extend(bytes(size - len(buffer)))
        self.written, self.failed = True, False

    def committed(self) -> None:
        """What the buffer held is the file's content now."""
        self.written = False
        self.pending = False
        self.mtime = None
        self.alone = False

    def _own(self, base: bytes) -> bytearray:
        buffer = self.seen
        if buffer is None:
            buffer = self.buffer = bytearray(base)
        return buffer
