"""A control group of the lab: kills and freezes all processes in it at once.

Only the version 2 hierarchy is used. It stands beside version 1 on hybrid hosts, and freezing and killing
need none of its controllers (kernel 5.2 and 5.14; Documentation/admin-guide/cgroup-v2.rst): one way serves
both.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SOON_S = 1.0
"""Within this the kernel stops all that it can stop."""


def hierarchy(mountinfo: str) -> Path | None:
    """Where the version 2 hierarchy is mounted, from the text of /proc/self/mountinfo; None if not."""
    for line in mountinfo.splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if kind == "cgroup2":
            return Path(fields[4])
    return None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One control group by its directory."""

    path: Path

    def create(self) -> None:
        """Make it, and hand down whatever controllers its parent offers; it may exist already."""
        self.path.mkdir(exist_ok=True)

    def hand_down_controllers(self) -> None:
        """Let groups below have the controllers this one has (none on a version 1 host)."""
        offered = (self.path / "cgroup.controllers").read_text().split()
        for name in offered:
            try:
                (self.path / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError:  # a controller that cannot be had here: the lab does without
                continue

    def join(self) -> None:
        """Move the calling process into it."""
        (self.path / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        """SIGKILL every process in it and below, frozen ones too; nothing happens if it is gone."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return

    def set_frozen(self, frozen: bool, deadline_s: float = 10.0) -> bool:
        """Stop or continue every process in it; returns whether that was reached within the deadline.

        Who waits in the kernel for one that is stopped (a request to a FUSE daemon, fuse(4)) is stopped too,
        though the kernel calls a group with such a process not yet frozen.
        """
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0")
        if self._wait("frozen", int(frozen), min(_SOON_S, deadline_s)):
            return True
        if frozen and self._nobody_runs():
            return True
        return self._wait("frozen", int(frozen), deadline_s - _SOON_S)

    def _nobody_runs(self) -> bool:
        """Whether each thread sleeps; threads of outer process namespaces have no number here."""
        for listed in self.path.rglob("cgroup.threads"):
            for thread in listed.read_text().split():
                with suppress(OSError):
                    state = Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0]
                    if state == "R":
                        return False
        return True

    def wait_empty(self, deadline_s: float) -> bool:
        """Wait until no process is in it or below; returns whether that was so within the deadline."""
        return not self.path.exists() or self._wait("populated", 0, deadline_s)

    def remove(self) -> None:
        """Remove it with all groups below; they must be empty. Nothing happens if it is gone."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                continue

    def clear(self, deadline_s: float) -> bool:
        """Kill what is in it and remove it; returns whether it is gone within the deadline.

        A process that joins it between the two delays that: it is killed too.
        """
        end = time.monotonic() + deadline_s
        while self.path.exists():
            self.kill()
            left = end - time.monotonic()
            if left <= 0 or not self.wait_empty(left):
                return False
            with suppress(OSError):
                self.remove()
        return True

    def _wait(self, key: str, value: int, deadline_s: float) -> bool:
        end = time.monotonic() + deadline_s
        with (self.path / "cgroup.events").open("rb", buffering=0) as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while True:
                events.seek(0)
                told = dict(line.split() for line in events.read().decode().splitlines())
                if int(told.get(key, "0")) == value:
                    return True
                left = end - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    return False
