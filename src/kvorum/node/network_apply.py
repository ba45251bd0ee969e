"""Applies a pending /etc/network/interfaces (ifreload(8)), and takes it back if it cuts the node off.

The old file is noted beside the new one before anything is changed. The removal of that note is what makes
the new configuration count: whatever breaks off before (a failure, a stopped task, the daemon's death, a
power cut) brings the old one back and leaves the change waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from kvorum.core.errors import Conflict, KvorumError
from kvorum.interface import TaskLog
from kvorum.node.host_files import HostFiles
from kvorum.node.interfaces import Interfaces
from kvorum.node.network_trial import CONFIRM_S, Sight, Trial, Verdict

DEADLINE_S = 120.0
LOOK_EACH_S = 1.0
CURRENT, PENDING = "network/interfaces", "network/interfaces.new"
BEFORE = "network/interfaces.before"
"""The file as it was, while it is not known whether the new one works."""
IFRELOAD = "ifreload"
LOCKS = Path("/run/network")
"""Where ifupdown2 has its lock; its networking.service makes it, which need not have run yet."""
_ERROR = re.compile(r"error: (?P<name>[^\s:]+(?::\d+)?): ?(?P<why>.*)")
LOCKED_TRIES = 60
_LOCKED = 89
"""ifupdown2's status while another run of it holds its lock."""

_log = logging.getLogger(__name__)


class NetworkChange:
    """The one place where this node's network is changed; ``look`` tells who is reachable."""

    def __init__(self, files: HostFiles, look: Callable[[], Awaitable[Sight]]) -> None:
        self._files = files
        self._look = look
        self._busy = asyncio.Lock()
        self._heard: asyncio.Event | None = None

    def hear(self) -> bool:
        """Who asked for the change has been heard from over the network; whether somebody waited for it."""
        if self._heard is None:
            return False
        self._heard.set()
        return True

    async def apply(
        self, wanted: str | None, log: TaskLog, *, remote: bool, confirm_s: float = CONFIRM_S
    ) -> None:
        """Make ``wanted`` the current file, reload, and keep it if the node is reachable then.

        ``remote``: who asked came over the network and must be heard from again (``hear``). With ``None``
        the current file is loaded anew. Without ifupdown2 the file counts from the next boot, which the task
        says as a warning. Raises ``KvorumError`` once the old file is back.
        """
        if self._busy.locked():
            raise Conflict("the network is being changed already: wait for that task's end")
        async with self._busy:
            command = _find(IFRELOAD)
            if command is None and _find("ifup") is None:
                raise KvorumError(
                    "neither ifupdown2 nor ifupdown is installed on this node: something else manages its "
                    "network, and /etc/network/interfaces means nothing to it"
                )
            before = await self._look()
            old = await asyncio.to_thread(self._files.read, CURRENT)
            await asyncio.to_thread(self._files.write, BEFORE, old)
            try:
                if wanted is not None:
                    await asyncio.to_thread(self._files.write, CURRENT, wanted)
                if command is None:
                    log.warn(
                        "ifupdown2 is not installed: what changed counts from the next boot of this node"
                    )
                else:
                    await _run(command, log, Interfaces.parse(old if wanted is None else wanted).names())
                    await self._watch(Trial(before, remote, confirm_s), log)
            except BaseException as error:
                why = str(error) if isinstance(error, KvorumError) else "it was broken off"
                await self._take_back(old, command, log, why)
                raise
            await asyncio.to_thread(self._keep, wanted)

    async def recover(self) -> None:
        """After a daemon's death in the middle: put the old file back, and have ifupdown2 follow it."""
        async with self._busy:
            if not await asyncio.to_thread((self._files.etc / BEFORE).exists):
                await asyncio.to_thread(self._forget_applied)
                return
            _log.warning("/etc/%s: applying it was broken off; the old configuration is put back", CURRENT)
            old = await asyncio.to_thread(self._files.read, BEFORE)
            await self._put_back(old, _find(IFRELOAD), _DaemonLog())

    async def _watch(self, trial: Trial, log: TaskLog) -> None:
        """Return once the node is known to be reachable; raises ``KvorumError`` when it is not in time."""
        self._heard = heard = asyncio.Event()
        begun, told = time.monotonic(), ""
        try:
            while trial.verdict is Verdict.WAIT:
                sight = await self._look()
                if heard.is_set():
                    trial = trial.hear()
                after_s = time.monotonic() - begun
                trial = trial.look(sight, after_s)
                if trial.verdict is Verdict.WAIT:
                    log.progress(min(after_s / trial.confirm_s, 1.0), trial.why or "waiting whether it lasts")
                    if trial.why not in ("", told):
                        told = trial.why
                        log.line(f"{told}; the old configuration returns after {trial.confirm_s:g} s")
                    await _pause(heard)
        finally:
            self._heard = None
        if trial.verdict is Verdict.BACK:
            raise KvorumError(trial.why)
        log.line(trial.why)

    async def _take_back(self, old: str, command: str | None, log: TaskLog, why: str) -> None:
        log.line(f"{why}: the old configuration is put back")
        try:
            await self._put_back(old, command, log)
        except KvorumError as error:
            raise KvorumError(
                f"{why}; the old file is back, but could not be loaded: {error}; "
                "run 'ifreload -a' on the node"
            ) from error
        if why != "it was broken off":
            raise KvorumError(f"{why}; the old configuration is back and the change still waits")

    async def _put_back(self, old: str, command: str | None, log: TaskLog) -> None:
        """The note goes last: until then the next start of the daemon does this again."""
        await asyncio.to_thread(self._files.write, CURRENT, old)
        if command is not None:
            await _run(command, log)
        await asyncio.to_thread(self._files.remove, BEFORE)

    def _keep(self, wanted: str | None) -> None:
        """From the note's removal on the new file counts; what was edited meanwhile goes on waiting."""
        self._files.remove(BEFORE)
        if wanted is not None:
            self._forget_applied()

    def _forget_applied(self) -> None:
        """What is in force waits no more."""
        if self._files.read(PENDING) == self._files.read(CURRENT):
            self._files.remove(PENDING)


