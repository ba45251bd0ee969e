"""What is kept beside a backup's file: notes in ``FILE.notes``, protection as an empty ``FILE.protected``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypedDict

from kvorum.core.ids import VolumeId
from kvorum.storage.errors import StorageError

SUFFIXES = frozenset((".notes", ".protected", ".log"))
"""Files beside a backup that are no backups."""


class Attributes(TypedDict, total=False):
    """What a volume's row tells of it."""

    notes: str
    protected: bool


def read(path: Path, content: str) -> Attributes:
    """What is kept beside a backup; nothing for other content."""
    if content != "backup":
        return {}
    found = Attributes(protected=_protection(path).exists())
    with contextlib.suppress(OSError):
        found["notes"] = _notes(path).read_text("utf-8", "replace")
    return found


def write(path: Path, volume: VolumeId, notes: str | None, protected: bool | None) -> None:
    """Change what is given; ``None`` leaves it, empty notes are removed. Raises ``StorageError``."""
    if not path.is_file():
        raise StorageError(f"volume '{volume}' does not exist ('{path}')")
    try:
        if notes:
            _notes(path).write_text(notes, "utf-8")
        elif notes is not None:
            _notes(path).unlink(missing_ok=True)
        if protected:
            _protection(path).touch()
        elif protected is not None:
            _protection(path).unlink(missing_ok=True)
    except (OSError, UnicodeEncodeError) as error:
        raise StorageError(f"could not write beside '{path}': {error}") from error


def forget(path: Path, volume: VolumeId) -> None:
    """Remove the notes of a backup that goes; raises ``StorageError`` when it is protected."""
    if _protection(path).exists():
        raise StorageError(f"'{volume}' is protected: take its protection away first")
    _notes(path).unlink(missing_ok=True)


def _notes(path: Path) -> Path:
    return path.with_name(f"{path.name}.notes")


def _protection(path: Path) -> Path:
    return path.with_name(f"{path.name}.protected")
