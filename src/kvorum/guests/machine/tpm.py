"""A guest's TPM: swtpm, one process beside QEMU, under the guest's uid and in its scope.

Both talk over a pair of sockets that nobody else can reach. When QEMU ends, its end closes and swtpm goes by
itself. What the TPM keeps is a volume of the guest (``tpmstate0``), which swtpm writes as one file; while the
guest migrates, QEMU sends it along with the memory.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvorum.guests.config import Disk
from kvorum.guests.machine.process import Identity, Process

BINARY = "swtpm"


def arguments(disk: Disk, state: str, control_fd: int) -> list[str]:
    """swtpm's argument list."""
    version = ["--tpm2"] if disk.options.get("version", "v1.2") == "v2.0" else []
    return [
        *(BINARY, "socket", *version),
        *("--tpmstate", f"backend-uri=file://{state}"),
        *("--ctrl", f"type=unixio,clientfd={control_fd}", "--terminate"),
    ]


@contextmanager
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The line between QEMU and swtpm: an end for each. Our copies go, or swtpm would not end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        yield ours, theirs


async def start(disk: Disk, state: str, control: socket.socket, log: Path, who: Identity | None) -> Process:
    """Begin a guest's swtpm; raises ``StartFailed`` when it is not installed."""
    words = arguments(disk, state, control.fileno())
    return await Process.start(words, [control.fileno()], log, who)
