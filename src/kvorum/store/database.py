"""The store's database: tree, history, newest view, in one SQLite file, with a journal before it.

A record counts from the moment the journal has it; the database takes records over later, many at once, and
says up to which sequence. ``load`` puts both together. A damaged database is set aside, never half-used.
The layout grows by adding tables and keys; their meaning never changes.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from kvorum.core.errors import KvorumError
from kvorum.store import journal
from kvorum.store.face import File
from kvorum.store.protocol import Origin, Record, Stored, View
from kvorum.store.pruning import Pruning
from kvorum.store.tree import Tree

log = logging.getLogger(__name__)

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


Entry: TypeAlias = tuple[int, Record]
"""A record with its sequence."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as the journal keeps it: without what was before, which the database has."""
    return _encoder.encode(replace(record, before=()) if record.before else record)


def journal_path(path: Path) -> Path:
    """Where the journal of the database ``path`` lies."""
    return path.with_name(f"{path.name}-log")


def load(path: Path) -> Stored:
    """Read everything, creating the database when missing.

    A damaged one is renamed to ``NAME.damaged-TIME`` with a sentence in the log, and an empty one begun: in a
    cluster it is filled from the others. Raises ``DatabaseError`` when the file can't be opened at all or
    was written by a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _read(path)
    except (sqlite3.DatabaseError, msgspec.MsgspecError, journal.DamagedJournal) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise DatabaseError(f"the store's database '{path}' can't be opened: {error}") from error
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        log.error("the store's database '%s' is damaged (%s); it is kept as '%s'", path, error, aside.name)
        path.rename(aside)
        for rest in (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-log")):
            if rest.exists():
                rest.rename(aside.with_name(aside.name + rest.name.removeprefix(path.name)))
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
    with contextlib.closing(_connect(path)) as connection:
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
        stored = Stored(tree, version, last_view, view, origins)
        for _, record in _waiting(path, meta):
            take(stored, record)
        return stored


def _waiting(path: Path, meta: Mapping[str, object]) -> list[Entry]:
    life, sequence = (int(str(meta.get(key, 0))) for key in ("life", "sequence"))
    return [
        (number, _decoder.decode(data)) for number, data in journal.read(journal_path(path), life, sequence)
    ]


def _with_before(connection: sqlite3.Connection, entries: list[Entry]) -> list[Entry]:
    """Records of the journal with what was at each path before, from the database and from each other."""
    known: dict[str, File | None] = {}

    def read(path: str) -> File | None:
        if path not in known:
            found = "SELECT path, data, version, mtime FROM file WHERE path = ?"
            row = connection.execute(found, (path,)).fetchone()
            known[path] = File(*row) if row else None
        return known[path]

    whole: list[Entry] = []
    for sequence, record in entries:
        before = tuple(read(change.path) for change in record.changes)
        known |= {change.path: change.file for change in record.changes}
        whole.append((sequence, replace(record, before=before)))
    return whole


def take(stored: Stored, record: Record) -> None:
    """Make ``stored`` what it is after ``record``."""
    stored.tree.patch(
        [change.path for change in record.changes if change.file is None and not change.directory],
        [change.path for change in record.changes if change.directory],
        [change.file for change in record.changes if change.file is not None],
    )
    stored.version, stored.last_view = record.version, record.last_view
    stored.view = record.view or stored.view
    if record.origins is not None:
        stored.origins = dict(record.origins)
    if record.origin is not None:
        stored.origins[record.origin[0]] = record.origin[1]


class Database:
    """The writing side, in a thread of the caller's; every method may raise ``sqlite3.Error``.

    After ``commit`` everything up to its last entry survives a power cut (WAL, synchronous=FULL).
    """

    def __init__(self, path: Path) -> None:
        """Go on with what ``load`` has read; raises as it does."""
        self._connection = _connect(path)
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        self.life = int(meta.get("life", 0)) + 1
        """The journal's life that begins with the first commit."""
        self.waiting = _with_before(self._connection, _waiting(path, meta))
        """What the journal of the last life has and this database has not."""
        self.sequence = self.waiting[-1][0] if self.waiting else int(meta.get("sequence", 0))
        """The sequence of the last record that counts."""
        self._pruning = Pruning(self._connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def commit(self, entries: Sequence[Entry]) -> None:
        """Take over records, in order, all or none; none of them too, to begin this life."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._put([record for _, record in entries])
            self._note(entries)
            self._pruning.prune()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._pruning.count()
            raise

    def _note(self, entries: Sequence[Entry]) -> None:
        meta: dict[str, object] = {"format": _FORMAT, "life": self.life}
        if entries:
            sequence, last = entries[-1]
            meta |= {"version": last.version, "last_view": last.last_view, "sequence": sequence}
        for _, record in entries:
            if record.view is not None:
                meta["view"] = msgspec.msgpack.encode(record.view)
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(meta.items()))

    def _put(self, records: Sequence[Record]) -> None:
        """What is at each path in the end, and how it came to that."""
        connection = self._connection
        last = {change.path: change for record in records for change in record.changes}
        files = [change.file for change in last.values() if change.file is not None]
        connection.executemany("DELETE FROM directory WHERE path = ?", [(path,) for path in last])
        gone = [(path,) for path, change in last.items() if change.file is None]
        connection.executemany("DELETE FROM file WHERE path = ?", gone)
        made = [(path,) for path, change in last.items() if change.directory]
        connection.executemany("INSERT INTO directory VALUES (?)", made)
        connection.executemany(
            "INSERT OR REPLACE INTO file (path, version, mtime, data) VALUES (?, ?, ?, ?)",
            [(file.path, file.version, file.mtime, file.data) for file in files],
        )
        past = [
            (one.time, one.version, change.path, one.who, one.node, before.data if before else None)
            for one in records
            for change, before in zip(one.changes, one.before, strict=True)
            if change.file is not None or before is not None
        ]
        connection.executemany(
            "INSERT INTO history (time, version, path, who, node, before) VALUES (?, ?, ?, ?, ?, ?)", past
        )
        for _, _, path, _, _, before in past:
            self._pruning.added(path, before)
        origins: dict[str, Origin] = {}
        for record in records:
            if record.origins is not None:
                connection.execute("DELETE FROM origin")
                origins = dict(record.origins)
            if record.origin is not None:
                origins[record.origin[0]] = record.origin[1]
        connection.executemany(
            "INSERT OR REPLACE INTO origin VALUES (?, ?)",
            [(name, msgspec.msgpack.encode(value)) for name, value in origins.items()],
        )
