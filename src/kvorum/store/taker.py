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

from kvorum.store.database import Database, Entry, journal_path
from kvorum.store.journal import allocate
from kvorum.store.protocol import Record

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""How long the database waits for more records."""
BATCH = 256
"""It waits no longer when so many are there."""
RETRY_SECONDS = 1.0
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""What an admin can end without a restart: no room, another program's lock. A failed fsync is none of them:
what the kernel has dropped then can't be known."""

Settled: TypeAlias = concurrent.futures.Future[None]


class _Close:
    """Asks the thread to end."""


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
        self._queue: queue.SimpleQueue[tuple[Entry, bool] | Settled | _Close] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-database", daemon=True)
        self._thread.start()

    def put(self, sequence: int, record: Record, *, at_once: bool) -> None:
        """Queue a record; ``at_once`` somebody waits for it."""
        self._queue.put(((sequence, record), at_once))

    def settle(self) -> Settled:
        """Done when the database has all that was queued before."""
        settled = Settled()
        self._queue.put(settled)
        return settled

    def close(self) -> None:
        """Take over what is queued, then end; what is refused now stays in the journal."""
        self._closing.set()
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
        """Gather records and take them over; ``False`` at the end."""
        entries: list[Entry] = []
        settled: list[Settled] = []
        now = closing = False
        while not now and len(entries) < BATCH:
            try:
                item = self._queue.get(timeout=PAUSE_SECONDS if entries else None)
            except queue.Empty:
                break
            if isinstance(item, _Close):
                now = closing = True
            elif isinstance(item, concurrent.futures.Future):
                settled.append(item)
                now = True
            else:
                entries.append(item[0])
                # Others that somebody waits for share the transaction.
                now = item[1] and self._queue.empty()
        done = not entries or self._commit(entries)
        for future in settled:
            future.set_result(None)
        return done and not closing

    def _commit(self, entries: list[Entry]) -> bool:
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
