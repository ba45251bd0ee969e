"""Where a lossy disk's durable state lies: one file for all names, one for each file's content.

The host itself is trusted to stay up, so nothing here is synced to the host's disk: a cut kills a process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from kvorum.lab.lossy_disk import Change, Inode


def load(folder: Path) -> tuple[dict[int, Inode], dict[int, bytes]]:
    """Read what was durable: the names, and each file's content (empty where none ever was)."""
    names_file = folder / "names"
    if not names_file.exists():
        return {}, {}
    told = json.loads(names_file.read_text())
    names = {int(ino): Inode(**fields) for ino, fields in told.items()}
    linked = {1} | {ino for inode in names.values() for ino in inode.entries.values()}
    names = {ino: inode for ino, inode in names.items() if ino in linked}
    contents = {}
    for ino, inode in names.items():
        if not inode.is_directory and not inode.target:
            path = folder / str(ino)
            contents[ino] = path.read_bytes() if path.exists() else b""
    return names, contents


def carry_out(folder: Path, change: Change) -> None:
    """Make a change durable; the content first, then (in one step) the names."""
    if change.is_file:
        descriptor = os.open(folder / str(change.ino), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, change.kept)
            for offset, data in change.ranges:
                view = memoryview(data)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
            os.ftruncate(descriptor, change.length)
        finally:
            os.close(descriptor)
    if change.names is not None:
        _write_names(folder, change.names)


def _write_names(folder: Path, names: Mapping[int, Inode]) -> None:
    told = {
        ino: {
            "mode": inode.mode,
            "uid": inode.uid,
            "gid": inode.gid,
            "mtime_ns": inode.mtime_ns,
            "entries": dict(inode.entries),
            "target": inode.target,
        }
        for ino, inode in names.items()
    }
    fresh = folder / "names.new"
    fresh.write_text(json.dumps(told))
    fresh.replace(folder / "names")
    for path in folder.iterdir():
        if path.name.isdigit() and int(path.name) not in names:
            path.unlink()
