"""Follow a task in the foreground: its lines to stdout, its fate as the exit status.

The daemon carries the task out; a lost terminal does not stop it. The first Ctrl-C asks the daemon to stop
the task, a second one leaves it to itself. The daemon tells of lines and progress as they come; while it has
no stream for us (it restarts, the task's node is of an older version) the log is asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from kvorum.cli.client import Client, quote
from kvorum.cli.failures import CallRefused, CommandFailure, DaemonSilent
from kvorum.cli.stream import NoStream, task_events

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
DAEMON_RESTART_S = 30.0
"""How long a daemon may be away (an upgrade, a join's restart) before the command gives up on its task."""
LINES_A_CALL = 500

OK, WITH_WARNINGS, FAILED, LEFT = 0, 1, 255, 130


class Bar(Protocol):
    """Where progress is shown."""

    def update(self, fraction: float, text: str) -> None:
        """Show how far the task is, 0 to 1."""
        ...


class _NoBar:
    def update(self, fraction: float, text: str) -> None:
        pass


def follow(
    client: Client, upid: str, *, quiet: bool = False, pause: Callable[[float], None] = time.sleep
) -> int:
    """Print a task's lines as they come and return the exit status: 0 if it ended OK, 1 with warnings,
    255 if it failed, 130 if the user left it running.

    Raises ``DaemonSilent`` when the daemon is away for longer than ``DAEMON_RESTART_S``.
    """
    watched = _Watched(client, upid, pause)
    with _bar() as bar:
        try:
            return _end(watched.run(bar, quiet))
        except KeyboardInterrupt:
            print("asking the task to stop (Ctrl-C again leaves it running)", file=sys.stderr)
        try:
            watched.stop()
            return _end(watched.run(bar, quiet))
        except KeyboardInterrupt:
            print(f"the task goes on: {upid}", file=sys.stderr)
            return LEFT


def _end(status: str) -> int:
    """The exit status for a task's own."""
    if status == "OK":
        return OK
    print(status, file=sys.stderr)
    return WITH_WARNINGS if status.startswith("WARNINGS:") else FAILED


class _Watched:
    """One task, and how much of its log has been shown."""

    def __init__(self, client: Client, upid: str, pause: Callable[[float], None]) -> None:
        parts = upid.split(":")
        if len(parts) != 9:
            raise CommandFailure(f"the daemon answered '{upid}', which is no task id")
        self._client = client
        self._upid = upid
        self._path = f"/nodes/{quote(parts[1])}/tasks/{quote(upid)}"
        self._pause = pause
        self._shown = 0
        self._streams = True

    def stop(self) -> None:
        """Ask the daemon to stop the task."""
        self._client.call("DELETE", self._path)

    def run(self, bar: Bar, quiet: bool) -> str:
        """Show lines until the task has ended; return its exit status text."""
        pause_s = FIRST_PAUSE_S
        while True:
            if (ended := self._listen(bar, quiet)) is not None:
                return ended
            status = self._ask(self._path + "/status")
            assert isinstance(status, dict)
            new = self._show(quiet)
            if status.get("status") == "stopped":
                return str(status.get("exitstatus", "unexpected status"))
            if isinstance(fraction := status.get("progress"), int | float):
                bar.update(float(fraction), str(status.get("doing", "")))
            pause_s = FIRST_PAUSE_S if new else min(pause_s * 1.5, LONGEST_PAUSE_S)
            self._pause(pause_s)

    def _listen(self, bar: Bar, quiet: bool) -> str | None:
        """Show what the daemon tells; the exit status, or ``None`` when it is to be asked."""
        if not self._streams:
            return None
        try:
            for name, data in task_events(self._client.path, self._upid, self._shown):
                match name:
                    case "log":
                        self._line(data, quiet)
                    case "progress" if isinstance(fraction := data.get("progress"), int | float):
                        bar.update(float(fraction), str(data.get("doing", "")))
                    case "end":
                        return str(data.get("exitstatus", "unexpected status"))
        except NoStream as gone:
            self._streams = not gone.forever
        return None

    def _line(self, row: dict[str, object], quiet: bool) -> None:
        """Print a line that was not shown yet."""
        number, text = int(str(row.get("n", 0))), str(row.get("t", ""))
        if number <= self._shown:
            return
        self._shown = number
        if not quiet and not text.startswith(("TASK OK", "TASK ERROR:", "TASK WARNINGS:")):
            print(text, flush=True)

    def _show(self, quiet: bool) -> bool:
        """Print the lines that came since; whether there were any."""
        before = self._shown
        while True:
            rows = self._ask(self._path + "/log", {"start": str(self._shown), "limit": str(LINES_A_CALL)})
            lines = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            for row in lines:
                self._line(row, quiet)
            if len(lines) < LINES_A_CALL:
                return self._shown > before

    def _ask(self, path: str, parameters: dict[str, str] | None = None) -> object:
        """A call that outlives the daemon's restart; raises ``DaemonSilent`` after ``DAEMON_RESTART_S``."""
        waited_s = 0.0
        while True:
            try:
                return self._client.call("GET", path, parameters)
            except DaemonSilent:
                if waited_s >= DAEMON_RESTART_S:
                    raise
            except CallRefused as refusal:
                if refusal.code not in (595, 596) or waited_s >= DAEMON_RESTART_S:
                    raise
            self._pause(LONGEST_PAUSE_S)
            waited_s += LONGEST_PAUSE_S


@contextmanager
def _bar() -> Iterator[Bar]:
    """A progress bar on a terminal, nothing elsewhere; rich is loaded when the first progress is said."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _NoBar()
        return
    bar = _TerminalBar()
    try:
        yield bar
    finally:
        bar.close()


class _TerminalBar:
    """A bar on stderr, by rich, below the lines on stdout."""

    def __init__(self) -> None:
        self._close: Callable[[], None] = lambda: None
        self._update: Callable[[float, str], None] | None = None

    def update(self, fraction: float, text: str) -> None:
        if self._update is None:
            self._open()
        assert self._update is not None
        self._update(min(max(fraction, 0.0), 1.0), text)

    def close(self) -> None:
        self._close()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=Console(),
            transient=True,
        )
        task = progress.add_task("", total=1.0)
        progress.start()
        self._close = progress.stop
        self._update = lambda fraction, text: progress.update(task, completed=fraction, description=text)
