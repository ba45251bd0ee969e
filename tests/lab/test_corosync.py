"""The bindings against three real corosync processes."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvorum.corosync import (
    Address,
    Cfg,
    Cmap,
    CorosyncBusy,
    CorosyncError,
    CorosyncGone,
    CorosyncNotFound,
    Cpg,
    Departure,
    Flag,
    Kind,
    Map,
    Quorum,
    Reason,
    RingId,
    Votequorum,
)


def _load(name: str) -> object:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rings = sys.modules.get("corosync_ring") or _load("corosync_ring")
pytestmark = pytest.mark.skipif(bool(rings.unavailable()), reason=rings.unavailable())


@pytest.fixture
def ring() -> Iterator[object]:
    with rings.corosync_ring(3) as made:
        yield made


class Log:
    """What a group member saw, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.changes: list[tuple[tuple[Address, ...], tuple[Departure, ...], tuple[Departure, ...]]] = []
        self.rings: list[tuple[RingId, tuple[int, ...]]] = []
        self.gone: list[CorosyncGone] = []
        self._news = asyncio.Event()

    def open(self, ring: object, number: int) -> Cpg:
        with ring.inside(number):
            cpg = Cpg(
                deliver=lambda nodeid, _pid, data: self._note(self.messages, (nodeid, data)),
                group_change=lambda *change: self._note(self.changes, change),
                totem_change=lambda *change: self._note(self.rings, change),
            )
        cpg.attach(lambda error: self._note(self.gone, error))
        return cpg

    def _note(self, where: list[object], what: object) -> None:
        where.append(what)
        self._news.set()

    async def until(self, condition: Callable[[], object], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def test_every_member_gets_all_messages_in_one_order(ring: object) -> None:
    logs = {number: Log() for number in (1, 2, 3)}
    members = {number: log.open(ring, number) for number, log in logs.items()}
    for cpg in members.values():
        await cpg.join("kv-order")
    for log in logs.values():
        await log.until(lambda log=log: log.changes and len(log.changes[-1][0]) == 3)
        await log.until(lambda log=log: log.rings)
        assert log.rings[0][1] == (1, 2, 3)
    assert members[2].local_nodeid == 2
    assert [a.nodeid for a in members[1].members("kv-order")] == [1, 2, 3]

    async def talk(number: int) -> None:
        for count in range(100):
            await members[number].send(f"{number}:{count}".encode())

    await asyncio.gather(*(talk(number) for number in members))
    for log in logs.values():
        await log.until(lambda log=log: len(log.messages) == 300)
    assert logs[1].messages == logs[2].messages == logs[3].messages
    assert [m for n, m in logs[1].messages if n == 2] == [f"2:{c}".encode() for c in range(100)]
    await members[3].leave("kv-order")
    await logs[1].until(lambda: logs[1].changes[-1][1])
    (left,) = logs[1].changes[-1][1]
    assert (left.address.nodeid, left.reason) == (3, Reason.LEAVE)
    for cpg in members.values():
        cpg.close()


async def test_large_messages_arrive_whole_and_larger_ones_are_refused(ring: object) -> None:
    here, there = Log(), Log()
    with here.open(ring, 1) as sender, there.open(ring, 2) as receiver:
        await sender.join("kv-large")
        await receiver.join("kv-large")
        await here.until(lambda: here.changes and len(here.changes[-1][0]) == 2)
        largest = sender.max_message_bytes
        assert 900_000 < largest <= 1 << 20
        assert sender.flow_controlled is False
        data = bytes(range(256)) * (largest // 256)
        for _ in range(5):
            await sender.send(data)
        await sender.send(b"")
        await there.until(lambda: len(there.messages) == 6)
        assert [m for _, m in there.messages] == [data] * 5 + [b""]
        with pytest.raises(CorosyncError, match="too large") as caught:
            await sender.send(b"x" * (largest + 1))
        assert caught.value.name == "CS_ERR_TOO_BIG"


async def test_a_flood_is_held_back_and_nothing_is_lost(ring: object) -> None:
    """While a peer is frozen the token stands still, so the queue fills up whatever the machine's speed."""
    here, there = Log(), Log()
    ring.set_token(20_000)
    with here.open(ring, 1) as sender, there.open(ring, 3) as receiver:
        await sender.join("kv-flood")
        await receiver.join("kv-flood")
        await here.until(lambda: here.changes and len(here.changes[-1][0]) == 2)
        ring.freeze(2)
        sent = 0
        with pytest.raises(CorosyncBusy):
            for _ in range(20_000):
                sender.send_now(sent.to_bytes(4, "big") * 4096)
                sent += 1
        waiting = asyncio.create_task(sender.send(sent.to_bytes(4, "big") * 4096, timeout=60))
        ring.thaw(2)
        await waiting
        await there.until(lambda: len(there.messages) == sent + 1, timeout=60)
        assert [int.from_bytes(m[:4], "big") for _, m in there.messages] == list(range(sent + 1))


async def test_the_death_of_a_node_is_a_change_with_its_reason(ring: object) -> None:
    here, there = Log(), Log()
    with here.open(ring, 1) as stays, there.open(ring, 3) as dies:
        await stays.join("kv-death")
        await dies.join("kv-death")
        await here.until(lambda: here.changes and len(here.changes[-1][0]) == 2)
        ring.kill(3)
        await here.until(lambda: here.changes[-1][1])
        (left,) = here.changes[-1][1]
        assert (left.address.nodeid, left.reason) == (3, Reason.NODEDOWN)
        await here.until(lambda: here.rings[-1][1] == (1, 2))
        assert here.rings[-1][0].seq > here.rings[0][0].seq
        await there.until(lambda: there.gone)
        assert dies.closed and dies.fileno == -1


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_corosyncs_end_is_told_once_by_every_handle(ring: object, end: str) -> None:
    logs: list[list[CorosyncGone]] = []
    told = asyncio.Event()

    def watch(handle: Cpg | Quorum | Votequorum | Cmap | Cfg) -> None:
        seen: list[CorosyncGone] = []
        logs.append(seen)
        handle.attach(lambda error: (seen.append(error), told.set()))

    with ring.inside(2):
        handles = [
            Cpg(deliver=lambda *_: None, group_change=lambda *_: None),
            Quorum(),
            Votequorum(),
            Cmap(),
            Cfg(),
        ]
    for handle in handles:
        watch(handle)
    getattr(ring, end)(2)
    async with asyncio.timeout(10):
        while not all(logs):
            told.clear()
            await told.wait()
    for handle in handles:
        with pytest.raises(CorosyncGone):
            handle.dispatch() if not handle.closed else handle._require()
    with pytest.raises(CorosyncGone):
        handles[2].info()
    with ring.inside(2), pytest.raises(CorosyncGone, match="does not answer"):
        Votequorum()
    assert [len(seen) for seen in logs] == [1] * 5


async def test_quorum_follows_nodes_that_go_and_come(ring: object) -> None:
    states: asyncio.Queue[tuple[bool, tuple[int, ...]]] = asyncio.Queue()
    with ring.inside(1):
        quorum = Quorum(quorum_change=lambda yes, _ring, nodes: states.put_nowait((yes, nodes)))
        votes = Votequorum()
    assert quorum.has_provider and quorum.quorate
    quorum.attach(lambda _error: None)
    quorum.track()

    async def wait_for(expected: tuple[bool, tuple[int, ...]]) -> None:
        async with asyncio.timeout(20):
            while await states.get() != expected:
                pass

    await wait_for((True, (1, 2, 3)))
    ring.kill(3)
    await wait_for((True, (1, 2)))
    ring.kill(2)
    await wait_for((False, (1,)))
    info = votes.info()
    assert (info.total, info.quorum, info.expected, info.quorate) == (1, 2, 3, False)
    votes.set_expected(1)
    await wait_for((True, (1,)))
    assert votes.info().flags & Flag.QUORATE
    with pytest.raises(CorosyncNotFound):
        votes.info(77)
    quorum.close()
    votes.close()


def test_votequorum_tells_each_nodes_votes_and_changes(ring: object) -> None:
    seen: list[dict[int, int]] = []
    with ring.inside(1):
        votes = Votequorum(quorum_change=lambda _yes, nodes: seen.append(dict(nodes)))
    with votes:
        votes.track()
        votes.dispatch()
        assert seen == [{1: 1, 2: 1, 3: 1}]
        assert [votes.info(n).votes for n in (1, 2, 3)] == [1, 1, 1]


def test_the_map_is_read_set_listed_and_followed(ring: object) -> None:
    changes: list[tuple[str, object, object]] = []
    with ring.inside(1):
        cmap, stats = Cmap(), Cmap(Map.STATISTICS)
    with cmap, stats:
        assert cmap.get("totem.cluster_name") == "kvtest"
        assert cmap.get("totem.config_version") == 1
        assert cmap.text("no.such.key", "nothing") == "nothing"
        with pytest.raises(CorosyncNotFound):
            cmap.get("no.such.key")
        cmap.track("kvtest.", lambda *change: changes.append(change), prefix=True)
        for kind, value in [
            (Kind.UINT32, 7),
            (Kind.INT64, -8),
            (Kind.STRING, "größer"),
            (Kind.BINARY, b"\0\1"),
            (Kind.DOUBLE, 0.5),
        ]:
            cmap.set(f"kvtest.{kind.name.lower()}", value, kind)
            assert cmap.get(f"kvtest.{kind.name.lower()}") == value
        cmap.delete("kvtest.uint32")
        while cmap.dispatch():
            pass
        assert changes[0] == ("kvtest.uint32", 7, None)
        assert changes[-1] == ("kvtest.uint32", None, 7)
        assert sorted(cmap.items("kvtest.")) == [
            "kvtest.binary",
            "kvtest.double",
            "kvtest.int64",
            "kvtest.string",
        ]
        links = [key for key in stats.keys("stats.knet.") if key.endswith(".connected")]
        assert any(stats.get(key) == 1 for key in links)


def test_a_reload_brings_new_votes_and_a_killed_node_leaves(ring: object) -> None:
    with ring.inside(1):
        cfg, votes = Cfg(), Votequorum()
    with cfg, votes:
        assert cfg.local_nodeid == 1
        assert cfg.addresses(2) == ("10.77.0.2",)
        ring.nodes[2].votes = 2
        ring.config_version = 2
        ring.write_config()
        cfg.reload()
        ring.wait_members(1, [1, 2, 3])
        changed = votes.info()
        assert (changed.total, changed.quorum) == (4, 3)
        cfg.kill_node(3, "test")
        ring.wait_members(1, [1, 2])
        ring.nodes[3].process.wait(timeout=10)


async def test_joining_waits_until_a_frozen_peer_is_thrown_out(ring: object) -> None:
    """A membership change is under way while node 3 is frozen: sends wait for it and arrive afterwards."""
    here, there = Log(), Log()
    with here.open(ring, 1) as sender, there.open(ring, 2) as receiver:
        await sender.join("kv-frozen")
        await receiver.join("kv-frozen")
        await here.until(lambda: here.changes and len(here.changes[-1][0]) == 2)
        ring.freeze(3)
        for count in range(200):
            await sender.send(bytes([count]), timeout=20)
        await there.until(lambda: len(there.messages) == 200)
        await here.until(lambda: here.rings[-1][1] == (1, 2))
        ring.thaw(3)
        await here.until(lambda: here.rings[-1][1] == (1, 2, 3))
