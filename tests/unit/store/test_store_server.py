"""What the socket lets whom see and do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.store import Change, File, StoreClient, Write, server, stream
from kvorum.store.corosync_conf import RUNNING
from kvorum.store.daemon import running_store
from kvorum.store.database import load
from kvorum.store.group import LocalGroup
from kvorum.store.host import Host
from kvorum.store.membership import MembershipSource
from kvorum.store.protocol import Ballot, Changed, DiskSynced


async def test_who_is_not_root_sees_nothing_private_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as root:
        monkeypatch.setattr(server, "_trusted", lambda _writer: False)
        async with StoreClient(paths.store_socket) as early:
            told = asyncio.ensure_future(anext(early.watch("user.cfg")))
            await asyncio.sleep(0)
            await root.transact(
                [Write("priv/key", b"s"), Write("nodes/n1/priv/key", b"s"), Write("user.cfg", b"u")]
            )
            await asyncio.wait_for(told, 5)
            async with StoreClient(paths.store_socket) as late:
                for client in (early, late):
                    assert client.read("user.cfg") is not None
                    assert client.read("priv/key") is None and client.names("priv") == ()
                    assert client.read("nodes/n1/priv/key") is None
                    with pytest.raises(KvorumError, match="only root"):
                        await client.write("user.cfg", b"x")
                    with pytest.raises(KvorumError, match="only root"):
                        await client.publish("k", b"v")
        assert root.read("priv/key") is not None


async def test_a_standalone_nodes_configuration_goes_with_it_into_its_cluster(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"x")
    history = load(paths.database).view.history
    assert history.startswith("n1-")
    host = Host(paths.database, LocalGroup(7), node="n1", nodeid=7, ballot=Ballot(1, 1))
    assert host.tree.read("storage.cfg") is not None
    assert host._replica.view.members == {7: "n1"}
    assert host._replica.view.history == history
    await host._disk.close()


async def test_a_node_that_leaves_the_list_while_it_is_off_leaves_the_membership(tmp_path: Path) -> None:
    """Nobody comes or goes then; what tells is that this node's corosync runs the new list."""
    config = tmp_path / "corosync.conf"
    node = "node {{\n name: n{0}\n nodeid: {0}\n ring0_addr: 10.0.0.{0}\n }}\n"
    text = "totem {{\n cluster_name: home\n config_version: {}\n}}\nnodelist {{\n {}}}\n"
    config.write_text(text.format(1, node.format(1) + node.format(2)))
    host = Host(tmp_path / "config.db", LocalGroup(1), node="n1", nodeid=1, ballot=Ballot(1, 1))
    source = MembershipSource(config, "n1")
    answering = server.Server(host, source, tmp_path / "run" / "store.sock")
    running = asyncio.create_task(host.run())
    async with answering.running(), StoreClient(tmp_path / "run" / "store.sock") as client:
        answering.refresh()
        assert [member.name for member in source.current.members] == ["n1", "n2"]
        config.write_text(text.format(2, node.format(1)))
        await client.publish(RUNNING, b"2")
        assert [member.name for member in source.current.members] == ["n1"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_cluster_of_one_becomes_a_node_alone_with_its_history(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"x")
    in_cluster = Host(paths.database, LocalGroup(7), node="n1", nodeid=7, ballot=Ballot(1, 1))
    running = asyncio.create_task(in_cluster.run())
    await in_cluster.transact([Write("user.cfg", b"u")], (), "test", 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = running_store(paths, node="n1", fuse=False, corosync=False)
    async with again, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"y")
        assert client.read("user.cfg") is not None


@dataclass
class Timer:
    due: float
    carry_out: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Time:
    """The loop's clock, moved by the test."""

    now: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, carry_out: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, carry_out))
        return self.timers[-1]

    def goes_to(self, end: float) -> None:
        while due := [one for one in self.timers if one.due <= end + 1e-9]:
            timer = min(due, key=lambda one: one.due)
            self.timers.remove(timer)
            self.now = timer.due
            if not timer.cancelled:
                timer.carry_out()
        self.now = end


@dataclass
class Told:
    """A server without a socket, its clock, and what it wrote to its only reader."""

    server: Any
    clock: Time = field(default_factory=Time)
    written: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server._loop = self.clock
        transport = SimpleNamespace(get_write_buffer_size=lambda: 0)
        self.reader: Any = server._Client(
            SimpleNamespace(write=self.written.append, transport=transport), True
        )  # type: ignore[arg-type]
        self.reader.ready = True
        self.server._clients.add(self.reader)

    def change(self, version: int) -> bytes:
        """A change is heard; returns how it is told."""
        changes = (Change(version, "f", File("f", b"x", version, 0.0)),)
        self.server._heard(Changed(version, changes, b"r"))
        return stream.frame(stream.Changes(version, b"r", changes))


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    host = Host(tmp_path / "config.db", LocalGroup(1), node="n1", nodeid=1, ballot=Ballot(1, 1))
    yield Told(server.Server(host, MembershipSource(None, "n1"), tmp_path / "store.sock"))
    await host._disk.close()


def test_readers_are_told_at_once_and_what_comes_within_5_ms_of_it_in_one_piece(told: Told) -> None:
    first = told.change(1)
    assert told.written == []
    told.server._heard(DiskSynced(1))
    assert told.written == [first]
    second = told.change(2)
    told.server._heard(DiskSynced(2))
    told.clock.goes_to(0.004)
    third = told.change(3)
    told.server._heard(DiskSynced(3))
    assert told.written == [first]
    told.clock.goes_to(0.005)
    assert told.written == [first, second + third]
    told.clock.goes_to(1.0)
    assert len(told.written) == 2
    fourth = told.change(4)
    told.server._heard(DiskSynced(4))
    assert told.written == [first, second + third, fourth]


def test_readers_are_told_no_sooner_than_the_disk_has_it(told: Told) -> None:
    first = told.change(1)
    told.server._heard(DiskSynced(1))
    second = told.change(2)
    told.server._heard(DiskSynced(2))
    told.clock.goes_to(0.004)
    third = told.change(3)
    told.clock.goes_to(0.006)
    assert told.written == [first], "the disk has only the second"
    told.server._heard(DiskSynced(3))
    assert told.written == [first, second + third]


def test_readers_wait_50_ms_for_a_slow_disk_and_no_longer(told: Told) -> None:
    first = told.change(1)
    told.clock.goes_to(0.049)
    assert told.written == []
    told.clock.goes_to(0.05)
    assert told.written == [first]
    told.server._heard(DiskSynced(1))
    second = told.change(2)
    told.server._heard(DiskSynced(2))
    assert told.written == [first], "what comes then gathers anew"
    told.clock.goes_to(0.055)
    assert told.written == [first, second]


def test_who_asked_is_told_of_the_change_with_the_answer(told: Told) -> None:
    change, reply = told.change(1), stream.frame(stream.Reply(1, 1))
    told.reader.send(reply)
    assert told.written == [change + reply]
    told.server._heard(DiskSynced(1))
    told.clock.goes_to(1.0)
    assert told.written == [change + reply]
