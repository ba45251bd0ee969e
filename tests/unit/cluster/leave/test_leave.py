"""A node is taken out of the store, leaves step by step, and is told when it was removed."""

import asyncio
from pathlib import Path

import pytest

from kvorum.cluster import join_token
from kvorum.cluster.change import Cluster, cluster_on
from kvorum.cluster.host import Host
from kvorum.cluster.join_token import Tokens
from kvorum.cluster.leave import removed, returned, steps
from kvorum.cluster.leave.removal import own_fingerprint, remove
from kvorum.cluster.leave.removed import Removed
from kvorum.cluster.leave.steps import LEAVE, leave, recover_leave
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.qdevice.device import Device, with_device
from kvorum.cluster.sequence import SequenceFailed
from kvorum.core.errors import Conflict, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.store import Delete, Member, Membership
from kvorum.store.memory import MemoryStore

N1 = ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})
N3 = ConfiguredNode("n3", 3, 1, {0: "10.0.0.3"})
MEMBERS = tuple(Member(n.name, n.nodeid, n.addresses[0], True) for n in (N1, N3))


class DaemonEnds(BaseException):
    """pvedaemon dies here."""


class PlayedHost(Host):
    """Files are real, units are played."""

    def __init__(self, store: MemoryStore, paths: Paths) -> None:
        super().__init__(store, paths)
        self.memory, self.database = store, paths.database
        self.corosync_runs = True
        self.die = ""

    def _reached(self, what: str) -> None:
        if self.die == what:
            raise DaemonEnds

    async def stop_corosync(self) -> None:
        self.corosync_runs = False
        self._reached("stop_corosync")

    async def stop_store(self) -> None:
        self._reached("stop_store")

    async def restart_store(self) -> None:
        if not self.database.exists():
            self.database.write_text("fresh")
        self.memory.set_membership(Membership(None, (MEMBERS[1],), True, 9))
        self._reached("restart_store")

    async def restart_proxy(self) -> None:
        self._reached("restart_proxy")


@pytest.fixture
async def node(tmp_path: Path) -> tuple[Cluster, PlayedHost, MemoryStore]:
    """n3 of a cluster of n1 and n3."""
    paths, store = Paths.under(tmp_path), MemoryStore("n3")
    text = new_cluster("home", N1).with_node(N3).text
    await store.write("corosync.conf", text)
    await ensure_node_files(store, paths, addresses=["10.0.0.3"])
    store.set_membership(Membership("home", MEMBERS, True, 2))
    host = PlayedHost(store, paths)
    host.write_configuration(text)
    host.write_authkey(b"key")
    paths.database.write_text("the cluster's")
    paths.database.with_name("config.db-wal").write_text("wal")
    return cluster_on(store, paths, host), host, store


def nobody_was_asked(*_: object) -> object:
    raise AssertionError("no node had to be asked")


def alone(host: PlayedHost) -> bool:
    assert host.database.read_text() == "fresh" and not host.corosync_runs
    assert not host.configuration.exists() and not host.authkey.exists() and not host.removed.exists()
    (backup,) = host.backups.iterdir()
    assert (backup / "config.db").read_text() == "the cluster's"
    assert (backup / "config.db-wal").read_text() == "wal"
    return True


async def test_a_qdevice_that_does_not_suit_who_is_left_is_told() -> None:
    store = MemoryStore("n1")
    text = new_cluster("home", N1).with_node(N3)
    await store.write("corosync.conf", with_device(text, Device("10.0.0.9", "ffsplit", 1)).text)
    done = await remove(store, "n3", "root@pam")
    assert done is not None
    assert any("by ffsplit with 1 vote, which does not suit 1 node: set it up" in note for note in done.notes)


async def test_a_removed_node_leaves_nothing_but_its_name_in_the_list_of_those_who_left(
    node: tuple[Cluster, PlayedHost, MemoryStore],
) -> None:
    _, _, store = node
    await store.write("nodes/n3/priv/secret", b"x")
    await store.write("storage.cfg", "dir: a\n\tpath /a\n\tnodes n3\n")
    known = own_fingerprint(store, "n3")
    done = await remove(store, "n3", "root@pam")
    assert done is not None and "storage 'a' was on node 'n3' alone" in done.notes[0]
    assert store.names("nodes") == () and store.read("storage.cfg").text == ""  # type: ignore[union-attr]
    file = store.read("corosync.conf")
    assert file is not None and [n.name for n in Configuration.read(file.text).nodes] == ["n1"]
    told = store.read(removed.FILE)
    assert told is not None and removed.find(told.text, known.lower()) is not None
    assert await remove(store, "n3", "root@pam") is None


async def test_the_token_that_a_node_came_with_goes_with_it(
    node: tuple[Cluster, PlayedHost, MemoryStore],
) -> None:
    _, _, store = node
    tokens, came, _ = Tokens().made("root@pam", 10, 1.0)
    tokens, other, _ = tokens.used_by(came, "n3", 2.0).made("root@pam", 10, 3.0)
    await store.write(join_token.FILE, tokens.text())
    await remove(store, "n3", "root@pam")
    file = store.read(join_token.FILE)
    assert file is not None and Tokens.read(file.text).rows == (other,)


