"""What the journal gives back after a crash, whatever the crash left of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.store import journal
from kvorum.store.journal import BLOCK_BYTES, HALF_BYTES, DamagedJournal, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.db-log"
    journal.allocate(path)
    return path


def spoil(path: Path, block: int) -> None:
    with path.open("r+b") as file:
        file.seek(block * BLOCK_BYTES + 33)
        file.write(b"\xff" * 8)


def test_a_missing_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "none", 1, 0) == []


def test_a_journal_without_its_full_size_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "short", 1)


def test_records_come_back_in_order_from_where_the_database_ends(path: Path) -> None:
    written = Journal(path, 3)
    for sequence in range(1, 6):
        assert written.append(sequence, sequence - 1, b"x" * 3000 * sequence)
    written.close()
    assert [number for number, _ in journal.read(path, 3, 0)] == [1, 2, 3, 4, 5]
    assert journal.read(path, 3, 3) == [(4, b"x" * 12000), (5, b"x" * 15000)]
    assert journal.read(path, 3, 5) == []


def test_what_an_earlier_life_left_behind_is_not_read(path: Path) -> None:
    earlier = Journal(path, 1)
    for sequence in (1, 2, 3):
        earlier.append(sequence, 0, b"earlier")
    earlier.close()
    later = Journal(path, 2)
    later.append(2, 1, b"later")
    later.close()
    assert journal.read(path, 2, 1) == [(2, b"later")]


def test_a_torn_end_that_nobody_was_promised_is_dropped(path: Path) -> None:
    written = Journal(path, 1)
    for sequence in (1, 2, 3):
        written.append(sequence, 1, b"record")
    written.close()
    spoil(path, 1)  # 2 was torn, and 3 was whole by chance
    assert journal.read(path, 1, 0) == [(1, b"record")]


def test_a_record_that_was_promised_and_is_spoilt_is_damage(path: Path) -> None:
    written = Journal(path, 1)
    for sequence in (1, 2, 3):
        written.append(sequence, sequence - 1, b"record")
    written.close()
    spoil(path, 1)
    with pytest.raises(DamagedJournal, match="record 2 of"):
        journal.read(path, 1, 0)


def test_both_halves_are_used_in_turn_and_never_before_the_database_has_them(path: Path) -> None:
    written = Journal(path, 1)
    large = b"x" * (HALF_BYTES // 2)
    assert written.append(1, 0, large) and not written.crowded
    assert written.append(2, 1, large) and written.crowded
    assert not written.append(3, 2, large)
    written.applied(1)
    assert written.append(3, 2, large)
    written.close()
    assert [number for number, _ in journal.read(path, 1, 1)] == [2, 3]


def test_a_record_larger_than_a_half_is_not_taken(path: Path) -> None:
    written = Journal(path, 1)
    assert not written.append(1, 0, bytes(HALF_BYTES))
    written.close()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 700_000), min_size=1, max_size=40),
    lag=st.integers(0, 5),
)
def test_whatever_the_sizes_nothing_that_the_database_lacks_is_overwritten(
    sizes: list[int], lag: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "log"
    journal.allocate(path)
    written = Journal(path, 1)
    applied = 0
    for sequence, size in enumerate(sizes, 1):
        data = bytes([size % 251]) * size
        if not written.append(sequence, sequence - 1, data):
            applied = sequence - 1  # the database takes all it lacks
            written.applied(applied)
            assert written.append(sequence, sequence - 1, data)
        if sequence - applied > lag:
            applied = sequence - lag
            written.applied(applied)
        kept = journal.read(path, 1, applied)
        assert [number for number, _ in kept] == list(range(applied + 1, sequence + 1))
        assert not kept or kept[-1][1] == data
    written.close()


def test_a_journal_that_finds_no_room_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    write = os.pwrite

    def full(descriptor: int, data: bytes, place: int) -> int:
        if place:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2], place)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        journal.allocate(path)
    assert path.stat().st_size == 0
