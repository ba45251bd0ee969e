"""What a write of the store can't be faster than: one fdatasync and one message of Corosync's, by themselves.

Runs inside a node, by the package's own python.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from kvorum.corosync import CorosyncBusy, Cpg

GROUP = "kvorum_bench"
MESSAGE_BYTES = 700
BLOCK_BYTES = 4096
BLOCKS = 256
ANSWER_S = 10.0


def timed_ms(act: Callable[[int], object], count: int) -> list[float]:
    """How long each of so many calls took; ``act`` is given its number."""
    took = []
    for number in range(count):
        begin = time.perf_counter()
        act(number)
        took.append((time.perf_counter() - begin) * 1000)
    return took


class Floor:
    """A page overwritten in a file of full size, and fdatasync: what SQLite's log needs at the least."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "kvorum-bench.floor"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(self._file, os.urandom(BLOCKS * BLOCK_BYTES), 0)
        os.fsync(self._file)
        self._block = os.urandom(BLOCK_BYTES)

    def sync(self, number: int) -> None:
        """Write a page and wait until the disk has it."""
        os.pwrite(self._file, self._block, number % BLOCKS * BLOCK_BYTES)
        os.fdatasync(self._file)

    def close(self) -> None:
        """Take the file away."""
        os.close(self._file)
        self._path.unlink()


class Echo:
    """A message of 700 bytes to a group of Corosync's that only we are in, until it is delivered here."""

    def __init__(self) -> None:
        self._cpg = Cpg(deliver=self._deliver, group_change=self._changed)
        self._events = select.poll()
        self._events.register(self._cpg.fileno, select.POLLIN)
        self._joined = self._delivered = False
        asyncio.run(self._cpg.join(GROUP))
        self._until(lambda: self._joined)

    def message(self, _: int) -> None:
        """Send one and wait for it."""
        self._delivered = False
        try:
            self._cpg.send_now(bytes(MESSAGE_BYTES))
        except CorosyncBusy:
            asyncio.run(self._cpg.send(bytes(MESSAGE_BYTES), timeout=ANSWER_S))
        self._until(lambda: self._delivered)

    def close(self) -> None:
        """Leave the group."""
        self._cpg.close()

    def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if not self._events.poll(ANSWER_S * 1000):
                raise TimeoutError(f"corosync did not deliver a message within {ANSWER_S:g} s")
            self._cpg.dispatch()

    def _deliver(self, _nodeid: int, _pid: int, _message: bytes) -> None:
        self._delivered = True

    def _changed(self, *_: object) -> None:
        self._joined = True
