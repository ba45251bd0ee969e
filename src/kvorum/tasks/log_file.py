"""The log a running task writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_BYTES = 32 << 20
"""A task that writes more is cut short with a line that says so; its end is still noted."""


class TaskLogFile:
    """A ``TaskLog`` on a file; each line is there for readers as soon as ``line`` returns."""

    def __init__(
        self,
        file: Path,
        on_progress: Callable[[float, str], None],
        on_line: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = file.open("a", encoding="utf-8", errors="replace", buffering=1)
        self._on_progress = on_progress
        self._on_line = on_line
        self._bytes = 0
        self.warnings = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def line(self, text: str) -> None:
        """Append one line; one with line breaks in it becomes several."""
        if self._bytes > MAX_BYTES:
            return
        for part in text.splitlines() or [""]:
            self._bytes += len(part) + 1
            self._stream.write(f"{part}\n")
        if self._bytes > MAX_BYTES:
            self._stream.write(f"the log is cut off here: it has more than {MAX_BYTES >> 20} MiB\n")
        self._on_line()

    def warn(self, text: str) -> None:
        """Append a line and count a warning."""
        self.warnings += 1
        self.line(f"WARN: {text}")

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the task is, 0 to 1."""
        self._on_progress(min(max(fraction, 0.0), 1.0), text)

    def end(self, line: str) -> None:
        """Write the last line, whatever was written before."""
        self._stream.write(f"{line}\n")
