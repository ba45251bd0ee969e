"""Forgets of the history what is old, and of each file and of all what is too much.

Each commit of the database asks for it, so it looks only at what may go: the counts are kept in memory, the
oldest rows are those with the lowest ids, and of a file's rows too many only where some were added.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter

HISTORY_DAYS = 7
HISTORY_OF_A_FILE = 100
"""Changes of one file that are kept at least, so that a chatty one does not push out the others'."""
_MORE_OF_A_FILE = 25
"""As many may be added before they are looked at."""
HISTORY_ROWS = 20_000
HISTORY_BYTES = 64 << 20
_AT_ONCE = 256
_OLD_EVERY = 3600.0
"""How often, in seconds, it is looked for what is too old."""


class Pruning:
    """The limits of one database's history; every method may raise ``sqlite3.Error``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._added: Counter[str] = Counter()
        """Path to the rows that were added since it was looked at."""
        self._grown: set[str] = set()
        """Paths that so many were added to that they are to be looked at."""
        self._looked_at = 0.0
        self._rows, self._bytes = 0, 0
        connection.execute(
            """DELETE FROM history WHERE id IN (SELECT id FROM (
              SELECT id, row_number() OVER (PARTITION BY path ORDER BY id DESC) AS place FROM history)
              WHERE place > ?)""",
            (HISTORY_OF_A_FILE,),
        )
        self.count()
        self.prune()

    def count(self) -> None:
        """Count anew what is there: at the start, and after a commit that was taken back."""
        counted = "SELECT count(*), coalesce(sum(length(before)), 0) FROM history"
        self._rows, self._bytes = self._connection.execute(counted).fetchone()

    def added(self, path: str, before: bytes | None) -> None:
        """A row was added: a change of ``path``, which held ``before``."""
        self._added[path] += 1
        if self._added[path] >= _MORE_OF_A_FILE:
            self._grown.add(path)
        self._rows += 1
        self._bytes += len(before) if before is not None else 0

    def prune(self) -> None:
        """Delete what is too much or too old."""
        while self._grown:
            path = self._grown.pop()
            del self._added[path]
            self._prune_file(path)
        if len(self._added) > HISTORY_ROWS:
            self._added.clear()
        now = time.time()
        too_old = now - HISTORY_DAYS * 86400 if now >= self._looked_at + _OLD_EVERY else 0.0
        while self._rows > HISTORY_ROWS or self._bytes > HISTORY_BYTES or too_old:
            if not self._prune_oldest(too_old):
                break
        if too_old:
            self._looked_at = now

    def _prune_file(self, path: str) -> None:
        last = "SELECT id FROM history WHERE path = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        row = self._connection.execute(last, (path, HISTORY_OF_A_FILE)).fetchone()
        if row is None:
            return
        which = (path, row[0])
        counted = "SELECT count(*), coalesce(sum(length(before)), 0) FROM history WHERE path = ? AND id <= ?"
        rows, size = self._connection.execute(counted, which).fetchone()
        self._connection.execute("DELETE FROM history WHERE path = ? AND id <= ?", which)
        self._rows, self._bytes = self._rows - rows, self._bytes - size

    def _prune_oldest(self, too_old: float) -> bool:
        """Delete of the oldest rows what is too much or too old; ``False`` when nothing more is."""
        oldest = "SELECT id, time, coalesce(length(before), 0) FROM history ORDER BY id LIMIT ?"
        rows, size, last = self._rows, self._bytes, None
        for number, when, length in self._connection.execute(oldest, (_AT_ONCE,)).fetchall():
            if rows <= HISTORY_ROWS and size <= HISTORY_BYTES and when >= too_old:
                break
            rows, size, last = rows - 1, size - length, number
        if last is None:
            return False
        self._connection.execute("DELETE FROM history WHERE id <= ?", (last,))
        self._rows, self._bytes = rows, size
        return True
