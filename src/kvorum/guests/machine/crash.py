"""What is said of a QEMU that ended and nobody had asked for it. Pure."""

from __future__ import annotations

import signal

OUTPUT_CHARACTERS = 400
"""Of its last output, in the one line that users read; the guest's log has all of it."""


def sentence(vmid: int, pid: int, status: int | None, output: str) -> str:
    """One line: which guest, how its QEMU ended, and the last that it said.

    ``status`` is that of ``Popen.returncode``: an exit status, a signal as a negative number, ``None`` when
    it is not known (a daemon before had begun it).
    """
    words = " / ".join(line.strip() for line in output.splitlines() if line.strip())
    said = f"its last output: {words[-OUTPUT_CHARACTERS:]}" if words else "it said nothing"
    return f"VM {vmid}: QEMU (pid {pid}) died{_how(status)}; {said}"


def _how(status: int | None) -> str:
    if status is None:
        return ""
    if status >= 0:
        return f" with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", as by the kernel when memory is short" if name == "SIGKILL" else ""
    return f" by {name}{hint}"