async def _pause(heard: asyncio.Event) -> None:
    """Until the next look; sooner when somebody is heard from who was not before."""
    if heard.is_set():
        await asyncio.sleep(LOOK_EACH_S)
        return
    try:
        async with asyncio.timeout(LOOK_EACH_S):
            await heard.wait()
    except TimeoutError:
        return


def _find(command: str) -> str | None:
    return shutil.which(command, path="/usr/sbin:/sbin:/usr/bin:/bin")


async def _run(command: str, log: TaskLog, names: Collection[str] = ()) -> None:
    """Have ifupdown2 follow the file; another run of it, as at boot, is waited for.

    Raises ``KvorumError`` when it could not set up one of ``names``. Its status alone says little: it also
    fails over what it could not do for the node as a whole (Debian 13 has no /etc/iproute2/rt_tables.d),
    with all interfaces as they should be; that is a warning.
    """
    await asyncio.to_thread(_make_room_for_lock)
    for _ in range(LOCKED_TRIES):
        status, lines = await _once(command, log)
        if status != _LOCKED:
            break
        await asyncio.sleep(LOOK_EACH_S)
    if status == 0:
        return
    if status == _LOCKED:
        raise KvorumError("another run of ifupdown2 does not end")
    for line in lines:
        if (match := _ERROR.match(line)) and match["name"] in names:
            raise KvorumError(f"ifreload could not set up '{match['name']}': {match['why']}")
    log.warn(f"ifreload ended with status {status}, and complained of no interface")


def _make_room_for_lock() -> None:
    """Without this folder ifreload says that another instance runs."""
    with contextlib.suppress(OSError):
        LOCKS.mkdir(exist_ok=True)


async def _once(command: str, log: TaskLog) -> tuple[int | None, list[str]]:
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
    lines = output.decode(errors="replace").splitlines()
    for line in lines:
        log.line(line)
    return process.returncode, lines


class _DaemonLog:
    """The task is gone; what ifreload says goes to the daemon's log."""

    def line(self, text: str) -> None:
        _log.info("ifreload: %s", text)

    def warn(self, text: str) -> None:
        _log.warning("ifreload: %s", text)

    def progress(self, fraction: float, text: str = "") -> None:
        return
