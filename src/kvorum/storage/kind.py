"""What every kind of storage can be asked: the interface, and the words it answers in.

A kind says by ``Capabilities`` what it can do, so that callers decide without knowing kinds by name. Methods
that touch the storage may take long or hang with it: callers give them deadlines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from kvorum.core.ids import VolumeId
from kvorum.storage.config import StorageEntry
from kvorum.storage.errors import StorageError
from kvorum.storage.images import Progress

Reserving: TypeAlias = Callable[[VolumeId | None], None]
"""Told the id of a volume just before it is made, so that whoever wants it can note it; ``None`` when the
name was taken meanwhile, so that what is there is another's. It may block, and is called in a thread."""


def reserve_silently(volume: VolumeId | None) -> None:
    """For callers who note nothing."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a storage can do."""

    shared: bool
    """All nodes see the same data, so nothing is copied when a guest moves."""
    formats: tuple[str, ...]
    """Image formats, the default first."""
    snapshots: frozenset[str] = frozenset()
    """The formats whose snapshots it can make."""
    clones: frozenset[str] = frozenset()
    """The formats of which it makes linked clones."""
    thin: bool = False
    """Space is taken when written, not when allocated."""
    send_receive: bool = False
    """Can send the difference between snapshots to another node."""


class StorageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Room on a storage, in bytes."""

    total: int
    used: int
    avail: int


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a storage. ``size`` is what the guest sees, ``used`` what it takes; bytes."""

    volid: str
    content: str
    format: str
    size: int
    used: int = 0
    vmid: int | None = None
    ctime: int = 0
    notes: str | None = None
    protected: bool | None = None
    """A protected backup is not removed."""


class StorageKind(ABC):
    """One storage on this node."""

    def __init__(self, entry: StorageEntry) -> None:
        self.entry = entry

    @property
    def id(self) -> str:
        """The storage's name."""
        return self.entry.id

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this storage can do."""

    @abstractmethod
    async def activate(self) -> None:
        """Make the storage usable on this node; raises ``StorageError`` when it isn't there."""

    @abstractmethod
    def path(self, volume: VolumeId) -> Path:
        """Where QEMU finds a volume; touches nothing. Raises ``StorageError`` for a foreign name."""

    @abstractmethod
    def format(self, volume: VolumeId) -> str:
        """The image format of a volume, by its name."""

    @abstractmethod
    async def allocate(
        self,
        vmid: int,
        size_bytes: int,
        format: str | None = None,
        name: str | None = None,
        reserving: Reserving = reserve_silently,
    ) -> VolumeId:
        """Make an empty volume for a guest: the first free disk number, or just ``name``.

        Raises ``StorageError`` when the name is taken, ``NoSpace`` when there is no room.
        """

    @abstractmethod
    async def free(self, volume: VolumeId) -> bool:
        """Remove a volume; whether it was there."""

    def handed_to(self, volume: VolumeId, vmid: int) -> VolumeId:
        """What a guest's volume is called once another guest has it; raises ``StorageError`` if it can't be.

        A guest's base image, on which others may rest, stays with its name.
        """
        raise StorageError(f"storage '{self.id}' can't give '{volume}' to another guest")

    async def hand_over(self, volume: VolumeId, vmid: int) -> VolumeId:
        """Give a volume to another guest; done already, nothing happens.

        Raises ``StorageError`` when the new name is taken, or neither is there.
        """
        raise StorageError(f"storage '{self.id}' can't give '{volume}' to another guest")

    async def annotate(self, volume: VolumeId, notes: str | None, protected: bool | None) -> None:
        """Set what is kept beside a backup; ``None`` leaves it as it is, empty notes are removed.

        Raises ``StorageError`` for what takes no such thing.
        """
        raise StorageError(f"storage '{self.id}' keeps no notes or protection for '{volume}'")

    @abstractmethod
    def list_blocking(self, vmid: int | None = None, content: Sequence[str] = ()) -> list[Volume]:
        """The volumes, sorted by id; only a guest's, or only some content types. For a thread of its own."""

    @abstractmethod
    async def size(self, volume: VolumeId) -> int:
        """A volume's size as the guest sees it, in bytes; raises ``StorageError`` when there is none."""

    @abstractmethod
    async def grow(self, volume: VolumeId, size_bytes: int) -> None:
        """Make a volume that no guest has open larger; raises ``StorageError``, also for a smaller size."""

    @abstractmethod
    def status_blocking(self) -> StorageStatus:
        """How much room there is. For a thread of its own; raises ``StorageError`` or ``OSError``."""

    @abstractmethod
    async def import_disk(
        self,
        vmid: int,
        source: Path,
        format: str | None = None,
        progress: Progress = lambda fraction: None,
        reserving: Reserving = reserve_silently,
    ) -> VolumeId:
        """Copy a disk image into a new volume of the guest.

        Raises ``NotADiskImage`` before anything is written. Cancelled or failed, it leaves nothing.
        """
