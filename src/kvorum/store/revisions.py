"""Reads the history of a file from the database, beside the thread that writes it (WAL lets both)."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.store.stream import Revision

_ONE = """SELECT id, time, version, who, node, length(before), before FROM history
WHERE path = ? AND id = ?"""
_LIST = """SELECT id, time, version, who, node, length(before) FROM history
WHERE path = ? ORDER BY id DESC LIMIT ?"""
MOST = 1000


def read_history(database: Path, path: str, number: int = 0, most: int = 100) -> tuple[Revision, ...]:
    """The changes of ``path``, newest first, at most ``most``; with ``number`` that one, with its content.

    Blocks for the disk: not for the event loop. Raises ``KvorumError`` when it can't be read.
    """
    try:
        uri = f"{database.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            wanted = (_ONE, number) if number else (_LIST, max(1, min(most, MOST)))
            rows = connection.execute(wanted[0], (path, wanted[1]))
            return tuple(Revision(*row) for row in rows)
    except sqlite3.Error as error:
        raise KvorumError(f"the history of '{path}' can't be read from '{database}': {error}") from error
