"""An admin's own script that accompanies a guest: run as ``SCRIPT VMID PHASE`` by root.

Phases: ``pre-start`` (a failure keeps the guest from starting), ``post-start``, ``pre-stop`` (not when the
guest switches itself off) and ``post-stop``. What the script prints stands in the task's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from enum import Enum

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.storage import Storages

log = logging.getLogger(__name__)

Say = Callable[[str], None]
DEADLINE_S = 600.0
_MOST_LINES = 1000


class Phase(Enum):
    """When the script runs."""

    PRE_START = "pre-start"
    POST_START = "post-start"
    PRE_STOP = "pre-stop"
    POST_STOP = "post-stop"


async def run(storages: Storages, config: GuestConfig, phase: Phase, say: Say) -> None:
    """Run the guest's script, if it has one. Raises ``GuestError`` when it is missing or fails."""
    if "hookscript" not in config.settings:
        return
    volume = VolumeId.parse(config.settings["hookscript"])
    if not volume.name.startswith("snippets/"):
        raise GuestError(f"hookscript: '{volume}' is no snippet; write STORAGE:snippets/NAME")
    path = storages.of(volume).path(volume)
    what = f"hookscript '{volume}', phase {phase.value}"
    try:
        process = await asyncio.create_subprocess_exec(
            str(path), str(config.vmid), phase.value,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise GuestError(f"{what}: '{path}' can't be run: {error.strerror}; chmod +x it") from error
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            lines = 0
            async for raw in process.stdout:
                lines += 1
                if lines <= _MOST_LINES:
                    say(raw.decode(errors="replace").rstrip())
            code = await process.wait()
    except TimeoutError:
        raise GuestError(f"{what}: it did not end within {DEADLINE_S:g} s and was killed") from None
    except ValueError as error:
        raise GuestError(f"{what}: it prints a line that has no end") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code:
        raise GuestError(f"{what}: it failed with exit code {code}")


async def run_gently(storages: Storages, config: GuestConfig, phase: Phase, say: Say) -> None:
    """As ``run``, where a failure changes nothing any more: it is said."""
    try:
        await run(storages, config, phase, say)
    except KvorumError as error:
        log.warning("VM %d: %s", config.vmid, error)
        say(f"WARNING: {error}")
