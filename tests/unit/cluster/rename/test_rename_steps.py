"""A node is renamed, or keeps its name: power cut at any moment of it, in a small world of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kvorum.cluster.change import cluster_on
from kvorum.cluster.host import Host
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.rename.local import LocalName
from kvorum.cluster.rename.names import FORMER, present_name
from kvorum.cluster.rename.steps import RENAME, Renaming, recover_rename, rename_node
from kvorum.cluster.rename.transaction import draft
from kvorum.cluster.sequence import SequenceFailed
from kvorum.core.errors import Conflict, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.interface import Peers
from kvorum.store import Expect, File, Member, Membership, Operation
from kvorum.store.memory import MemoryStore
from kvorum.store.naming import RENAMING, listed_name

BEFORE = (
    new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"}))
    .with_node(ConfiguredNode("n3", 3, 1, {0: "10.0.0.3"}))
    .with_version(4)
    .text
)
GUEST = "nodes/{}/qemu-server/100.conf"


class PowerCut(BaseException):
    """The node loses power here."""


class Disk(MemoryStore):
    """The cluster's store as this node has it: stale while its corosync is thrown out."""

    def __init__(self, world: World) -> None:
        super().__init__("n3")
        self.world = world

    def read(self, path: str) -> File | None:
        file = super().read(path)
        if path == "corosync.conf" and file is not None and not self.membership.quorate:
            return File(path, BEFORE.encode(), 1, 0.0)
        return file

    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        self.world.moment()
        done = await super().transact(operations, expect, who=who)
        self.world.moment()
        if operations and self.world.lose_answers:
            self.world.lose_answers -= 1
            raise OutcomeUnknown("no answer")
        return done


class PlayedHost(Host):
    """Files are real, units are played."""

    world: World

    async def restart_store(self) -> None:
        self.world.moment()
        self.world.start_store()
        self.world.moment()

    async def restart_proxy(self) -> None:
        self.world.moment()


class PlayedName(LocalName):
    """The kernel's name is the world's."""

    world: World

    def kernel_name(self) -> str:
        return self.world.hostname

    def full_name(self, new: str) -> str:
        return new

    def set_hostname(self, name: str) -> None:
        self.world.moment()
        self.world.hostname = name
        self.world.moment()

    async def follow_corosync(self) -> None:
        self.world.moment()
        self.world.start_store()


class World(Peers):
    """n3, and n1 as its peer."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths.under(root)
        self.etc = root / "etc"
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.etc / "hosts").write_text("10.0.0.3 n3.example.org n3\n")
        (self.etc / "hostname").write_text("n3\n")
        self.hostname, self.moments, self.cut_at, self.lose_answers = "n3", 0, -1, 0
        self.store = Disk(self)
        self.log: list[str] = []

    def moment(self) -> None:
        if self.moments == self.cut_at:
            raise PowerCut
        self.moments += 1

    async def begin(self) -> None:
        host = self.what().cluster.host
        host.write_configuration(BEFORE)
        await self.store.write("corosync.conf", BEFORE)
        await self.store.write("storage.cfg", "dir: b\n\tpath /b\n\tnodes n3\n")
        await self.store.write(GUEST.format("n3"), "memory: 64\n")
        await self.store.write("nodes/n3/config", "description: mine\n")
        self.start_store()
        await ensure_node_files(self.store, self.paths, addresses=["10.0.0.3"])
        self.moments = 0

    def what(self) -> Renaming:
        """A daemon's view: another one after each power cut."""
        host = PlayedHost(self.store, self.paths)
        host.world = self
        local = PlayedName(self.paths, host, self.etc)
        local.world = self
        return Renaming(cluster_on(self.store, self.paths, host), local, self)

    def start_store(self) -> None:
        """It runs under the listed name, and is in the cluster where corosync's version is the cluster's."""
        here = Configuration.read((self.paths.corosync / "corosync.conf").read_text())
        file = MemoryStore.read(self.store, "corosync.conf")
        assert file is not None
        marker = self.paths.database.with_name(RENAMING)
        name = listed_name(self.hostname, [node.name for node in here.nodes], marker)
        assert here.node(name) is not None, f"the store does not start: {name} is not listed"
        self.store._node = name
        members = tuple(Member(n.name, n.nodeid, n.addresses[0], True) for n in here.nodes)
        in_step = here.config_version == Configuration.read(file.text).config_version
        self.store.set_membership(Membership("home", members, quorate=in_step, version=1))

    def reboot(self) -> None:
        self.cut_at = -1
        self.hostname = (self.etc / "hostname").read_text().strip()
        self.start_store()

    async def call(
        self, node: str, verb: str, path: str, parameters: Mapping[str, object] | None = None, *,
        timeout: float = 10.0,
    ) -> object:  # fmt: skip
        assert (node, path) == ("n1", "/kvorum/cluster/configuration")
        file = MemoryStore.read(self.store, "corosync.conf")
        assert file is not None
        return file.text


