"""Applies a pending /etc/network/interfaces: puts it in place and has ifupdown2 follow it (ifreload(8))."""

from __future__ import annotations

import asyncio
import logging
import shutil

from kvorum.core.errors import KvorumError
from kvorum.interface import TaskLog
from kvorum.node.host_files import HostFiles

DEADLINE_S = 120.0
BEFORE = "network/interfaces.before"
"""The file as it was, while it is not known whether the new one works."""

_log = logging.getLogger(__name__)


async def apply(files: HostFiles, current: str, pending: str, wanted: str | None, log: TaskLog) -> None:
    """Make ``wanted`` the current file and reload; on failure, and when the daemon dies meanwhile
    (``recover``), the old file comes back and the change still waits.

    Without ifupdown2 the file counts from the next boot, which the task says as a warning.
    """
    command = _find("ifreload")
    if command is None and _find("ifup") is None:
        raise KvorumError(
            "neither ifupdown2 nor ifupdown is installed on this node: something else manages its network, "
            "and /etc/network/interfaces means nothing to it"
        )
    before = files.read(current)
    if wanted is not None:
        await asyncio.to_thread(files.write, BEFORE, before)
        await asyncio.to_thread(files.write, current, wanted)
    if command is None:
        await asyncio.to_thread(_done, files, pending)
        log.warn("ifupdown2 is not installed: what changed counts from the next boot of this node")
        return
    try:
        await _run(command, log)
    except BaseException:
        if wanted is not None:
            await asyncio.to_thread(files.write, current, before)
            await asyncio.to_thread(files.remove, BEFORE)
        raise
    await asyncio.to_thread(_done, files, pending)


async def recover(files: HostFiles, current: str) -> None:
    """After a daemon's death in the middle: put the old file back, and have ifupdown2 follow it."""
    if not await asyncio.to_thread((files.etc / BEFORE).exists):
        return
    _log.warning("/etc/%s: applying it was broken off; the old configuration is put back", current)
    await asyncio.to_thread(files.write, current, await asyncio.to_thread(files.read, BEFORE))
    await asyncio.to_thread(files.remove, BEFORE)
    if (command := _find("ifreload")) is not None:
        await _run(command, _DaemonLog())


def _done(files: HostFiles, pending: str) -> None:
    """The new file counts: nothing waits, and there is no way back."""
    files.remove(pending)
    files.remove(BEFORE)


def _find(command: str) -> str | None:
    return shutil.which(command, path="/usr/sbin:/sbin:/usr/bin:/bin")


async def _run(command: str, log: TaskLog) -> None:
    process = await asyncio.create_subprocess_exec(
        command,
        "-a",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        raise KvorumError(f"ifreload did not end within {DEADLINE_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    for line in output.decode(errors="replace").splitlines():
        log.line(line)
    if process.returncode != 0:
        raise KvorumError(f"ifreload ended with status {process.returncode}; the old configuration is back")


class _DaemonLog:
    """The task is gone; what ifreload says goes to the daemon's log."""

    def line(self, text: str) -> None:
        _log.info("ifreload: %s", text)

    def warn(self, text: str) -> None:
        _log.warning("ifreload: %s", text)

    def progress(self, fraction: float, text: str = "") -> None:
        return
