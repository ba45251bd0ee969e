"""What is noted is there after a power cut, under its name; what was removed does not come back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kvorum.core import durable, notes


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Each sync: what was synced, and the names that its directory had then."""
    found: list[tuple[str, list[str]]] = []
    real: Callable[[int], None] = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.append((path.name, names(path if path.is_dir() else path.parent)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_content_is_synced_before_it_has_the_name_and_the_name_after(
    tmp_path: Path, synced: list[tuple[str, list[str]]]
) -> None:
    folder = tmp_path / "notes"
    durable.write(folder / "a.json", b"one", 0o640)
    assert synced == [
        (tmp_path.name, ["notes"]),
        ("a.json.new", ["a.json.new"]),
        ("notes", ["a.json"]),
    ]
    assert (folder / "a.json").read_bytes() == b"one"
    assert (folder / "a.json").stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_a_removal_lasts_and_what_is_gone_is_fine(
    tmp_path: Path, synced: list[tuple[str, list[str]]]
) -> None:
    durable.write(tmp_path / "a", b"")
    synced.clear()
    durable.remove(tmp_path / "a")
    assert synced == [(tmp_path.name, [])]
    durable.remove(tmp_path / "a")
    durable.remove(tmp_path / "nowhere" / "a")


def test_a_write_that_fails_leaves_what_was_there_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write(tmp_path / "a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_notes_are_read_and_what_is_none_is_told_by_its_name(tmp_path: Path) -> None:
    for name, text in (("a.json", '["one"]'), ("b.json", "{"), ("c.json", '["c"]'), ("d.json.new", "[")):
        (tmp_path / name).write_text(text)
    (good, value), (bad, told) = notes.read(tmp_path, list[str], {tmp_path / "c.json"})
    assert (good.name, value, bad.name) == ("a.json", ["one"], "b.json")
    assert isinstance(told, str) and f"'{tmp_path}/b.json' can't be read" in told
    notes.forget_drafts(tmp_path)
    assert names(tmp_path) == ["a.json", "b.json", "c.json"]
    assert notes.read(tmp_path / "nowhere", list[str]) == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
