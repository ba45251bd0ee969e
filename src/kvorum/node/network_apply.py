"""Applies a pending /etc/network/interfaces: puts it in place and has ifupdown2 follow it (ifreload(8))."""

from __future__ import annotations

import asyncio
import shutil

from kvorum.core.errors import KvorumError
from kvorum.interface import TaskLog
from kvorum.node.host_files import HostFiles

DEADLINE_S = 120.0


async def apply(files: HostFiles, current: str, pending: str, wanted: str | None, log: TaskLog) -> None:
    """Make ``wanted`` the current file and reload; on failure the old file comes back.

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
        await asyncio.to_thread(files.write, current, wanted)
    if command is None:
        await asyncio.to_thread(files.remove, pending)
        log.warn("ifupdown2 is not installed: what changed counts from the next boot of this node")
        return
    try:
        await _run(command, log)
    except BaseException:
        if wanted is not None:
            await asyncio.to_thread(files.write, current, before)
        raise
    await asyncio.to_thread(files.remove, pending)


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
