"""What is done with the datasets of disks in a ZFS pool, each so that it can be done again when broken off.

A dataset with a file is mounted, and must not be while it is renamed or put back. It all blocks.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kvorum.storage import zfs
from kvorum.storage.errors import StorageError

BASE = "__base__"
"""The snapshot of a template's disk on which its clones rest."""
READING = "reading-"
"""What a dataset is called that lives while a snapshot is read."""

_MOUNTING = threading.Lock()
"""Held while a dataset is unmounted for a moment, so that no activation mounts it meanwhile."""
_BEING_READ: set[str] = set()
"""The datasets that live while a snapshot is read by this daemon; any other is an earlier one's."""


@dataclass(frozen=True, slots=True)
class Datasets:
    """Those below one pool."""

    pool: str
    mounted: bool
    """Whether they are file systems; else they are volumes."""

    def mount_all(self, is_disk: Callable[[str], bool]) -> None:
        """Mount what a killed daemon has left unmounted in the middle of a rename or a rollback."""
        found = zfs.properties(("mounted",), self.pool, below=True)
        for name, told in found.items():
            if told["mounted"] == "no" and is_disk(name.rpartition("/")[2]):
                with _MOUNTING, contextlib.suppress(zfs.NoDataset):
                    self._mount(name)

    def rename(self, old: str, new: str) -> None:
        """Rename a disk; done already, nothing happens. Raises ``StorageError``."""
        names = [f"{self.pool}/{name}" for name in zfs.children(self.pool)]
        here, there = old in names, new in names
        if here and there:
            raise StorageError(f"'{new}' is there already: '{old}' keeps its name")
        if not here and not there:
            raise StorageError(f"'{old}' is not there any more")
        with _MOUNTING:
            if here:
                self._unmount(old)
                zfs.run("rename", old, new, patient=True)
            self._mount(new)

    def roll_back(self, dataset: str, snapshot: str) -> None:
        """Put a disk that nobody has open back to its latest snapshot."""
        with _MOUNTING:
            self._unmount(dataset)  # so that nothing of before stays in the kernel's memory
            try:
                zfs.run("rollback", f"{dataset}@{snapshot}", patient=True)
            finally:
                self._mount(dataset)

    def make_base(self, dataset: str, base: str) -> None:
        """Rename a disk, and keep what it has for its clones to rest on."""
        if dataset != base:
            self.rename(dataset, base)
        if BASE not in zfs.snapshots(base):
            zfs.run("snapshot", f"{base}@{BASE}")

    def destroy(self, dataset: str) -> bool:
        """Destroy a disk or a snapshot, first what a killed daemon read of it. Whether it was there."""
        for name, told in zfs.properties(("origin",), self.pool, below=True).items():
            last = name.rpartition("/")[2]
            if last.startswith(READING) and last not in _BEING_READ and _is_of(told["origin"], dataset):
                zfs.run("destroy", name, patient=True)
        try:
            zfs.run("destroy", "-r", dataset, patient=True)
        except zfs.NoDataset:
            return False
        return True

    def _unmount(self, dataset: str) -> None:
        """Take a disk out of the file system; fails while someone has it open."""
        if self.mounted and zfs.properties(("mounted",), dataset)[dataset]["mounted"] == "yes":
            zfs.run("unmount", dataset, patient=True)

    def _mount(self, dataset: str) -> None:
        if self.mounted and zfs.properties(("mounted",), dataset)[dataset]["mounted"] == "no":
            zfs.run("mount", dataset)


def reading_name() -> str:
    """The name for a dataset in which a snapshot is to be read."""
    name = f"{READING}{secrets.token_hex(8)}"
    _BEING_READ.add(name)
    return name


def end_reading(pool: str, name: str) -> None:
    """End the reading of a snapshot."""
    try:
        with contextlib.suppress(zfs.NoDataset):
            zfs.run("destroy", f"{pool}/{name}", patient=True)
    finally:
        _BEING_READ.discard(name)


def _is_of(origin: str, dataset: str) -> bool:
    """Whether a snapshot is this one, or one of this dataset."""
    return dataset in (origin, origin.partition("@")[0])
