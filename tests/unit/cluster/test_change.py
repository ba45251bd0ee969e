"""Create and join on a node of our own making: carried through, or set back, at every failing step."""

import asyncio
from pathlib import Path

import pytest

from kvorum.cluster import service
from kvorum.cluster.change import CREATE, JOIN, Cluster, changing, cluster_on, create, join, recover
from kvorum.cluster.host import Host
from kvorum.cluster.sequence import SequenceFailed, Unfinished
from kvorum.cluster.withdrawal import Withdrawal
from kvorum.core.errors import Conflict, Unreachable
from kvorum.core.paths import Paths
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

TEXT = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})).text
HERE = (Member(name="n1", nodeid=1, address="10.0.0.1", online=True),)
KEY = "a2V5"


class DaemonEnds(BaseException):
    """pvedaemon dies here."""


class FakeHost(Host):
    """Files are real; units are played, and a store that starts goes by what /etc/corosync says."""

    def __init__(self, store: MemoryStore, paths: Paths) -> None:
        super().__init__(store, paths)
        self.memory = store
        self.corosync_runs = False
        self.store_runs = True
        self.fail = self.die = ""
        self.database = paths.database

    async def _reached(self, what: str) -> None:
        if self.die == what:
            raise DaemonEnds
        if self.fail == what:
            raise RuntimeError(f"{what} failed")

    async def start_corosync(self) -> None:
        self.corosync_runs = True
        await self._reached("start_corosync")

    async def stop_corosync(self) -> None:
        self.corosync_runs = False

    async def stop_store(self) -> None:
        self.store_runs = False
        await self._reached("stop_store")

    async def restart_store(self) -> None:
        self.store_runs = True
        if not self.database.exists():
            self.database.write_text("new")
        cluster = "home" if self.configuration.exists() else None
        self.memory.set_membership(Membership(cluster=cluster, members=HERE, quorate=True, version=2))
        await self._reached("restart_store")

    async def restart_proxy(self) -> None:
        await self._reached("restart_proxy")


class FakePeer:
    def __init__(self) -> None:
        self.listed = False
        self.refuses = False
        self.silent = self.hears_not = False
        """It does not answer, though it may have listed us; it does not hear that we are not coming."""

    async def admit(self) -> dict[str, str]:
        if self.silent:
            self.listed = True
            raise Unreachable("10.0.0.9: no answer in time")
        if self.refuses:
            raise RuntimeError("can't add existing node 'n1'")
        self.listed = True
        return {"configuration": TEXT, "key": KEY}

    async def withdraw(self) -> None:
        if self.hears_not:
            raise Unreachable("10.0.0.9: no answer in time")
        self.listed = False


@pytest.fixture
def node(tmp_path: Path) -> tuple[Cluster, FakeHost, MemoryStore]:
    paths, store = Paths.under(tmp_path), MemoryStore("n1")
    paths.database.write_text("old")
    paths.database.with_name("config.db-wal").write_text("wal")
    host = FakeHost(store, paths)
    return cluster_on(store, paths, host), host, store


def alone_as_before(host: FakeHost, store: MemoryStore) -> bool:
    assert host.database.read_text() == "old"
    assert host.database.with_name("config.db-wal").read_text() == "wal"
    assert not host.corosync_runs and host.store_runs
    assert not host.configuration.exists() and not host.authkey.exists()
    assert store.read("corosync.conf") is None
    assert store.membership.cluster is None
    return True


async def test_create_makes_a_cluster_of_one(node: tuple[Cluster, FakeHost, MemoryStore]) -> None:
    cluster, host, store = node
    log: list[str] = []
    await create(cluster, TEXT, log.append)
    assert log == list(CREATE.steps)
    file = store.read("corosync.conf")
    assert file is not None and file.text == TEXT == host.configuration.read_text()
    assert len(host.authkey.read_bytes()) == 256
    assert host.authkey.stat().st_mode & 0o777 == 0o400
    assert host.database.read_text() == "old"
    assert store.read("nodes/n1/pve-ssl.pem") is not None
    assert cluster.journal.load() is None


@pytest.mark.parametrize("fail", ["start_corosync"])
async def test_a_create_that_fails_leaves_the_node_as_it_was(
    node: tuple[Cluster, FakeHost, MemoryStore], fail: str
) -> None:
    cluster, host, store = node
    host.fail = fail
    with pytest.raises(SequenceFailed, match="start corosync: start_corosync failed"):
        await create(cluster, TEXT, lambda _line: None)
    assert alone_as_before(host, store)


async def test_an_admins_own_authkey_survives_a_failed_create(
    node: tuple[Cluster, FakeHost, MemoryStore],
) -> None:
    cluster, host, _ = node
    host.write_authkey(b"mine")
    host.fail = "start_corosync"
    with pytest.raises(SequenceFailed):
        await create(cluster, TEXT, lambda _line: None)
    assert host.authkey.read_bytes() == b"mine"


async def test_join_takes_the_clusters_configuration_and_sets_its_own_database_aside(
    node: tuple[Cluster, FakeHost, MemoryStore],
) -> None:
    cluster, host, _ = node
    peer, log = FakePeer(), list[str]()
    await join(cluster, peer, log.append)
    assert log == list(JOIN.steps)
    assert host.authkey.read_bytes() == b"key"
    assert host.configuration.read_text() == TEXT
    assert host.database.read_text() == "new"
    (backup,) = host.backups.iterdir()
    assert (backup / "config.db").read_text() == "old"
    assert host.corosync_runs and host.store_runs and peer.listed


