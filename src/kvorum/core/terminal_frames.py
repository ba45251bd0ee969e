"""What a terminal's client sends: ``0:LENGTH:DATA`` typed, ``1:COLUMNS:ROWS:`` a size, ``2`` nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

MAX_LENGTH_BYTES = 64 << 10
MAX_SIDE = 5000
_HEAD_BYTES = 14


class BadFrame(ValueError):
    """The client speaks another protocol; the text says what was met."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Keys for the shell."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has another size."""

    columns: int
    rows: int


Frame: TypeAlias = Typed | Resized


class Frames:
    """Takes bytes however they were cut and gives frames; a sign of life gives none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Raises ``BadFrame``."""
        self._rest += data
        found: list[Frame] = []
        while self._rest:
            length, frame = self._next()
            if length == 0:
                break
            self._rest = self._rest[length:]
            if frame is not None:
                found.append(frame)
        return found

    def _next(self) -> tuple[int, Frame | None]:
        """The length of the frame at the front, 0 when it is not whole, and the frame."""
        match self._rest[:1]:
            case b"2":
                return 1, None
            case b"0":
                head = self._numbers(1)
                if head is None:
                    return 0, None
                at, (length,) = head
                if length > MAX_LENGTH_BYTES:
                    raise BadFrame(f"a frame of {length} bytes; at most {MAX_LENGTH_BYTES} are allowed")
                if len(self._rest) < at + length:
                    return 0, None
                return at + length, Typed(self._rest[at : at + length])
            case b"1":
                head = self._numbers(2)
                if head is None:
                    return 0, None
                at, (columns, rows) = head
                if not (0 < columns <= MAX_SIDE and 0 < rows <= MAX_SIDE):
                    raise BadFrame(f"a terminal of {columns} by {rows}")
                return at, Resized(columns, rows)
            case other:
                raise BadFrame(f"a frame that begins with {other!r}")

    def _numbers(self, count: int) -> tuple[int, tuple[int, ...]] | None:
        """Where the head ends, and its numbers; ``None`` while it is not whole."""
        head = self._rest[:_HEAD_BYTES]
        parts = head.split(b":", count + 1)
        if len(parts) < count + 2:
            if len(head) == _HEAD_BYTES or not all(word.isdigit() or not word for word in parts):
                raise BadFrame("a frame without a head")
            return None
        words = parts[1 : count + 1]
        if not all(word.isdigit() and len(word) < 8 for word in words):
            raise BadFrame("a frame whose head is no number")
        return sum(len(part) + 1 for part in parts[: count + 1]), tuple(int(word) for word in words)
