"""A task's log as it grows: lines, progress, the end, each as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from kvorum.tasks.record import TaskRecord

READ_BYTES = 128 << 10
SETTLE_S = 0.02
"""Lines that come within this time are read together."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, numbered from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class LogProgress:
    """How far the task is, 0 to 1, and what it does."""

    fraction: float
    doing: str


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The task has ended, and so; nothing comes after it."""

    status: str
    endtime: int


News: TypeAlias = LogLine | LogProgress | LogEnd


class Follower:
    """One reader of one log. ``state`` is what is known of the task now, and what tells of its next news."""

    def __init__(self, file: Path, state: Callable[[], tuple[TaskRecord, asyncio.Event | None]]) -> None:
        self._file = file
        self._state = state
        self._offset = 0
        self._number = 0
        self._skip = 0
        self._progress: LogProgress | None = None
        self._torn = b""

    def skip(self, lines: int) -> None:
        """Leave out the first lines, which the reader has already."""
        self._skip = lines

    async def next(self, timeout: float) -> list[News]:
        """The next news; none when there were none within ``timeout`` seconds."""
        record, grown = self._state()
        found = self._read()
        if not found and grown is not None:
            try:
                async with asyncio.timeout(timeout):
                    await grown.wait()
                    await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                return []
            record, grown = self._state()
            found = self._read()
        if record.progress is not None and grown is not None:
            progress = LogProgress(round(record.progress, 4), record.doing)
            if progress != self._progress:
                self._progress = progress
                found.append(progress)
        if grown is None and not self._more():
            found.append(LogEnd(record.status, record.endtime or 0))
        return found

    def _more(self) -> bool:
        try:
            return self._file.stat().st_size > self._offset
        except OSError:
            return False

    def _read(self) -> list[News]:
        """The whole lines that came since; at most about ``READ_BYTES`` of them."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read(READ_BYTES)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        found: list[News] = []
        for line in lines:
            self._number += 1
            if self._number > self._skip:
                found.append(LogLine(self._number, line.decode("utf-8", "replace")))
        return found