@pytest.mark.parametrize("fail", ["stop_store", "start_corosync", "restart_store"])
async def test_a_join_that_fails_leaves_nothing_half_joined(
    node: tuple[Cluster, FakeHost, MemoryStore], fail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, host, store = node
    peer = FakePeer()
    host.fail = fail

    async def recovers(restart=host.restart_store) -> None:  # type: ignore[no-untyped-def]
        try:
            await restart()
        finally:
            host.fail = ""

    monkeypatch.setattr(host, "restart_store", recovers)
    with pytest.raises(SequenceFailed, match=f"{fail} failed"):
        await join(cluster, peer, lambda _line: None)
    assert alone_as_before(host, store)
    assert not peer.listed


async def test_a_peer_that_refuses_changes_nothing(node: tuple[Cluster, FakeHost, MemoryStore]) -> None:
    cluster, host, store = node
    peer = FakePeer()
    peer.refuses = True
    with pytest.raises(SequenceFailed, match="can't add existing node"):
        await join(cluster, peer, lambda _line: None)
    assert alone_as_before(host, store)


@pytest.mark.parametrize("die", ["stop_store", "start_corosync", "restart_store"])
async def test_a_join_broken_off_by_the_daemons_end_is_undone_at_its_next_start(
    node: tuple[Cluster, FakeHost, MemoryStore], die: str
) -> None:
    cluster, host, store = node
    host.die = die
    with pytest.raises(DaemonEnds):
        await join(cluster, FakePeer(), lambda _line: None)
    host.die = ""
    log: list[str] = []
    with pytest.raises(SequenceFailed, match="broken off by the end of pvedaemon"):
        await recover(cluster, log.append)
    assert alone_as_before(host, store)
    assert any("pvecm delnode" in line for line in log)
    await recover(cluster, log.append)


NOTES = {"host": "10.0.0.9", "fingerprint": ":".join(["AB"] * 32), "secret": "00" * 16}


@pytest.mark.parametrize("silent", [False, True])
async def test_a_peer_that_does_not_hear_of_the_undoing_is_told_later(
    node: tuple[Cluster, FakeHost, MemoryStore], monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    cluster, host, store = node
    peer, told = FakePeer(), list[Withdrawal]()
    peer.silent, peer.hears_not, host.fail = silent, True, "stop_store"
    with pytest.raises(SequenceFailed, match=r"not all was set back: 10\.0\.0\.9 may list this node 'n1'"):
        await join(cluster, peer, lambda _line: None, NOTES)
    assert alone_as_before(host, store) and peer.listed

    async def say(withdrawal: Withdrawal) -> None:
        told.append(withdrawal)

    monkeypatch.setattr(service, "_say_withdrawal", say)
    assert not await service.finish(cluster)
    (heard,) = told
    assert (heard.node, heard.secret, heard.cluster) == ("n1", "00" * 16, "" if silent else "home")


async def test_a_join_that_begins_is_not_taken_off_by_what_an_earlier_one_has_left(
    node: tuple[Cluster, FakeHost, MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, _host, _store = node
    kept = Withdrawal.of("n1", NOTES)
    assert kept is not None
    cluster.withdrawals.add(kept)
    saying, stopped = asyncio.Event(), asyncio.Event()

    async def say(withdrawal: Withdrawal) -> None:
        saying.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(service, "_say_withdrawal", say)
    finishing = asyncio.create_task(service.finish(cluster))
    await saying.wait()
    await join(cluster, FakePeer(), lambda _line: None, NOTES)
    assert await finishing and stopped.is_set()


async def test_what_failed_after_the_commit_is_done_without_a_new_start_of_the_daemon(
    node: tuple[Cluster, FakeHost, MemoryStore],
) -> None:
    cluster, host, _store = node
    host.fail = "restart_proxy"
    with pytest.raises(Unfinished, match="restart pveproxy: restart_proxy failed; this can't be set back"):
        await join(cluster, FakePeer(), lambda _line: None)
    with pytest.raises(Conflict, match="a join of this node is under way, or is being finished"):
        await create(cluster, TEXT, lambda _line: None)
    assert await service.finish(cluster), "it fails again, and is not given up"
    host.fail = ""
    assert not await service.finish(cluster)
    assert cluster.journal.load() is None


async def test_two_changes_of_one_node_are_not_made_at_once(
    node: tuple[Cluster, FakeHost, MemoryStore],
) -> None:
    cluster, _host, _store = node
    async with changing(cluster):
        with pytest.raises(Conflict, match="another change of this node's cluster is under way"):
            await create(cluster, TEXT, lambda _line: None)


async def test_a_join_broken_off_after_its_commit_is_finished(
    node: tuple[Cluster, FakeHost, MemoryStore],
) -> None:
    cluster, host, store = node
    host.die = "restart_proxy"
    with pytest.raises(DaemonEnds):
        await join(cluster, FakePeer(), lambda _line: None)
    host.die = ""
    await recover(cluster, lambda _line: None)
    assert host.database.read_text() == "new" and host.corosync_runs
    assert cluster.journal.load() is None
    assert store.read("nodes/n1/pve-ssl.pem") is not None
