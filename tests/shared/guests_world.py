"""A small world for tests: nodes in one process, one store, calls between nodes made directly."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
import stand_ins

from kvorum.core.errors import Unreachable
from kvorum.core.paths import Paths
from kvorum.guests.copies.clone import Clones
from kvorum.guests.copies.template import Templates
from kvorum.guests.machine.commandline import NodeFacts
from kvorum.guests.machine.facts import _ask
from kvorum.guests.machine.guest import Workshop
from kvorum.guests.machine.launcher import PlainLauncher
from kvorum.guests.machine.runtime import RunFiles
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration.request import Request
from kvorum.guests.migration.source import Migration, Services
from kvorum.guests.migration.target import Incoming
from kvorum.guests.migration.wish import Wish
from kvorum.guests.snapshots.snapshots import Snapshots
from kvorum.guests.suspend.suspension import Suspensions
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Peers
from kvorum.storage import Storages
from kvorum.store import Change, Expect, File, Member, Membership, Operation, Revision, Store
from kvorum.store.memory import MemoryStore

QEMU = os.environ.get("KVORUM_TEST_QEMU", "qemu-system-x86_64")
"""Another QEMU to run the tests with."""


async def qemu_facts() -> NodeFacts:
    """What this QEMU can do, with TCG whatever the machine."""
    version, machines, types, has_spice = await _ask(QEMU)
    return NodeFacts(QEMU, version, "tcg", machines, "a test", types, has_spice)


async def spice_facts() -> NodeFacts:
    """The same of a QEMU that has SPICE; skips the test where there is none."""
    if not shutil.which(QEMU):
        pytest.skip("no qemu-system-x86_64 here")
    facts = await qemu_facts()
    if not facts.has_spice:
        pytest.skip("this host's QEMU has no SPICE (qemu-system-modules-spice)")
    return facts


class NodeView(Store):
    """One store, seen from a node of its own."""

    def __init__(self, node: str, shared: MemoryStore) -> None:
        self._node = node
        self._shared = shared
        self._told: dict[str, dict[str, bytes]] = vars(shared).setdefault("told_by_nodes", {})
        """What each node has published, by key; the nodes of one store share it."""
        self.failures: list[BaseException | None] = []
        """What the next transactions raise; ``None`` lets one through."""

    @property
    def node(self) -> str:
        return self._node

    @property
    def version(self) -> int:
        return self._shared.version

    @property
    def membership(self) -> Membership:
        return self._shared.membership

    def read(self, path: str) -> File | None:
        return self._shared.read(path)

    def names(self, path: str) -> tuple[str, ...]:
        return self._shared.names(path)

    def guests(self) -> Mapping[str, str]:
        return self._shared.guests()

    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return await self._shared.transact(operations, expect, who=who, timeout=timeout)

    def watch(self, prefix: str = "") -> AsyncIterator[Change]:
        return self._shared.watch(prefix)

    def watch_membership(self) -> AsyncIterator[Membership]:
        return self._shared.watch_membership()

    async def hold(self, name: str, owner: str, seconds: float) -> float:
        return await self._shared.hold(name, owner, seconds)

    async def let_go(self, name: str, owner: str) -> None:
        await self._shared.let_go(name, owner)

    def holder(self, name: str) -> str | None:
        return self._shared.holder(name)

    async def publish(self, key: str, value: bytes, ttl: float = 30.0) -> None:
        self._told.setdefault(key, {})[self._node] = value

    def published(self, key: str) -> Mapping[str, bytes]:
        return self._told.get(key, {})

    async def history(self, path: str, most: int = 100) -> tuple[Revision, ...]:
        return await self._shared.history(path, most)

    async def revision(self, path: str, number: int) -> Revision:
        return await self._shared.revision(path, number)

    async def adopt(self) -> None:
        await self._shared.adopt()


class Node:
    """What one node holds."""

    def __init__(self, name: str, root: Path, shared: MemoryStore, facts: NodeFacts) -> None:
        self.paths = Paths.under(root)
        self.store = NodeView(name, shared)
        self.storages = Storages(self.store, self.paths)
        workshop = Workshop(PlainLauncher(), self.storages, RunFiles(self.paths.guests_run), facts)
        self.manager = GuestManager(self.store, workshop)
        self.incoming = Incoming(self.manager, self.storages, self.paths.state)
        self.unfinished = Unfinished(self.manager, self.storages, self.paths.state / "unfinished")
        self.clones = Clones(self.manager, self.storages, self.unfinished)
        self.templates = Templates(self.manager, self.storages)
        self.snapshots = Snapshots(self.manager, self.storages, self.unfinished)
        self.suspensions = Suspensions(self.manager, self.storages, self.unfinished)

    async def close(self) -> None:
        """End its guests, and what the manager does."""
        for guest in self.manager.all_running():
            await guest.stop("the test is over")
        await self.manager.detach()


class DirectPeers(Peers):
    """Calls of the incoming methods, made directly; ``fail`` maps a call to what it raises instead."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self.fail: dict[str, Exception] = {}
        self.calls: list[str] = []

    async def call(
        self,
        node: str,
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
    ) -> object:
        what, vmid = path.rpartition("/")[2], int(path.split("/")[-2])
        self.calls.append(what)
        if what in self.fail:
            raise self.fail[what]
        if node not in self._nodes:
            raise Unreachable(f"node '{node}' can't be reached")
        incoming, values = self._nodes[node].incoming, parameters or {}
        if what in ("check", "prepare"):
            request = msgspec.json.decode(str(values["request"]), type=Request)
            answer = await (incoming.check(request) if what == "check" else incoming.prepare(request))
            return msgspec.to_builtins(answer)
        await (incoming.resume if what == "resume" else incoming.abort)(vmid, str(values["token"]))
        return None


class Lines(stand_ins.Lines):
    """A task's log that remembers, and sets events when it says what is ``wanted``."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[str, asyncio.Event] = {}

    def line(self, text: str) -> None:
        super().line(text)
        for part, event in self.wanted.items():
            if part in text:
                event.set()


class World:
    """Two nodes with local storages and one shared one."""

    def __init__(self, root: Path, facts: NodeFacts) -> None:
        members = tuple(Member(name=f"n{i}", nodeid=i, address="127.0.0.1", online=True) for i in (1, 2))
        self.shared = MemoryStore("n1", Membership(cluster="c", members=members, quorate=True, version=1))
        self.nodes = {name: Node(name, root / name, self.shared, facts) for name in ("n1", "n2")}
        self.peers = DirectPeers(self.nodes)
        self.log = Lines()
        self.root = root

    async def setup(self) -> None:
        local = f"dir: local\n\tpath {self.root}/local\n\tcontent images\n\n"
        both = f"dir: shared\n\tpath {self.root}/shared\n\tcontent images\n\tshared 1\n"
        await self.shared.write("storage.cfg", local + both)

    def migration(self, vmid: int = 100, **wish: object) -> Migration:
        node = self.nodes["n1"]
        services = Services(node.manager, node.storages, self.peers, node.unfinished)
        return Migration(services, Wish(vmid=vmid, target="n2", online=True, **wish), self.log)

    async def close(self) -> None:
        for node in self.nodes.values():
            await node.incoming.close()
            for vmid in node.manager.workshop.files.vmids():
                if guest := node.manager.running(vmid):
                    await guest.stop("the test is over")
            await node.manager.detach()
