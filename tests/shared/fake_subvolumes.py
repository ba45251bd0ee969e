"""btrfs subvolumes of directories: what ``kvorum.storage.subvolumes`` does, on any file system."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kvorum.storage import subvolumes


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put these in the place of the kernel's calls."""
    for function in (is_btrfs, create, snapshot, delete, exchange, write_in_place):
        monkeypatch.setattr(subvolumes, function.__name__, function)


def is_btrfs(folder: Path) -> bool:
    return folder.is_dir()


def create(path: Path) -> None:
    path.mkdir()


def snapshot(source: Path, target: Path, *, read_only: bool = False) -> None:
    shutil.copytree(source, target)


def delete(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    shutil.rmtree(path)


def exchange(one: Path, other: Path) -> None:
    between = one.with_name(f"{one.name}.between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def write_in_place(folder: Path) -> None:
    (folder / ".nocow").touch()
