"""A program on a pseudo terminal (pty(7)), read and written without blocking the loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable, Sequence

CHUNK_BYTES = 16 << 10
END_TIMEOUT_S = 5.0
REOPEN_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.02


class Pty:
    """One running program; ``close`` ends it, and so does its terminal's end (SIGHUP)."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master = master
        self._process = process
        self._closed_at: float | None = None
        """Since when nothing has the terminal open."""

    @classmethod
    async def start(cls, command: Sequence[str], environment: dict[str, str]) -> Pty:
        """Start a program whose controlling terminal is new; raises ``OSError``."""
        master, slave = os.openpty()
        try:
            os.set_blocking(master, False)
            process = await asyncio.create_subprocess_exec(
                "setsid", "--ctty", "--", *command,
                stdin=slave, stdout=slave, stderr=slave, env=environment, cwd="/",
            )  # fmt: skip
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return cls(master, process)

    async def read(self) -> bytes:
        """What the program wrote; empty when it has ended."""
        while True:
            try:
                data = os.read(self._master, CHUNK_BYTES)
                self._closed_at = None
                return data
            except BlockingIOError:
                self._closed_at = None
                await self._ready(asyncio.get_running_loop().add_reader, self._loop_reader)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # The last program on the terminal has closed it: for good, or as login(1) does (vhangup(2)),
                # which opens it anew at once. Nothing tells of that.
                if not await self._lives_on():
                    return b""

    async def write(self, data: bytes) -> None:
        """Type; waits while the program does not read."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._master, view) :]
            except BlockingIOError:
                await self._ready(asyncio.get_running_loop().add_writer, self._loop_writer)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    async def close(self) -> None:
        """Hang up, and kill what does not go."""
        os.close(self._master)
        try:
            await asyncio.wait_for(self._process.wait(), END_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _ready(self, watch: Callable[..., None], unwatch: Callable[[], None]) -> None:
        ready = asyncio.Event()
        watch(self._master, ready.set)
        try:
            await ready.wait()
        finally:
            unwatch()

    async def _lives_on(self) -> bool:
        """Wait a moment; whether the program runs, and has not left its terminal closed for too long."""
        now = asyncio.get_running_loop().time()
        if self._closed_at is None:
            self._closed_at = now
        await asyncio.sleep(_LOOK_AGAIN_S)
        return self._process.returncode is None and now - self._closed_at < REOPEN_WITHIN_S

    def _loop_reader(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)

    def _loop_writer(self) -> None:
        asyncio.get_running_loop().remove_writer(self._master)
