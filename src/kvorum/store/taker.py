"""The thread that takes records over into the database, many in one transaction."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from kvorum.store import heap
from kvorum.store.database import Database, Entry, journal_path
from kvorum.store.journal import allocate
from kvorum.store.protocol import Record

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""How long records wait for more: to wake the thread for one costs more than the record."""
BATCH = 256
"""They wait no longer when so many are there."""
REST_SECONDS = 2.0
"""So long after records were handed over memory is given back: large ones have left pages free."""
RETRY_SECONDS = 1.0
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""What an admin can end without a restart: no room, another program's lock. A failed fsync is none of them:
what the kernel has dropped then can't be known."""

Settled: TypeAlias = concurrent.futures.Future[None]
Batch: TypeAlias = list[Entry]


class _Close:
    """Asks the thread to end."""


class _Rest:
    """Tells the thread that nothing is to be done."""


class Taker:
    """Queues records for the database. The callbacks are called in the event loop."""

    def __init__(
        self,
        path: Path,
        taken: Callable[[int, int], None],
        failed: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        """``taken`` gets the sequence and serial of the last record that the database has on disk.

        It is called at least once at the start, when what the last life's journal held is taken over.
        ``failed`` gets a sentence at the end of all; ``refused`` one while nothing can be taken for now.
        """
        self._path = path
        self._taken, self._failed, self._refused = taken, failed, refused
        self._loop = asyncio.get_running_loop()
        self._database = Database(path)
        self._allocated = False
        self.life, self.sequence = self._database.life, self._database.sequence
        self._gathered: Batch = []
        self._gathered_at = 0.0
        """When the last one came, by the loop's clock."""
        self._waiting = False
        self._rest: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[Batch | Settled | _Close | _Rest] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-database", daemon=True)
        self._thread.start()

    def put(self, sequence: int, record: Record, *, at_once: bool) -> None:
        """Queue a record; ``at_once`` somebody waits for it."""
        self._gathered.append((sequence, record))
        if at_once or len(self._gathered) >= BATCH:
            self._hand_over()
            return
        self._gathered_at = self._loop.time()
        if not self._waiting:
            self._waiting = True
            self._loop.call_later(PAUSE_SECONDS, self._paused)

    def _paused(self) -> None:
        still = self._gathered_at + PAUSE_SECONDS - self._loop.time()
        self._waiting = bool(self._gathered) and still > 0
        if self._waiting:
            self._loop.call_later(still, self._paused)
        else:
            self._hand_over()

    def _rests(self) -> None:
        self._rest = None
        if not self._gathered:  # else what hands it over sees to it
            self._queue.put(_Rest())

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []
            if self._rest is None:
                self._rest = self._loop.call_later(REST_SECONDS, self._rests)

    def settle(self) -> Settled:
        """Done when the database has all that was queued before."""
        settled = Settled()
        self._hand_over()
        self._queue.put(settled)
        return settled

    def close(self) -> None:
        """Take over what is queued, then end; what is refused now stays in the journal."""
        self._closing.set()
        self._hand_over()
        if self._rest is not None:
            self._rest.cancel()
        self._queue.put(_Close())

    def join(self, timeout: float) -> None:
        """Wait for the end, at most so many seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            if not self._commit(self._database.waiting):
                return
            while self._batch():
                pass
        except sqlite3.Error as error:
            self._call(self._failed, f"the store's database '{self._path}' can't be written: {error}")
        finally:
            self._database.close()

    def _batch(self) -> bool:
        """Take over what is queued; ``False`` at the end."""
        entries: Batch = []
        settled: list[Settled] = []
        closing = False
        while not closing and (not entries or not self._queue.empty()) and len(entries) < BATCH:
            item = self._queue.get()
            if isinstance(item, _Close):
                closing = True
            elif isinstance(item, concurrent.futures.Future):
                settled.append(item)
                break
            elif isinstance(item, _Rest):
                heap.give_back()
            else:
                entries += item
        done = not entries or self._commit(entries)
        for future in settled:
            future.set_result(None)
        return done and not closing

    def _commit(self, entries: Batch) -> bool:
        """Commit until it succeeds; ``False`` when the store is closed before."""
        told = False
        while True:
            try:
                self._database.commit(entries)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _PASSING:
                    raise
                if not told:
                    self._call(self._refused, self._sentence(error))
                told = True
                if self._closing.wait(RETRY_SECONDS):
                    return False
            else:
                self._allocate()
                sequence, serial = (entries[-1][0], entries[-1][1].serial) if entries else (self.sequence, 0)
                self._call(self._taken, sequence, serial)
                return True

    def _allocate(self) -> None:
        """See to it that the journal has its room; without it the database gets all."""
        if not self._allocated:
            try:
                allocate(journal_path(self._path))
                self._allocated = True
            except OSError as error:
                log.warning("no room for a journal beside '%s': %s", self._path, error)

    def _sentence(self, error: sqlite3.OperationalError) -> str:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            return f"there is no room for the store's database '{self._path}': its disk is full"
        return f"another program keeps the store's database '{self._path}' locked"

    def _call(self, callback: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *values)
        except RuntimeError:
            log.debug("the event loop is closed already")
