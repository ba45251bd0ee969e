"""The tasks of this node on disk: ``log/tasks/{active,index,index.1}`` and one log file for each task.

A task's log lies under the last hexadecimal digit of its start time. ``active`` names what runs; ``index``
has a line for each task that ended, and becomes ``index.1`` when it has grown long.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kvorum.core.ids import Upid
from kvorum.tasks.record import TaskRecord

INDEX_BYTES = 1 << 20
"""About 8,000 tasks; as many are kept in ``index.1``."""


class Archive:
    """Reads and writes the task lists; one daemon writes, any may read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directories."""
        for digit in "0123456789ABCDEF":
            (self._directory / digit).mkdir(parents=True, exist_ok=True)

    def log_file(self, upid: Upid) -> Path:
        """Where a task's log lies."""
        return self._directory / f"{upid.starttime & 15:X}" / str(upid)

    def active(self) -> list[TaskRecord]:
        """The tasks that ran when the file was last written."""
        return list(_records(self._directory / "active"))

    def write_active(self, running: Iterable[TaskRecord]) -> None:
        """Say which tasks run now; the file is replaced whole."""
        text = "".join(f"{record.line()}\n" for record in running)
        file = self._directory / "active"
        temporary = file.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)

    def append(self, record: TaskRecord) -> None:
        """Note a task that has ended; a line that was torn by a power cut does not swallow this one."""
        index = self._directory / "index"
        torn = "" if ends_whole(index) else "\n"
        with index.open("a", encoding="utf-8") as stream:
            stream.write(f"{torn}{record.line()}\n")
            size = stream.tell()
        if size > INDEX_BYTES:
            index.replace(self._directory / "index.1")

    def ended(self) -> Iterator[TaskRecord]:
        """All ended tasks that are still listed, the newest end first."""
        for name in ("index", "index.1"):
            yield from reversed(list(_records(self._directory / name)))

    def find(self, upid: Upid) -> TaskRecord | None:
        """The record of an ended task, or ``None``."""
        return next((record for record in self.ended() if record.upid == upid), None)

    def told_end(self, upid: Upid) -> str | None:
        """The status that a task's log ends with; ``None`` when it does not end."""
        last = (self.log_lines(upid) or [""])[-1]
        if last.startswith("TASK ERROR: "):
            return last.removeprefix("TASK ERROR: ")
        return last.removeprefix("TASK ") if last == "TASK OK" or last.startswith("TASK WARNINGS: ") else None

    def log_lines(self, upid: Upid) -> list[str] | None:
        """The whole lines of a task's log, or ``None`` when there is no such log.

        A line that is not yet written to its end comes with a later question: readers count lines.
        """
        try:
            text = self.log_file(upid).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            return [f"the log can't be read: {os.strerror(error.errno or 0)}"]
        return text.split("\n")[:-1]


def ends_whole(file: Path) -> bool:
    """Whether a file ends with a line's end, or has nothing in it."""
    try:
        with file.open("rb") as stream:
            if stream.seek(0, os.SEEK_END) == 0:
                return True
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"
    except FileNotFoundError:
        return True


def _records(file: Path) -> Iterator[TaskRecord]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        record = TaskRecord.parse(line)
        if record is not None:
            yield record
