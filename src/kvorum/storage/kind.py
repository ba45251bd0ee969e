"""What every kind of storage can be asked: the interface, and the words it answers in.

A kind says by ``Capabilities`` what it can do, so that callers decide without knowing kinds by name. Methods
that touch the storage may take long or hang with it: callers give them deadlines.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

import msgspec

from kvorum.core.ids import VolumeId
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import StorageError
from kvorum.storage.images import Progress
from kvorum.storage.ova import Part

Reserving: TypeAlias = Callable[[VolumeId | None], None]
"""Told the id of a volume just before it is made, so that whoever wants it can note it; ``None`` when the
name was taken meanwhile, so that what is there is another's. It may block, and is called in a thread."""


def reserve_silently(volume: VolumeId | None) -> None:
    """For callers who note nothing."""


class SnapshotBy(Enum):
    """Who makes the snapshot of a volume that a running guest has open."""

    QEMU = "qemu"
    """QEMU alone, inside the image: ``StorageKind.snapshot`` is for volumes that nobody has open."""
    STORAGE = "storage"
    """The storage, at any time: the caller has the guest stand still and its writes flushed meanwhile."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a storage can do."""

    shared: bool
    """All nodes see the same data, so nothing is copied when a guest moves."""
    formats: tuple[str, ...]
    """Image formats, the default first."""
    snapshots: frozenset[str] = frozenset()
    """The formats whose snapshots it can make."""
    snapshots_by: SnapshotBy = SnapshotBy.QEMU
    """Who makes them while a guest runs. Whoever it is, rolling back is the storage's, with nobody on it."""
    clones: frozenset[str] = frozenset()
    """The formats of the bases on which it makes linked clones."""
    snapshot_clones: bool = False
    """Makes them on a snapshot too, not on a base alone."""
    thin: bool = False
    """Space is taken when written, not when allocated."""
    send_receive: bool = False
    """Can send the difference between snapshots to another node."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a copy of a volume, or of its state at a snapshot, is read from, in qemu-img's words."""

    path: Path
    format: str
    snapshot: str = ""
    """The snapshot inside the image; empty: the image as it is."""


_SNAPSHOT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,39}")


def snapshot_name(text: str) -> str:
    """A snapshot's name; raises ``ValueError`` when it is none."""
    if not _SNAPSHOT_NAME.fullmatch(text):
        raise ValueError(
            f"'{text}' is no name of a snapshot: write 2 to 40 letters, digits, '_' and '-', a letter first"
        )
    return text


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
    parent: str | None = None
    """The base that a linked clone rests on."""
    notes: str | None = None
    protected: bool | None = None
    """A protected backup is not removed."""


class Wrong(NamedTuple):
    """What is wrong with a storage's settings."""

    key: str
    cause: str
    allowed: str