async def test_a_node_whose_join_never_ended_keeps_its_token(
    node: tuple[Cluster, PlayedHost, MemoryStore],
) -> None:
    _, _, store = node
    await store.transact([Delete("nodes/n3/pve-ssl.pem")])
    tokens, came, _ = Tokens().made("root@pam", 10, 1.0)
    text = tokens.used_by(came, "n3", 2.0).text()
    await store.write(join_token.FILE, text)
    await remove(store, "n3", "root@pam")
    file = store.read(join_token.FILE)
    assert file is not None and file.text == text


async def test_a_guest_that_comes_at_the_last_moment_keeps_its_node(
    node: tuple[Cluster, PlayedHost, MemoryStore],
) -> None:
    _, _, store = node
    await store.write("nodes/n3/qemu-server/100.conf", "memory: 64\n")
    with pytest.raises(Conflict, match="VM 100 came to node 'n3' meanwhile"):
        await remove(store, "n3", "root@pam")
    assert await remove(store, "n3", "root@pam", ("100",)) is not None
    assert store.read("nodes/n3/qemu-server/100.conf") is None


async def test_a_node_leaves_and_is_one_of_its_own(node: tuple[Cluster, PlayedHost, MemoryStore]) -> None:
    cluster, host, _ = node
    log: list[str] = []
    await leave(cluster, "root@pam", log.append, removed=False, last=False)
    assert log == list(LEAVE.steps) and alone(host) and cluster.journal.load() is None


async def test_the_last_node_keeps_its_files(
    node: tuple[Cluster, PlayedHost, MemoryStore],
) -> None:
    cluster, host, store = node
    await remove(store, "n1", "root@pam")
    await store.write("nodes/n3/qemu-server/100.conf", "memory: 64\n")
    await leave(cluster, "root@pam", lambda _: None, removed=False, last=True)
    assert host.database.read_text() == "the cluster's"
    assert store.read("corosync.conf") is None
    assert store.read("nodes/n3/qemu-server/100.conf") is not None


@pytest.mark.parametrize("die", ["stop_corosync", "stop_store", "restart_store", "restart_proxy"])
async def test_a_leave_broken_off_after_the_list_is_finished_at_the_next_start(
    node: tuple[Cluster, PlayedHost, MemoryStore], die: str
) -> None:
    cluster, host, _ = node
    host.die = die
    with pytest.raises(DaemonEnds):
        await leave(cluster, "root@pam", lambda _: None, removed=False, last=False)
    if die == "restart_store":
        host.database.write_text("fresh")
    host.die = ""
    await recover_leave(cluster, lambda _: None)
    assert alone(host) and cluster.journal.load() is None


@pytest.mark.parametrize("happened", [True, False])
async def test_an_answer_that_was_lost_is_asked_for(
    node: tuple[Cluster, PlayedHost, MemoryStore], happened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, host, _ = node

    async def lost(*_: object) -> None:
        raise OutcomeUnknown("the cluster changed meanwhile")

    async def ask(_: object) -> Removed | None:
        return Removed("n3", "AA", 1, "root@pam") if happened else None

    monkeypatch.setattr(steps, "remove", lost)
    monkeypatch.setattr(steps, "ask_if_removed", ask)
    work = leave(cluster, "root@pam", lambda _: None, removed=False, last=False)
    if happened:
        await work
        assert alone(host)
    else:
        with pytest.raises(SequenceFailed, match="this node is still in it: try again"):
            await work
        assert host.corosync_runs and host.configuration.exists()
        assert cluster.journal.load() is None


async def test_a_node_that_was_removed_stops_its_corosync_and_says_why(
    node: tuple[Cluster, PlayedHost, MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, host, store = node
    asked = asyncio.Event()

    async def ask(_: object) -> Removed | None:
        asked.set()
        return Removed("n3", "AA", 1_790_000_000, "root@pam")

    monkeypatch.setattr(returned, "ask_if_removed", ask)
    stopped = asyncio.Event()
    stop = host.stop_corosync

    async def stop_and_tell() -> None:
        await stop()
        stopped.set()

    monkeypatch.setattr(host, "stop_corosync", stop_and_tell)
    watching = asyncio.create_task(returned.watch_for_removal(cluster))
    try:
        await asyncio.sleep(0)
        assert not asked.is_set()
        store.set_membership(Membership("home", MEMBERS, False, 3, "no quorum"))
        await asyncio.wait_for(stopped.wait(), 5)
    finally:
        watching.cancel()
    assert not host.corosync_runs
    assert "was removed from cluster 'home' by root@pam" in host.removed.read_text()


def test_the_list_of_those_who_left_is_bounded_and_garbage_is_nothing() -> None:
    text = "garbage"
    for n in range(removed.KEPT + 5):
        text = removed.added(text, Removed(f"n{n}", f"{n:02X}", n, "root@pam"))
    rows = removed.read(text)
    assert len(rows) == removed.KEPT and rows[-1].node == "n104" and rows[0].node == "n5"
    assert removed.read("[1]") == ()
