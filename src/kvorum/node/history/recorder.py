"""Keeps the databases: a sample every ten seconds, a copy on disk every half hour and at the end.

All of it runs in one thread of its own, for librrd is not made for several and a full disk may take its time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kvorum.core.errors import DeadlineExceeded, KvorumError
from kvorum.guests import read_records as read_guests
from kvorum.node.facts import Sampler
from kvorum.node.history.databases import Databases
from kvorum.node.history.samples import Sample, guest_sample, line, node_sample, storage_sample
from kvorum.node.history.schema import GUEST, NODE, STEP_S, STORAGE, Schema
from kvorum.storage import read_records as read_storages
from kvorum.store import Store

T = TypeVar("T")
log = logging.getLogger(__name__)

INTERVAL_S = 10.0
SHARE = 0.01
"""Of one core, at most: where a round costs more, rounds come less often, down to one a step."""
SAVE_S = 1800.0
READ_DEADLINE_S = 5.0
KEY = "rrd"
TTL_S = 60.0

Samples = list[tuple[Schema, str, Sample]]


class Recorder:
    """Writes and reads this node's history."""

    def __init__(self, store: Store, sampler: Sampler, databases: Databases) -> None:
        self._store = store
        self._sampler = sampler
        self._databases = databases
        self._thread = ThreadPoolExecutor(1, "history")
        self._complained = ""
        self._cost_s = 0.0

    async def run(self) -> None:
        """Record until cancelled; what can't be written is logged once and tried again."""
        await self._in_thread(self._quietly, self._databases.load)
        saved = time.monotonic()
        while True:
            await self.record()
            if time.monotonic() - saved >= SAVE_S:
                saved = time.monotonic()
                await self._in_thread(self._quietly, self._databases.save)
            await asyncio.sleep(pause_s(self._cost_s))

    async def close(self) -> None:
        """Save everything and end the thread."""
        await self._in_thread(self._quietly, self._databases.save)
        self._thread.shutdown(wait=False)

    async def record(self) -> None:
        """Take one sample of the node, its guests and its storages, and tell the other nodes."""
        at = int(time.time())
        samples = self._samples()
        await self._in_thread(self._quietly, lambda: self._write(at, samples))
        lines = [line(schema.name, name, at, sample, schema.columns) for schema, name, sample in samples]
        try:
            await self._store.publish(KEY, "".join(f"{text}\n" for text in lines).encode(), TTL_S)
        except KvorumError as error:
            log.info("history not published: %s", error)

    async def rows(
        self, schema: Schema, name: str, timeframe: str, function: str | None, columns: Iterable[str] = ()
    ) -> list[dict[str, object]]:
        """The rows of one timeframe; raises ``KvorumError`` or ``DeadlineExceeded``."""
        wanted = tuple(columns)
        return await self._read(
            lambda: self._databases.rows(schema, name, timeframe, function or "AVERAGE", wanted)
        )

    async def picture(
        self, schema: Schema, name: str, timeframe: str, function: str | None, columns: Sequence[str]
    ) -> Path:
        """The PNG file with these columns; raises ``KvorumError``, also where there is no history yet, or
        ``DeadlineExceeded``."""
        drawn = await self._read(
            lambda: self._databases.draw(schema, name, timeframe, function or "AVERAGE", columns)
        )
        if drawn is None:
            raise KvorumError(f"there is no history of '{name}' on this node yet: it begins within a minute")
        return drawn

    async def _read(self, function: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                return await self._in_thread(function)
        except TimeoutError:
            raise DeadlineExceeded(f"the history was not read within {READ_DEADLINE_S:g} s") from None

    def _samples(self) -> Samples:
        node = self._store.node
        samples: Samples = [(NODE, node, node_sample(self._sampler.record))]
        samples += [
            (GUEST, str(guest.vmid), guest_sample(guest)) for guest in read_guests(self._store).get(node, ())
        ]
        samples += [
            (STORAGE, f"{node}/{storage.storage}", storage_sample(storage))
            for storage in read_storages(self._store).get(node, ())
        ]
        return samples

    def _write(self, at: int, samples: Samples) -> None:
        began = time.thread_time()
        try:
            self._update(at, samples)
        finally:
            self._cost_s = time.thread_time() - began

    def _update(self, at: int, samples: Samples) -> None:
        present: dict[str, set[str]] = {}
        for schema, name, sample in samples:
            present.setdefault(schema.name, set()).add(name)
            self._databases.update(schema, name, at, sample)
        # A guest that has left, or a storage: its database would stay in memory for good.
        for schema in (GUEST, STORAGE):
            if here := present.get(schema.name):
                gone = set(self._databases.names(schema)) - here
                self._databases.forget(schema, gone)

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._complained = ""
        except (KvorumError, OSError, ImportError) as error:
            if str(error) != self._complained:
                log.warning("history: %s", error)
            self._complained = str(error)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def pause_s(cost_s: float) -> float:
    """Seconds until the next round after one that took ``cost_s`` seconds of a core."""
    return min(float(STEP_S), max(INTERVAL_S, cost_s / SHARE))
