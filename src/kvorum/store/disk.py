"""The store's disk: records go to the journal at once and to the database soon after.

Promise: after ``synced(serial)`` everything up to that record survives a power cut. Records that come while
the journal is synced share the next sync. A thread takes them over into SQLite once no more came for a
moment, many in one transaction; an idle store writes nothing. What does not fit into the journal, and
everything while there is none (a disk without room), goes to SQLite alone and is promised when it has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from kvorum.store import database
from kvorum.store.flush import Flusher, flusher
from kvorum.store.journal import Journal
from kvorum.store.protocol import Record
from kvorum.store.taker import Taker

log = logging.getLogger(__name__)


class Disk:
    """The writing side. ``write`` never blocks; the callbacks are called in the event loop."""

    def __init__(
        self,
        path: Path,
        synced: Callable[[int], None],
        failed: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        """Go on with what ``database.load`` has read from ``path``.

        ``failed`` gets a sentence when the disk is broken: nothing is written or promised from then on.
        ``refused`` gets one when it has no room, or another program locks the file; it is tried again once
        a second, and ``synced`` says when it went on.
        """
        self._path = path
        self._tell_synced, self._tell_failed, self._tell_refused = synced, failed, refused
        self._loop = asyncio.get_running_loop()
        self._taker = Taker(path, self._taken, self._failed, self._refused)
        self._journal: Journal | None = None
        self._flusher: Flusher = flusher()
        self._flushing = False
        self._sequence = self._taker.sequence
        self._appended = self._flushed = (self._sequence, 0)
        """(sequence, serial) of the last record in the journal, and of the last that is synced there."""
        self._direct = max(1, self._sequence)
        """The sequence of the last record only the database gets; 0 when it has it. At first that is
        what the last life left in the journal."""
        self._promised = 0
        self._refusing = False
        self._broken = False

    def write(self, record: Record) -> None:
        """Put a record behind all others; once ``flush`` is called, ``synced`` follows."""
        self._sequence += 1
        here = (self._sequence, record.serial)
        if self._journal is not None and not self._direct and self._append(self._journal, record):
            self._appended = here
            self._taker.put(self._sequence, record, at_once=self._journal.crowded)
        else:
            self._direct = self._sequence
            self._taker.put(self._sequence, record, at_once=True)

    def flush(self) -> None:
        """Sync what was written, all of it at once, as soon as no other sync is under way."""
        if self._journal is not None and not self._flushing and self._flushed[0] < self._appended[0]:
            self._flushing, upto = True, self._appended
            self._flusher.start(self._journal.descriptor, lambda error: self._ended(upto, error))

    async def settle(self) -> None:
        """Return once the database has every record written so far: before its history is read."""
        await asyncio.wait_for(asyncio.wrap_future(self._taker.settle()), 10)

    async def close(self, timeout: float = 10.0) -> None:
        """Write what there is and close the files; waits at most ``timeout`` seconds."""
        self._taker.close()
        await asyncio.to_thread(self._taker.join, timeout)
        self._flusher.close()
        if self._journal is not None and not self._flushing:
            self._journal.close()

    # The journal

    def _open_journal(self) -> Journal | None:
        try:
            return Journal(database.journal_path(self._path), self._taker.life)
        except OSError as error:
            log.debug("no journal beside '%s' now: %s", self._path, error)
            return None

    def _append(self, journal: Journal, record: Record) -> bool:
        try:
            return journal.append(self._sequence, self._flushed[0], database.encode(record))
        except OSError as error:
            self._failed(f"the store's journal beside '{self._path}' can't be written: {error}")
            return False

    def _ended(self, upto: tuple[int, int], error: OSError | None) -> None:
        self._flushing = False
        if error is not None:
            self._failed(f"the store's journal beside '{self._path}' can't be synced: {error}")
            return
        self._flushed = max(self._flushed, upto)
        self.flush()
        self._promise(upto[1])

    # The database's thread tells

    def _taken(self, sequence: int, serial: int) -> None:
        self._refusing = False
        if self._journal is None:
            self._journal = self._open_journal()
        if self._journal is not None:
            self._journal.applied(sequence)
        if self._direct <= max(1, sequence):
            self._direct = 0
        self._flushed = max(self._flushed, (sequence, serial))
        self._promise(serial)

    def _refused(self, sentence: str) -> None:
        self._refusing = True
        self._tell_refused(sentence)

    def _failed(self, sentence: str) -> None:
        if not self._broken:
            self._broken = True
            self._tell_failed(sentence)

    def _promise(self, serial: int) -> None:
        """Say what is synced; nothing while the database takes nothing, or the disk is broken."""
        self._promised = max(self._promised, serial)
        if not self._refusing and not self._broken:
            self._tell_synced(self._promised)
