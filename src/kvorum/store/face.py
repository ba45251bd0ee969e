"""What every other room sees of the configuration store.

Paths are relative to /etc/pve, with ``/`` between parts and none at the ends, such as
``nodes/n1/qemu-server/100.conf``.
Reads come from a mirror in this process's memory, so they are synchronous, consistent and cost no I/O; a
change that ``transact`` has answered is already in the mirror of the one who made it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kvorum.core.errors import Conflict

if TYPE_CHECKING:
    from kvorum.store.stream import Revision


class File(msgspec.Struct, frozen=True):
    """One file as the whole cluster has it."""

    path: str
    data: bytes
    version: int
    """The store's version at this file's last change; grows with every change of anything."""
    mtime: float
    """Unix seconds."""

    @property
    def text(self) -> str:
        """The content as UTF-8; bytes that are no UTF-8 become replacement characters."""
        return self.data.decode("utf-8", "replace")

    @property
    def digest(self) -> str:
        """SHA-1 of the content in hex: the API's ``digest``, an optimistic lock and no secret."""
        return hashlib.sha1(self.data, usedforsecurity=False).hexdigest()


class Write(msgspec.Struct, frozen=True, tag="write"):
    """Replace a file whole, or create it. Missing parent directories are made."""

    path: str
    data: bytes


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """Remove a file, or an empty directory."""

    path: str


class Rename(msgspec.Struct, frozen=True, tag="rename"):
    """Move a file, replacing what is there; an empty directory may be moved too."""

    source: str
    target: str


class MakeDirectory(msgspec.Struct, frozen=True, tag="mkdir"):
    """Make a directory and its missing parents; fails if it exists."""

    path: str


class Touch(msgspec.Struct, frozen=True, tag="touch"):
    """Set a file's time of last change, in Unix seconds; a directory only has to exist."""

    path: str
    mtime: float


Operation: TypeAlias = Write | Delete | Rename | MakeDirectory | Touch


class Expect(msgspec.Struct, frozen=True, omit_defaults=True):
    """A precondition: the path has this version, or (``None``) does not exist.

    Made with ``of`` it holds for the very content: a version alone may name another content after a
    partition, when what was read there had not been acknowledged and is gone.
    """

    path: str
    version: int | None
    digest: str = ""
    """SHA-1 of the content in hex; empty when the version is all that is known."""

    @classmethod
    def of(cls, file: File) -> Expect:
        """The precondition that ``file`` is there as it is."""
        return cls(file.path, file.version, file.digest)


class Change(msgspec.Struct, frozen=True):
    """One applied change as watchers see it: what is at ``path`` now, or ``None`` when no file is there."""

    version: int
    path: str
    file: File | None
    directory: bool = False
    """A directory is at ``path`` now (``file`` is ``None``)."""


class Member(msgspec.Struct, frozen=True):
    """A node of the cluster as corosync.conf lists it, and whether it is here now."""

    name: str
    nodeid: int
    address: str
    online: bool
    votes: int = 1


class Membership(msgspec.Struct, frozen=True):
    """Who is in the cluster, who is here, and whether those may change anything."""

    cluster: str | None
    """The cluster's name; ``None`` on a standalone node."""
    members: tuple[Member, ...]
    quorate: bool
    version: int
    reason: str = ""
    """Why nothing may be changed, as a sentence; empty when quorate."""
    config_version: int = 0
    adoptable: bool = False
    """Nothing but members who may know later changes are missing: ``Store.adopt`` goes on without them."""

    def address_of(self, node: str) -> str:
        """A node's address on its first link; empty when it is no member."""
        return next((member.address for member in self.members if member.name == node), "")


