"""Notes of what is under way, one small file each in a folder of theirs, for who comes after a power cut."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import msgspec

from kvorum.core.durable import DRAFT

T = TypeVar("T")
SUFFIX = ".json"


def read(directory: Path, kind: type[T], passing: Collection[Path] = ()) -> list[tuple[Path, T | str]]:
    """The notes of a directory, those of ``passing`` left out: each file and its note, or why it can't be
    read. Blocks.
    """
    found: list[tuple[Path, T | str]] = []
    for file in sorted(directory.glob(f"*{SUFFIX}")):
        if file in passing:
            continue
        try:
            found.append((file, msgspec.json.decode(file.read_bytes(), type=kind)))
        except FileNotFoundError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            found.append((file, f"'{file}' can't be read, look at it and remove it: {error}"))
    return found


def forget_drafts(directory: Path) -> None:
    """Remove what a power cut has left of notes that were never whole: what they tell of was not begun.

    Blocks. Only while nobody writes notes there.
    """
    for draft in directory.glob(f"*{DRAFT}"):
        draft.unlink(missing_ok=True)
