"""The store's database: tree, history, newest view, in one SQLite file, written by a thread of its own.

Promise: after ``synced(serial)`` everything up to that record survives a power cut (WAL, synchronous=FULL).
Records that come while a commit runs share the next one. A damaged database is set aside, never half-used.
The layout grows by adding tables and keys; their meaning never changes.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.store.face import File
from kvorum.store.protocol import Origin, Record, Stored, View
from kvorum.store.tree import Tree

log = logging.getLogger(__name__)
_T = TypeVar("_T")

HISTORY_DAYS = 7
HISTORY_ROWS = 20_000
_PRUNE_EVERY = 1000
_BATCH = 512
_RETRY_SECONDS = 1.0
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""What an admin can end without a restart: no room, another program's lock. A failed fsync is none of them:
what the kernel has dropped then can't be known."""
_FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, version INTEGER, mtime REAL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS directory (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origin (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
  id INTEGER PRIMARY KEY, time REAL, version INTEGER, path TEXT, who TEXT, node TEXT, before BLOB);
CREATE INDEX IF NOT EXISTS history_path ON history (path, id);
"""


class DatabaseError(KvorumError):
    """The database can't be used; the sentence names the file."""


def load(path: Path) -> Stored:
    """Read the whole database, creating it when missing.

    A damaged one is renamed to ``NAME.damaged-TIME`` with a sentence in the log, and an empty one begun: in a
    cluster it is filled from the others. Raises ``DatabaseError`` when the file can't be opened at all or
    was written by a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _read(path)
    except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise DatabaseError(f"the store's database '{path}' can't be opened: {error}") from error
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        log.error("the store's database '%s' is damaged (%s); it is kept as '%s'", path, error, aside.name)
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            rest = path.with_name(path.name + suffix)
            if rest.exists():
                rest.rename(aside.with_name(aside.name + suffix))
        return _read(path)


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-1024")
    connection.execute("PRAGMA journal_size_limit=4194304")
    return connection


def _read(path: Path) -> Stored:
    connection = _connect(path)
    try:
        check = connection.execute("PRAGMA quick_check(1)").fetchone()
        if check != ("ok",):
            raise sqlite3.DatabaseError(str(check[0]))
        connection.executescript(_SCHEMA)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        if int(meta.get("format", _FORMAT)) > _FORMAT:
            raise DatabaseError(
                f"the store's database '{path}' was written by a newer Kvorum; upgrade this node"
            )
        tree = Tree()
        directories = [row[0] for row in connection.execute("SELECT path FROM directory")]
        files = (File(*row) for row in connection.execute("SELECT path, data, version, mtime FROM file"))
        tree.patch((), directories, files)
        origins = {
            name: msgspec.msgpack.decode(value, type=Origin)
            for name, value in connection.execute("SELECT name, value FROM origin")
        }
        view = msgspec.msgpack.decode(meta["view"], type=View) if "view" in meta else View()
        version, last_view = int(meta.get("version", 0)), int(meta.get("last_view", 0))
        return Stored(tree, version, last_view, view, origins)
    finally:
        connection.close()


class Disk:
    """The writing side. ``write`` never blocks; ``synced`` is called in the event loop."""

    def __init__(
        self,
        path: Path,
        synced: Callable[[int], None],
        failed: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        """``failed`` gets a sentence when the disk is broken: nothing is written or promised from then on.

        ``refused`` gets one when it has no room, or another program locks the file; it is tried again once
        a second, and ``synced`` says when it went on.
        """
        self._path = path
        self._synced = synced
        self._failed = failed
        self._refused = refused
        self._closing = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._written = 0
        self._thread = threading.Thread(target=self._run, name="store-disk", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Queue a record; ``synced`` follows."""
        self._queue.put(record)

    async def close(self, timeout: float = 10.0) -> None:
        """Write what is queued and close the file; waits at most ``timeout`` seconds."""
        self._queue.put(None)
        self._closing.set()
        await asyncio.to_thread(self._thread.join, timeout)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            connection = _connect(self._path)
            self._prune(connection)
            while batch := self._batch():
                if not self._persist(connection, batch):
                    return
                self._tell(self._synced, batch[-1].serial)
        except sqlite3.Error as error:
            self._tell(self._failed, f"the store's database '{self._path}' can't be written: {error}")
        finally:
            if connection is not None:
                connection.close()

    def _persist(self, connection: sqlite3.Connection, batch: list[Record]) -> bool:
        """Commit until it succeeds; ``False`` when the store is closed before."""
        told = False
        while True:
            try:
                self._commit(connection, batch)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _PASSING:
                    raise
                if not told:
                    self._tell(self._refused, self._sentence(error))
                told = True
                if self._closing.wait(_RETRY_SECONDS):
                    return False
            else:
                return True

    def _sentence(self, error: sqlite3.OperationalError) -> str:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            return f"there is no room for the store's database '{self._path}': its disk is full"
        return f"another program keeps the store's database '{self._path}' locked"

    def _batch(self) -> list[Record]:
        """Wait for a record, then take all that are there; empty at the end."""
        record = self._queue.get()
        batch: list[Record] = []
        while record is not None:
            batch.append(record)
            if len(batch) >= _BATCH:
                return batch
            try:
                record = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)
        return batch

    def _tell(self, call: Callable[[_T], None], value: _T) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            log.debug("the event loop is closed already")

    def _commit(self, connection: sqlite3.Connection, batch: list[Record]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for record in batch:
                self._put(connection, record)
            last = batch[-1]
            meta: list[tuple[str, object]] = [
                ("format", _FORMAT),
                ("version", last.version),
                ("last_view", last.last_view),
            ]
            views = [record.view for record in batch if record.view is not None]
            if views:
                meta.append(("view", msgspec.msgpack.encode(views[-1])))
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        before, self._written = self._written, self._written + len(batch)
        if before // _PRUNE_EVERY != self._written // _PRUNE_EVERY:
            self._prune(connection)

    def _put(self, connection: sqlite3.Connection, record: Record) -> None:
        for change, before in zip(record.changes, record.before, strict=True):
            connection.execute("DELETE FROM directory WHERE path = ?", (change.path,))
            if change.file is None:
                connection.execute("DELETE FROM file WHERE path = ?", (change.path,))
                if change.directory:
                    connection.execute("INSERT INTO directory VALUES (?)", (change.path,))
            else:
                file = change.file
                connection.execute(
                    "INSERT OR REPLACE INTO file (path, version, mtime, data) VALUES (?, ?, ?, ?)",
                    (file.path, file.version, file.mtime, file.data),
                )
            if change.file is not None or before is not None:
                connection.execute(
                    "INSERT INTO history (time, version, path, who, node, before) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        record.time,
                        record.version,
                        change.path,
                        record.who,
                        record.node,
                        before.data if before else None,
                    ),
                )
        if record.origins is not None:
            connection.execute("DELETE FROM origin")
        origins = list((record.origins or {}).items()) + ([record.origin] if record.origin else [])
        connection.executemany(
            "INSERT OR REPLACE INTO origin VALUES (?, ?)",
            [(name, msgspec.msgpack.encode(value)) for name, value in origins],
        )

    def _prune(self, connection: sqlite3.Connection) -> None:
        old = time.time() - HISTORY_DAYS * 86400
        connection.execute(
            "DELETE FROM history WHERE time < ? OR id <= (SELECT max(id) FROM history) - ?",
            (old, HISTORY_ROWS),
        )
