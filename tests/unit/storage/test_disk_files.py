"""Disks' files and folders: what a daemon that is killed in the middle leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.core import durable
from kvorum.storage import disk_files


class Killed(BaseException):
    """The daemon is killed."""


@pytest.fixture
def killed_at_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync_folder(folder: Path) -> None:
        raise Killed

    monkeypatch.setattr(durable, "sync_folder", sync_folder)


@pytest.mark.usefixtures("killed_at_a_sync")
def test_a_removal_that_is_broken_off_leaves_no_empty_folder(tmp_path: Path) -> None:
    """Seen once in CI: the folder went after the sync, which takes milliseconds."""
    disk = tmp_path / "images" / "100" / "vm-100-disk-0.raw"
    disk.parent.mkdir(parents=True)
    disk.touch()
    with pytest.raises(Killed):
        disk_files.remove(disk, True)
    assert not disk.parent.exists()


def test_a_removal_leaves_a_folder_in_which_something_is(tmp_path: Path) -> None:
    disk, other = (tmp_path / "100" / f"vm-100-disk-{number}.raw" for number in (0, 1))
    disk.parent.mkdir()
    disk.touch()
    other.touch()
    assert disk_files.remove(disk, True) and other.exists()
    assert not disk_files.remove(disk, True), "it is gone"
    assert disk_files.remove(other, True) and not other.parent.exists()
    assert not disk_files.remove(other, True), "the folder is gone too"
