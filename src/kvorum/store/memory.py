"""A store of one process, without disk, socket or cluster: what unit tests of other rooms stand on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from msgspec.structs import replace

from kvorum.core.errors import Conflict, KvorumError, NoQuorum
from kvorum.store.face import Change, Expect, File, Member, Membership, Operation, Store
from kvorum.store.names import check_lease
from kvorum.store.stream import Revision
from kvorum.store.tree import Tree


class MemoryStore(Store):
    """The whole promise of ``Store`` on one tree; ``set_membership`` plays the cluster's part."""

    def __init__(self, node: str = "n1", membership: Membership | None = None) -> None:
        self._node = node
        self._tree = Tree()
        self._version = 0
        self._membership = membership or Membership(
            cluster=None,
            members=(Member(name=node, nodeid=0, address="127.0.0.1", online=True),),
            quorate=True,
            version=1,
        )
        self._watchers: set[asyncio.Queue[Change]] = set()
        self._membership_changed = asyncio.Event()
        self._revisions: list[tuple[str, Revision]] = []
        self._leases: dict[str, tuple[str, float]] = {}
        self._published: dict[str, dict[str, tuple[bytes, float]]] = {}

    @property
    def node(self) -> str:
        return self._node

    @property
    def version(self) -> int:
        return self._version

    @property
    def membership(self) -> Membership:
        return self._membership

    def set_membership(self, membership: Membership) -> None:
        """Play a membership change."""
        self._membership = membership
        self._membership_changed.set()
        self._membership_changed = asyncio.Event()

    def read(self, path: str) -> File | None:
        return self._tree.read(path)

    def names(self, path: str) -> tuple[str, ...]:
        return self._tree.names(path)

    def guests(self) -> Mapping[str, str]:
        return self._tree.guests()

    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        if not self._membership.quorate:
            raise NoQuorum(self._membership.reason or "no quorum")
        changes, before = self._tree.apply(operations, expect, self._version + 1, time.time())
        self._version += 1
        for change, old in zip(changes, before, strict=True):
            self._remember(change, old, who)
        for change in changes:
            for queue in self._watchers:
                queue.put_nowait(change)
        return self._version

    async def watch(self, prefix: str = "") -> AsyncIterator[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while True:
                change = await queue.get()
                if change.path.startswith(prefix):
                    yield change
        finally:
            self._watchers.discard(queue)

    async def watch_membership(self) -> AsyncIterator[Membership]:
        while True:
            changed = self._membership_changed
            yield self._membership
            await changed.wait()

    async def history(self, path: str, most: int = 100) -> tuple[Revision, ...]:
        found = [replace(revision, before=None) for of, revision in self._revisions if of == path]
        return tuple(reversed(found))[:most]

    async def revision(self, path: str, number: int) -> Revision:
        for of, revision in self._revisions:
            if of == path and revision.number == number:
                return revision
        raise KvorumError(f"the history of '{path}' has no revision {number} on this node")

    async def adopt(self) -> None:
        if self._membership.adoptable:
            self.set_membership(replace(self._membership, quorate=True, reason="", adoptable=False))

    def _remember(self, change: Change, old: File | None, who: str) -> None:
        if change.file is not None or old is not None:
            number, data = len(self._revisions) + 1, old.data if old else None
            size = None if data is None else len(data)
            revision = Revision(number, time.time(), change.version, who, self._node, size, data)
            self._revisions.append((change.path, revision))

    async def hold(self, name: str, owner: str, seconds: float) -> float:
        check_lease(name, owner, seconds)
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        held = self._leases.get(name)
        if held is not None and held[0] != owner and held[1] > now:
            raise Conflict(f"'{name}' is held by {held[0]}")
        self._leases[name] = owner, now + seconds
        return now + seconds

    async def let_go(self, name: str, owner: str) -> None:
        if self.holder(name) == owner:
            del self._leases[name]

    def holder(self, name: str) -> str | None:
        held = self._leases.get(name)
        return held[0] if held else None

    async def publish(self, key: str, value: bytes, ttl: float = 30.0) -> None:
        self._published.setdefault(key, {})[self._node] = (value, time.monotonic() + ttl)

    def published(self, key: str) -> Mapping[str, bytes]:
        now = time.monotonic()
        return {node: v for node, (v, until) in self._published.get(key, {}).items() if until > now}
