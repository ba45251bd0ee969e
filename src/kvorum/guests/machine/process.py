"""A QEMU process: begun with a uid of its own, watched by a pidfd, its last output kept in a file.

The process outlives the daemon that began it; a later daemon attaches by pid and start time and learns of its
end through the pidfd all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvorum.guests.errors import GuestError, StartFailed

LAST_OUTPUT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Process:
    """One running QEMU."""

    def __init__(self, pid: int, pidfd: int, log: Path) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self.status: int | None = None
        """How it ended, as ``Popen.returncode`` has it; ``None`` while it runs, and of what is no child."""
        self._pidfd = pidfd
        self._log = log
        asyncio.get_running_loop().add_reader(pidfd, self._exited)

    @classmethod
    async def start(
        cls, arguments: Sequence[str], descriptors: Sequence[int], log: Path, identity: Identity | None
    ) -> Process:
        """Begin a process with these descriptors open in it and its output in ``log``.

        Raises ``StartFailed`` when the program isn't there or may not be run.
        """
        pid = await asyncio.to_thread(_spawn, arguments, descriptors, log, identity)
        return cls(pid, os.pidfd_open(pid), log)

    @classmethod
    def attach(cls, pid: int, started: int, log: Path) -> Process | None:
        """Take up a process begun earlier; ``None`` when it has ended or the pid is another's."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        if start_time(pid) != started:
            os.close(pidfd)
            return None
        return cls(pid, pidfd, log)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing when it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self, deadline_s: float) -> bool:
        """Wait for its end; whether it came within the deadline."""
        try:
            await asyncio.wait_for(self.ended.wait(), deadline_s)
        except TimeoutError:
            return False
        return True

    async def kill(self, deadline_s: float = 10.0) -> bool:
        """End it: SIGTERM, then SIGKILL after three seconds; whether it is gone."""
        self.signal(signal.SIGTERM)
        if not await self.wait(3.0):
            self.signal(signal.SIGKILL)
        return await self.wait(deadline_s)

    def last_output(self) -> str:
        """The last lines it wrote."""
        return last_output(self._log)

    def detach(self) -> None:
        """Stop watching; the process goes on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _exited(self) -> None:
        with contextlib.suppress(ChildProcessError):
            end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if end is not None:
                self.status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        self.detach()
        self.ended.set()


def start_time(pid: int) -> int:
    """A process's start in clock ticks since boot (proc(5), stat, field 22); 0 when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])


def bind(pid: int, cpus: Iterable[int]) -> None:
    """Let a process, all its threads, run on these CPUs of the host alone; raises ``GuestError``."""
    wanted = frozenset(cpus)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), wanted)
        except ProcessLookupError:
            continue
        except OSError as error:
            listed = ",".join(map(str, sorted(wanted)))
            raise GuestError(
                f"affinity: none of the CPUs {listed} can be used here: {error.strerror}"
            ) from error


def left_over(proc: Path = Path("/proc"), own: int = 0) -> list[int]:
    """The processes that a killed daemon has left in our own service: what it had only just begun.

    A guest's QEMU leaves the service for its scope before it may run, so none of these is a running guest.
    Empty where we are no service. ``own`` is our pid (0: ours); we must not have children yet.
    """
    own = own or os.getpid()
    ours = (proc / str(own) / "cgroup").read_text()
    if not any(line.endswith(".service") for line in ours.splitlines()):
        return []
    found = []
    for path in proc.glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if int(path.parent.name) != own and path.read_text() == ours:
                found.append(int(path.parent.name))
    return sorted(found)


def end(pid: int) -> None:
    """Kill a process that is not ours to wait for, and wait until it is gone, 10 s at most."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 10.0)
        finally:
            os.close(descriptor)


def last_output(log: Path) -> str:
    """The last lines of a log file, at most 4 KiB."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_OUTPUT_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _spawn(arguments: Sequence[str], descriptors: Sequence[int], log: Path, identity: Identity | None) -> int:
    user = None if identity is None else identity.uid
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=tuple(descriptors),
                start_new_session=True,
                cwd="/",
                user=user,
                group=None if identity is None else identity.gid,
                extra_groups=None if identity is None else list(identity.groups),
                umask=0o077,
            )
    except OSError as error:
        raise StartFailed(f"'{arguments[0]}' can't be run: {error.strerror or error}") from error
    child.returncode = 0  # it is reaped through its pidfd; Popen need not worry about it any more
    return child.pid
