"""A running guest's memory kept in a volume, and brought back from it, by QEMU's own migration to a file.

With ``mapped-ram`` each page has its place in the file, so that a guest which goes on writing makes it no
larger than its memory, and blank pages take no room (QEMU's docs/devel/migration/mapped-ram, 9.0 on). The
guest runs until ``pre-switchover``; then it stands still, and its disks, at rest, are of the same instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvorum.guests.errors import GuestError
from kvorum.guests.machine.qmp import Monitor
from kvorum.interface import TaskLog

TICK_S = 1.0
STALL_S = 60.0
FINISH_DEADLINE_S = 60.0
CANCEL_DEADLINE_S = 20.0
LOAD_BASE_S = 120.0
LOAD_MIB_S = 10.0
"""A storage slower than this is given up on."""
MAX_PASSES = 8
"""A guest that writes faster than its storage takes it is stopped after so many passes."""
_FULL_RATE = 1 << 40
_ENDED = frozenset({"completed", "failed", "cancelled"})
_SAVING = {"events": True, "pause-before-switchover": True, "mapped-ram": True, "multifd": False,
           "auto-converge": False}  # fmt: skip
_AT_REST = frozenset({"pause-before-switchover", "mapped-ram"})
"""Off, as a migration to another node expects to find them."""


class Saving:
    """The guest's memory on its way into a file."""

    def __init__(self, monitor: Monitor, log: TaskLog) -> None:
        self._monitor = monitor
        self._log = log

    async def until_still(self, path: Path) -> None:
        """Write memory while the guest runs; returns with the guest standing still, the last pages to come.

        Raises ``GuestError`` when QEMU gives up (no room, say) or nothing moves for 60 s.
        """
        monitor = self._monitor
        await _capabilities(monitor, _SAVING)
        await monitor.execute(
            "migrate-set-parameters", {"tls-creds": "", "max-bandwidth": _FULL_RATE, "downtime-limit": 300}
        )
        async with monitor.listen("MIGRATION") as events:
            await monitor.execute("migrate", {"uri": f"file:{path}"})
            moved, moved_at, stopped = 0, time.monotonic(), False
            while True:
                try:
                    event = await events.next(TICK_S)
                except TimeoutError:
                    answer = await monitor.execute("query-migrate")
                    now = self._tell(answer)
                    if now != moved:
                        moved, moved_at = now, time.monotonic()
                    elif time.monotonic() - moved_at > STALL_S:
                        raise GuestError(
                            f"the memory could not be saved: nothing has reached '{path}' for {STALL_S:g} s"
                        ) from None
                    if not stopped and _passes(answer) > MAX_PASSES:
                        self._log.line(
                            "the guest writes faster than its storage; it stands still until saved"
                        )
                        await monitor.execute("stop")
                        stopped = True
                    continue
                status = str(event.data["status"])
                if status == "pre-switchover":
                    return
                if status in _ENDED:
                    raise GuestError(await _why(monitor, "the memory could not be saved", status))

    async def finish(self) -> None:
        """Write the rest; the guest stands still. Raises ``GuestError``."""
        async with self._monitor.listen("MIGRATION") as events:
            await self._monitor.execute("migrate-continue", {"state": "pre-switchover"})
            end = await events.until(lambda e: e.data["status"] in _ENDED, FINISH_DEADLINE_S)
        if end.data["status"] != "completed":
            raise GuestError(
                await _why(self._monitor, "the memory could not be saved", str(end.data["status"]))
            )
        self._log.progress(1.0)

    def _tell(self, answer: dict[str, Any]) -> int:
        """A line of progress; how many bytes have been written."""
        ram = answer.get("ram") or {}
        total, left, moved = (int(ram.get(key, 0)) for key in ("total", "remaining", "transferred"))
        if total:
            self._log.line(f"saving memory: {_mib(moved)} written, {_mib(left)} of {_mib(total)} to go")
            self._log.progress(1 - left / total)
        return moved


async def give_up(monitor: Monitor) -> None:
    """Call a saving back, in whatever state it is, and leave no trace of it in QEMU's settings."""
    async with monitor.listen("MIGRATION") as events:
        status = (await monitor.execute("query-migrate")).get("status", "none")
        if status not in _ENDED and status != "none":
            await monitor.execute("migrate_cancel")
            with contextlib.suppress(TimeoutError):
                await events.until(lambda e: e.data["status"] in _ENDED, CANCEL_DEADLINE_S)
    now = await monitor.execute("query-migrate-capabilities")
    left = [each["capability"] for each in now if each["state"] and each["capability"] in _AT_REST]
    if left:
        await _capabilities(monitor, dict.fromkeys(left, False))


async def load(monitor: Monitor, path: Path, memory_mib: int, say: Callable[[str], None]) -> None:
    """Bring memory back into a QEMU that waits for it (``-incoming defer``); the guest then stands still.

    Raises ``GuestError`` when QEMU can't take it, or takes longer than its size allows.
    """
    say("loading memory")
    await _capabilities(monitor, {"events": True, "mapped-ram": True})
    deadline_s = LOAD_BASE_S + memory_mib / LOAD_MIB_S
    async with monitor.listen("MIGRATION") as events:
        await monitor.execute(
            "migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False}, deadline_s=deadline_s
        )
        try:
            end = await events.until(lambda e: e.data["status"] in _ENDED, deadline_s)
        except TimeoutError:
            raise GuestError(
                f"the memory could not be loaded within {deadline_s:g} s from '{path}'"
            ) from None
    if end.data["status"] != "completed":
        raise GuestError(await _why(monitor, "the memory could not be loaded", str(end.data["status"])))
    await give_up(monitor)


async def _capabilities(monitor: Monitor, wanted: dict[str, bool]) -> None:
    states = [{"capability": name, "state": state} for name, state in wanted.items()]
    await monitor.execute("migrate-set-capabilities", {"capabilities": states})


async def _why(monitor: Monitor, what: str, status: str) -> str:
    answer = await asyncio.shield(monitor.execute("query-migrate"))
    return f"{what}: QEMU says: {answer.get('error-desc', status)}"


def _passes(answer: dict[str, Any]) -> int:
    return int((answer.get("ram") or {}).get("dirty-sync-count", 0))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
