"""Disks as files: the folders they lie in, what a file says of itself, renaming and removing. It blocks.

What is said to be renamed or removed is so after a power cut too: what is noted about it elsewhere goes then.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from kvorum.core import durable
from kvorum.storage import qcow2
from kvorum.storage.errors import StorageError


def virtual_size(path: Path, format: str, file_size: int) -> int:
    """The size a guest sees: raw is the file's, qcow2 says it."""
    known = qcow2.virtual_size(path) if format == "qcow2" else None
    return file_size if known is None else known


def backing(path: Path, format: str) -> str:
    """What an image names below itself. Raw data names nothing, whatever a guest has written there."""
    return qcow2.backing_file(path) if format == "qcow2" else ""


def make_folder(folder: Path) -> None:
    """Make a guest's folder, which every guest's uid may pass through and only we may list."""
    folder.mkdir(parents=True, exist_ok=True)
    for directory in (folder, folder.parent):
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(0o711)


def rename(old: Path, new: Path) -> None:
    """Move a disk into another guest's folder; an empty folder goes. Broken off, it can be done again."""
    try:
        if old.exists():
            if new.exists():
                raise StorageError(f"'{new}' is there already: '{old}' keeps its name")
            make_folder(new.parent)
            old.rename(new)
        elif not new.exists():
            raise StorageError(f"'{old}' is not there any more")
        durable.sync_folder(new.parent)
        with contextlib.suppress(OSError):
            old.parent.rmdir()
        _make_removal_last(old)
    except OSError as error:
        raise StorageError(f"could not rename '{old}' to '{new}': {error.strerror}") from error


def remove(path: Path, is_disk: bool) -> bool:
    """Remove a file, with a disk also its folder if that is empty then; whether it was there."""
    there = True
    try:
        try:
            path.unlink()
        except FileNotFoundError:
            there = False
        if is_disk:
            # At once: a daemon that is killed while the removal is made to last leaves no empty folder.
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        _make_removal_last(path)
    except OSError as error:
        raise StorageError(f"could not remove '{path}': {error.strerror}") from error
    return there


def _make_removal_last(path: Path) -> None:
    folder = path.parent
    durable.sync_folder(folder if folder.exists() else folder.parent)


def make_passable(path: Path) -> None:
    """Make a directory and what lacks above it, so that guests' uids can pass whatever our umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