class StorageKind(ABC):
    """One storage on this node."""

    type: ClassVar[str]
    """The kind's name in storage.cfg."""
    keys: ClassVar[tuple[str, ...]]
    """Its settings there, beside those that every kind has."""
    holds: ClassVar[tuple[str, ...]]
    """The content types that it can hold."""

    @classmethod
    def wrong(cls, entry: StorageEntry) -> Wrong | None:
        """What is wrong with an entry's settings of this kind; ``None``: nothing. Touches nothing."""
        return None

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
        """Remove a volume with its snapshots; whether it was there.

        Raises ``StorageError`` for a base on which clones rest.
        """

    def handed_to(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        """What a guest's volume is called once another guest has it; raises ``StorageError`` if it can't be.

        ``rest`` is a new end of the name, such as ``disk-3``. A guest's base image, on which others may rest,
        stays with its name.
        """
        raise StorageError(f"storage '{self.id}' can't give '{volume}' to another guest")

    async def hand_over(self, volume: VolumeId, vmid: int, rest: str = "") -> VolumeId:
        """Give a volume to another guest, named as ``handed_to`` says; done already, nothing happens.

        Raises ``StorageError`` when the new name is taken, or neither is there.
        """
        raise StorageError(f"storage '{self.id}' can't give '{volume}' to another guest")

    # Snapshots: a format that ``Capabilities.snapshots`` names. Broken off, each can be asked for again.

    async def snapshot(self, volume: VolumeId, name: str) -> None:
        """Keep a volume's present content under a name; see ``SnapshotBy`` for one that is in use.

        Raises ``StorageError``, also when there is one of the name.
        """
        raise self._no_snapshots(volume)

    async def check_rollback(self, volume: VolumeId, name: str) -> None:
        """Raise ``StorageError`` when the volume can't be put back to a snapshot; says what to do first."""
        if name not in await self.snapshots(volume):
            raise StorageError(f"'{volume}' has no snapshot '{name}'")

    async def rollback(self, volume: VolumeId, name: str) -> None:
        """Put a volume that nobody has open back to a snapshot, its size too; the snapshot stays.

        Raises ``StorageError`` as ``check_rollback`` does.
        """
        raise self._no_snapshots(volume)

    async def delete_snapshot(self, volume: VolumeId, name: str) -> bool:
        """Forget a snapshot; see ``SnapshotBy`` for a volume in use. Whether there was one."""
        raise self._no_snapshots(volume)

    async def snapshots(self, volume: VolumeId) -> frozenset[str]:
        """The names of the volume's snapshots; also of one that is in use."""
        raise self._no_snapshots(volume)

    def _no_snapshots(self, volume: VolumeId) -> StorageError:
        can = ", ".join(sorted(self.capabilities.snapshots)) or "none"
        return StorageError(
            f"storage '{self.id}' can't make snapshots of '{volume}' (format {self.format(volume)}); "
            f"formats with snapshots there: {can}"
        )

    # Bases and linked clones: a format that ``Capabilities.clones`` names.

    def parent(self, volume: VolumeId) -> VolumeId | None:
        """The base that a linked clone rests on, by its name; touches nothing."""
        return None

    def based(self, volume: VolumeId) -> VolumeId:
        """What a volume is called once it is a base; one that is keeps its name. Raises ``StorageError``."""
        raise StorageError(f"storage '{self.id}' can't make a base of '{volume}'")

    async def make_base(self, volume: VolumeId) -> VolumeId:
        """Make a volume that nobody has open a base: named so, never written again.

        Done already, nothing happens. Raises ``StorageError`` for what rests on a base itself.
        """
        raise StorageError(f"storage '{self.id}' can't make a base of '{volume}'")

    async def clone(
        self, volume: VolumeId, snapshot: str | None, vmid: int, reserving: Reserving = reserve_silently
    ) -> VolumeId:
        """Make a volume of a guest that rests on a base, or on a snapshot where the storage can.

        Raises ``StorageError`` for what can't be rested on. Cancelled or failed, it leaves nothing.
        """
        raise StorageError(f"storage '{self.id}' can't make linked clones of '{volume}'")

    async def clones(self, volume: VolumeId) -> tuple[VolumeId, ...]:
        """What rests on a base, or on a volume's snapshots; as long as anything does, ``free`` refuses."""
        return ()

    def reading(self, volume: VolumeId, snapshot: str | None = None) -> AbstractAsyncContextManager[Source]:
        """Where a whole copy is read from while the block lasts; checked to reach no foreign file.

        Without a snapshot nobody may be writing to the volume. Raises ``StorageError``.
        """
        raise StorageError(f"storage '{self.id}' can't have '{volume}' copied")

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

    async def before_growing(self, volume: VolumeId, size_bytes: int) -> None:
        """What has to be done before a running QEMU makes its volume larger; for files nothing."""
        return

    @abstractmethod
    def status_blocking(self) -> StorageStatus:
        """How much room there is. For a thread of its own; raises ``StorageError`` or ``OSError``."""

    @abstractmethod
    async def import_disk(
        self,
        vmid: int,
        source: Path | Part,
        format: str | None = None,
        progress: Progress = lambda fraction: None,
        reserving: Reserving = reserve_silently,
        rate_bytes_s: int = 0,
    ) -> VolumeId:
        """Copy a disk image into a new volume of the guest, not faster than ``rate_bytes_s`` (0: as it can).

        Raises ``NotADiskImage`` before anything is written. Cancelled or failed, it leaves nothing.
        """
