"""Small files written whole and made to last: a power cut leaves the old content or the new one.

A file's sync says nothing of its name (fsync(2)): a name lasts once its directory is synced too. Without that
a note of what is begun may be missing after a power cut though what it tells of is there.
"""

from __future__ import annotations

import os
from pathlib import Path

DRAFT = ".new"
"""What a draft's name ends with; one that a power cut has left beside its file may be removed."""


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file; its directory is made where it is missing. Blocks for the disk; raises ``OSError``."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(path.parent.parent)
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file for good; one that is gone is fine. Blocks for the disk; raises ``OSError``."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have a directory's names outlive a power cut; one that is gone is fine."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