class Store(ABC):
    """The configuration store, as a daemon or a command holds it."""

    @property
    @abstractmethod
    def node(self) -> str:
        """This node's name."""

    @property
    @abstractmethod
    def version(self) -> int:
        """The version of the last change the mirror holds."""

    @property
    @abstractmethod
    def membership(self) -> Membership:
        """The present membership, kept up to date by events."""

    @abstractmethod
    def read(self, path: str) -> File | None:
        """The file at ``path``, or ``None`` when there is none (or it is a directory)."""

    @abstractmethod
    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; empty when it does not exist. The root is ``""``."""

    @abstractmethod
    def guests(self) -> Mapping[str, str]:
        """Every VM id and the path of its configuration, in no particular order."""

    @abstractmethod
    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        """Carry out all operations in one ordered step if every expectation holds, else none.

        Returns the store's new version, once every member of the quorate membership has it on disk.
        ``who`` goes into the history. ``timeout`` is in seconds.

        Raises ``NoQuorum`` (nothing happened), ``Conflict`` (an expectation failed, a VM id exists elsewhere,
        a path is missing or taken; nothing happened) or ``OutcomeUnknown`` (it may have happened).
        """

    @abstractmethod
    def watch(self, prefix: str = "") -> AsyncIterator[Change]:
        """Every later change under ``prefix``, in order, each once."""

    @abstractmethod
    def watch_membership(self) -> AsyncIterator[Membership]:
        """The present membership first, then each new one; a slow reader gets the latest only."""

    @abstractmethod
    async def publish(self, key: str, value: bytes, ttl: float = 30.0) -> None:
        """Tell all nodes a value under this node's name, in memory only; forgotten ``ttl`` seconds later."""

    @abstractmethod
    def published(self, key: str) -> Mapping[str, bytes]:
        """What each node last published under ``key``: node name to value, without the forgotten."""

    @abstractmethod
    async def history(self, path: str, most: int = 100) -> tuple[Revision, ...]:
        """The changes of ``path`` that this node still knows, newest first, without contents.

        Raises ``KvorumError`` when they can't be read.
        """

    @abstractmethod
    async def revision(self, path: str, number: int) -> Revision:
        """One change of ``path`` with the content before it; raises ``KvorumError`` when it is not known."""

    @abstractmethod
    async def adopt(self) -> None:
        """An admin's word that the missing members are lost: the store goes on with this partition's history.

        The membership tells when that has had its effect. Raises ``NoQuorum`` when pve-cluster is away.
        """

    @abstractmethod
    async def hold(self, name: str, owner: str, seconds: float) -> float:
        """Have the lease ``name`` for ``seconds`` (60 at most) from now, or renew it, in memory only.

        Returns until when, in seconds of CLOCK_BOOTTIME: look at that clock before each step that needs the
        lease. ``owner`` names who has it, unique in the cluster and to this life of the holder. At most one
        owner has a lease at a time (``protocol.leases`` says how); renew it at a third of its time.

        Raises ``Conflict`` (another has it, or may), ``NoQuorum`` (nothing happened), ``OutcomeUnknown``
        (it may have been granted; act as if not) or ``ParameterError``.
        """

    @abstractmethod
    async def let_go(self, name: str, owner: str) -> None:
        """End a lease before its time, if ``owner`` has it. Raises as ``hold`` does."""

    @abstractmethod
    def holder(self, name: str) -> str | None:
        """Who had a lease last, as this node heard; it may have run out since."""

    async def write(self, path: str, data: bytes | str, *, who: str = "", digest: str | None = None) -> int:
        """Replace one file; with ``digest`` only if its content still has that SHA-1.

        Raises as ``transact`` does.
        """
        content = data.encode() if isinstance(data, str) else data
        expect = [expect_digest(self.read(path), path, digest)] if digest else []
        return await self.transact([Write(path, content)], expect, who=who)


def expect_digest(file: File | None, path: str, digest: str) -> Expect:
    """Turn a caller's digest into an expectation; raises ``Conflict`` when the file has another already."""
    if file is None or file.digest != digest:
        raise Conflict("detected modified configuration - file changed by other user? Try again.")
    return Expect.of(file)
