"""How a process of the host gets into a machine: by a pidfd of the machine's init.

A command that was started here ends when its machine does, and the machine can always end: between us and
the command stands a process outside of the machine's process namespace that only waits (timeout(1) without a
time). It reaps the command, which the kernel waits for before a process namespace ends, and passes on how it
ended. nsenter(1) can't be that process: it stops when its child is stopped, as systemd-shutdown does to
everything in the machine, and is then out of reach of the signal that lets all go on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from kvorum.lab import kernel
from kvorum.lab.cgroup import Cgroup

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}
"""What a command in a machine finds in its environment, beside TERM."""

_REAPER = ("timeout", "--foreground", "0", "setpriv", "--pdeathsig", "TERM", "--")
"""Waits, passes signals and the exit status on; who ends it ends the command."""

Stream = int | IO[bytes] | None


class NotEntered(Exception):
    """The machine can't be entered: its init ends or has ended."""


def start(
    init: int, group: Cgroup | None, argv: Sequence[str], stdin: Stream, stdout: Stream, stderr: Stream
) -> subprocess.Popen[bytes]:
    """Start ``argv`` where the process behind the pidfd ``init`` is; raises ``NotEntered`` or ``OSError``.

    With a ``group`` in all its namespaces and that control group, from /root; without one in its network.
    """
    environment = dict(ENVIRONMENT, TERM=os.environ.get("TERM", "dumb")) if group else None
    try:
        return subprocess.Popen(
            [*_REAPER, *argv] if group else argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            preexec_fn=_entering(init, group),
        )
    except subprocess.SubprocessError as error:  # all that Python tells of what failed before the exec
        if is_there(init):
            raise OSError(f"its namespaces or its control group refuse us ({error})") from error
        raise NotEntered from error


def is_there(init: int) -> bool:
    """Whether the machine whose init is behind the pidfd ``init`` can still be entered.

    An init that ends gives its namespaces up first. From then on its process namespace lets nobody in, and
    all that are there are killed and waited for, long before the pidfd tells its end.
    """
    try:
        Path(f"/proc/{_pid_behind(init)}/ns/mnt").readlink()
    except OSError:
        return False
    return True


def _entering(init: int, group: Cgroup | None) -> Callable[[], None]:
    def prepare() -> None:
        kernel.drop_clock_capability()
        if group is None:
            kernel.setns(init, kernel.CLONE_NEWNET)
            return
        group.join()
        kernel.setns(init, kernel.MACHINE_NAMESPACES)
        os.chdir("/root")

    return prepare


def _pid_behind(descriptor: int) -> int:
    """The process behind a pidfd, as our namespace numbers it; -1 if it ended (proc_pid_fdinfo(5))."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "Pid":
            return int(value)
    return -1
