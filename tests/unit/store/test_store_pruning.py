"""What the history forgets."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.store import Change, File
from kvorum.store.database import Database, load
from kvorum.store.protocol import Record
from kvorum.store.pruning import HISTORY_OF_A_FILE


class Past:
    """A database, and what its history holds."""

    def __init__(self, path: Path) -> None:
        load(path)
        self.database = Database(path)
        self.reading = sqlite3.connect(path)
        self.number = 0

    def change(self, path: str, count: int = 1, *, days_ago: float = 0.0, before: bytes = b"x") -> None:
        entries = []
        for _ in range(count):
            self.number += 1
            now = Change(self.number, path, File(path, b"now", self.number, 0.0))
            was = File(path, before, 1, 0.0)
            when = time.time() - days_ago * 86400
            entries.append(
                (self.number, Record(self.number, self.number, 1, None, (now,), (was,), time=when))
            )
        self.database.commit(entries)

    def kept(self) -> dict[str, int]:
        counted = self.reading.execute("SELECT path, count(*) FROM history GROUP BY path").fetchall()
        pruning = self.database._pruning
        total = "SELECT count(*), coalesce(sum(length(before)), 0) FROM history"
        assert (pruning._rows, pruning._bytes) == self.reading.execute(total).fetchone(), "the books"
        return dict(counted)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    one = Past(tmp_path / "config.db")
    yield one
    one.reading.close()
    one.database.close()


def test_a_chatty_file_does_not_push_out_the_history_of_others(past: Past) -> None:
    past.change("quiet")
    past.change("chatty", 250)
    assert past.kept() == {"chatty": HISTORY_OF_A_FILE, "quiet": 1}
    for _ in range(24):
        past.change("chatty")
    assert past.kept() == {"chatty": HISTORY_OF_A_FILE + 24, "quiet": 1}, "they are not looked at yet"
    past.change("chatty")
    assert past.kept() == {"chatty": HISTORY_OF_A_FILE, "quiet": 1}


def test_what_is_too_much_at_the_start_goes_then(tmp_path: Path, past: Past) -> None:
    past.change("chatty", 100)
    for _ in range(24):
        past.change("chatty")
    again = Database(tmp_path / "config.db")
    assert past.reading.execute("SELECT count(*) FROM history").fetchone() == (HISTORY_OF_A_FILE,)
    again.close()
    past.database._pruning.count()


def test_the_oldest_changes_go_where_they_are_too_many(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.store.pruning.HISTORY_ROWS", 600)
    for number in range(40):
        past.change(f"f{number}", 20)
    assert past.kept() == {f"f{number}": 20 for number in range(10, 40)}


def test_the_oldest_changes_go_where_they_are_too_large(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.store.pruning.HISTORY_BYTES", 10_000)
    past.change("small", 5, before=b"")
    past.change("large", before=bytes(9_990))
    assert past.kept() == {"small": 5, "large": 1}
    past.change("other", before=bytes(11))
    assert past.kept() == {"other": 1}


def test_changes_of_more_than_seven_days_ago_go(past: Past) -> None:
    past.change("old", 300, days_ago=7.1)
    past.change("new", days_ago=6.9)
    past.database._pruning._looked_at = 0.0
    past.change("now")
    assert past.kept() == {"new": 1, "now": 1}


def test_a_commit_that_was_taken_back_counts_for_nothing(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    past.change("a", 3)

    def full(_: object, __: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "_note", full)
        with pytest.raises(sqlite3.OperationalError):
            past.change("a", 7)
    assert past.kept() == {"a": 3}