@pytest.fixture
async def world(tmp_path: Path) -> World:
    it = World(tmp_path)
    await it.begin()
    return it


def is_called(world: World, name: str) -> bool:
    """Everything has this name, and nothing another."""
    store = world.store
    other = {"n3": "hp", "hp": "n3"}[name]
    file = store.read("corosync.conf")
    assert file is not None and file.text == (world.paths.corosync / "corosync.conf").read_text()
    assert [node.name for node in Configuration.read(file.text).nodes] == ["n1", name]
    assert store.node == name and store.membership.quorate
    assert store.read(GUEST.format(name)) is not None and store.read(GUEST.format(other)) is None
    assert other not in store.names("nodes")
    storages = store.read("storage.cfg")
    assert storages is not None and storages.text == f"dir: b\n\tpath /b\n\tnodes {name}\n"
    assert (world.etc / "hostname").read_text() == f"{name}\n" and world.hostname == name
    assert (world.etc / "hosts").read_text() == f"10.0.0.3 {name}.example.org {name}\n"
    assert not world.paths.database.with_name(RENAMING).exists()
    assert world.what().cluster.journal.load() is None
    return True


async def test_a_node_is_called_anew_with_all_that_is_its_own(world: World) -> None:
    certificate = world.store.read("nodes/n3/pve-ssl.pem")
    await rename_node(world.what(), "hp", "root@pam", world.log.append)
    assert world.log == list(RENAME.steps)
    assert is_called(world, "hp")
    description, anew = world.store.read("nodes/hp/config"), world.store.read("nodes/hp/pve-ssl.pem")
    assert description is not None and description.text == "description: mine\n"
    assert certificate is not None and anew is not None and anew.data != certificate.data
    former = world.store.read(FORMER)
    assert former is not None and present_name(former.text, "n3") == "hp"
    await rename_node(world.what(), "n3", "root@pam", world.log.append)
    assert is_called(world, "n3")


async def test_power_cut_at_any_moment_the_node_has_one_name_afterwards(tmp_path: Path) -> None:
    cut, kept = 0, 0
    while True:
        world = World(tmp_path / str(cut))
        await world.begin()
        world.cut_at = cut
        try:
            await rename_node(world.what(), "hp", "root@pam", world.log.append)
            break
        except PowerCut:
            world.reboot()
        try:
            finished = await recover_rename(world.what(), world.log.append)
        except SequenceFailed:
            assert is_called(world, "n3")
            kept += 1
            await rename_node(world.what(), "hp", "root@pam", world.log.append)  # a second try works
        else:
            assert finished
        assert is_called(world, "hp"), f"cut at moment {cut}"
        assert not await recover_rename(world.what(), world.log.append)
        cut += 1
    assert cut >= 8 and kept == 1, "before the transaction nothing has happened, after it all does"


async def test_an_answer_that_is_lost_is_looked_for(world: World) -> None:
    world.lose_answers = 1
    await rename_node(world.what(), "hp", "root@pam", world.log.append)
    assert is_called(world, "hp")


async def test_a_node_that_was_removed_meanwhile_keeps_its_name(world: World) -> None:
    await world.store.write("corosync.conf", Configuration.read(BEFORE).without_node("n3").bumped().text)
    with pytest.raises(SequenceFailed, match="no node 'n3' any more"):
        await rename_node(world.what(), "hp", "root@pam", world.log.append)
    assert world.hostname == "n3"


async def test_a_file_that_comes_meanwhile_is_not_left_behind(world: World) -> None:
    made = draft(world.store, "n3", "hp", "root@pam", 0, ["10.0.0.3"], "hp")
    await world.store.write("nodes/n3/qemu-server/101.conf", "memory: 64\n")
    with pytest.raises(Conflict):
        await world.store.transact(made.operations, made.expect)
    await rename_node(world.what(), "hp", "root@pam", world.log.append)
    assert world.store.read("nodes/hp/qemu-server/101.conf") is not None
