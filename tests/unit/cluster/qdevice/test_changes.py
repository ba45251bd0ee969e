"""Setup and removal against a store in memory: carried through, or set back, at every step that can break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from qnetd_authority import Authority

from kvorum.cluster.qdevice.certificate import AUTHORITY_FILE, BUNDLE_FILE, Request, Signed
from kvorum.cluster.qdevice.changes import HOST_KEY_FILE, REMOVE, SETUP, Changer, recover, remove, setup
from kvorum.cluster.qdevice.device import Device
from kvorum.cluster.sequence import Journal, SequenceFailed
from kvorum.core.errors import Conflict, KvorumError
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.interface import Peers
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

AUTHORITY = Authority()
REQUEST = Request.make("home")  # one for all: a key takes a third of a second
DEVICE = Device("10.0.0.9", "ffsplit", 1)
KEY = "SHA256:" + "a" * 43
HERE = (
    Member(name="n1", nodeid=1, address="10.0.0.1", online=True),
    Member(name="n2", nodeid=2, address="10.0.0.2", online=True),
)


class DaemonEnds(BaseException):
    """pvedaemon dies here."""


class World(Peers):
    """Two nodes, a QDevice's host and Corosync; ``at`` names the moment that fails, ``dies`` how."""

    def __init__(self, path: Path) -> None:
        self.store = MemoryStore("n1")
        self.at, self.dies, self.way, self.calls = "", False, "", list[str]()
        self.changer = Changer(self.store, self, Journal(path / "change.json"), self)

    def reached(self, moment: str) -> None:
        if self.at == moment:
            if self.dies:
                raise DaemonEnds
            raise KvorumError(f"{moment} failed")

    async def call(
        self,
        node: str,
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
    ) -> object:
        what = path.rpartition("/")[2]
        self.calls.append(f"{node} {what}")
        if node == "n2":
            self.reached(f"{what} {'with' if self.has_device else 'before'} the device")
        return {"installed": True, "way": self.way if node == "n2" else ""}

    async def behind(self, version: int) -> list[str]:
        self.reached("corosync")
        return []

    async def cast(self) -> bool:
        self.reached("vote")
        return True

    async def state(self) -> str:
        return "Connecting"

    async def prepare(self) -> None:
        self.reached("prepare")

    async def sign(self, request: Request) -> Signed:
        self.reached("sign")
        return AUTHORITY.sign(request.der)

    @property
    def configuration(self) -> Configuration:
        file = self.store.read("corosync.conf")
        assert file is not None
        return Configuration.read(file.text)

    @property
    def has_device(self) -> bool:
        return self.configuration.device is not None

    @property
    def has_certificates(self) -> bool:
        both = [self.store.read(path) is not None for path in (AUTHORITY_FILE, BUNDLE_FILE)]
        assert len(set(both)) == 1
        return both[0]

    async def set_up(self) -> None:
        await setup(self.changer, self, DEVICE, KEY, True, lambda line: None, REQUEST)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    text = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"}))
    text = text.with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"}))
    await made.store.write("corosync.conf", text.text)
    made.store.set_membership(Membership("home", HERE, quorate=True, version=1, config_version=1))
    return made


MOMENTS = (
    "prepare",
    "install before the device",
    "sign",
    "check before the device",
    "follow before the device",
    "corosync",
    "follow with the device",
    "vote",
)


async def test_a_setup_is_in(world: World) -> None:
    log: list[str] = []
    await setup(world.changer, world, DEVICE, KEY, True, log.append, REQUEST)
    assert log == list(SETUP.steps)
    assert world.has_device and world.has_certificates
    assert world.configuration.total_votes == 3 and world.configuration.quorum == 2
    kept = world.store.read(HOST_KEY_FILE)
    assert kept is not None and kept.text == f"10.0.0.9 {KEY}\n"
    assert world.changer.journal.load() is None
    assert "n1 follow" in world.calls and "n2 follow" in world.calls


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_setup_that_fails_is_wholly_out_and_a_second_try_works(world: World, moment: str) -> None:
    world.at = moment
    with pytest.raises(SequenceFailed, match=f"{moment} failed; (everything|not all) was set back"):
        await world.set_up()
    assert not world.has_device and not world.has_certificates
    assert world.changer.journal.load() is None
    world.at = ""
    await world.set_up()
    assert world.has_device and world.has_certificates


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_daemon_that_dies_in_a_setup_undoes_it_when_it_is_back(world: World, moment: str) -> None:
    world.at, world.dies = moment, True
    with pytest.raises(DaemonEnds):
        await world.set_up()
    world.at = ""
    with pytest.raises(SequenceFailed, match="broken off by the end of pvedaemon; everything was set back"):
        await recover(world.changer, lambda line: None)
    assert not world.has_device and not world.has_certificates
    await world.set_up()
    assert world.has_device and world.has_certificates


def loses_quorum_at(world: World, step: str, log: list[str]) -> Callable[[str], None]:
    """A log that takes quorum away at a step, and gives it back when it is waited for."""
    here = world.store.membership

    def heard(line: str) -> None:
        log.append(line)
        if line == step:
            lost = Membership("home", HERE, False, 1, "no quorum: 1 of 2 votes are here")
            world.store.set_membership(lost)
        if line.startswith("waiting for quorum"):
            asyncio.get_running_loop().call_soon(world.store.set_membership, here)

    return heard


async def test_a_setup_that_loses_quorum_waits_for_it_to_be_set_back(world: World) -> None:
    log: list[str] = []
    heard = loses_quorum_at(world, "start corosync-qdevice on every node", log)
    world.at = "follow with the device"
    with pytest.raises(SequenceFailed, match="follow with the device failed; everything was set back"):
        await setup(world.changer, world, DEVICE, KEY, True, heard, REQUEST)
    assert "waiting for quorum to go on: no quorum: 1 of 2 votes are here" in log
    assert not world.has_device and not world.has_certificates


async def test_a_device_whose_vote_is_needed_takes_quorum_with_it_when_it_is_set_up_anew(
    world: World,
) -> None:
    await world.set_up()
    log: list[str] = []
    heard = loses_quorum_at(world, "import the certificates on every node", log)
    await setup(world.changer, world, Device("10.0.0.10", "ffsplit", 1), "", True, heard)
    assert "waiting for quorum to go on: no quorum: 1 of 2 votes are here" in log
    device = world.configuration.device
    assert device is not None and device.host == "10.0.0.10"


async def test_a_removal_goes_on_without_a_node_that_died_in_it(world: World) -> None:
    await world.set_up()
    world.at, log = "follow before the device", list[str]()
    await remove(world.changer, log.append)
    assert "n2: follow before the device failed; the node goes on with it by itself when it is back" in log
    assert not world.has_device and not world.has_certificates
    assert world.changer.journal.load() is None, "a second try is not held up"


async def test_an_anew_setup_that_fails_leaves_the_old_one(world: World) -> None:
    await world.set_up()
    before = [world.store.read(path) for path in (AUTHORITY_FILE, BUNDLE_FILE)]
    old = world.configuration.device
    world.at = "vote"
    with pytest.raises(SequenceFailed):
        await setup(world.changer, world, Device("10.0.0.10", "ffsplit", 1), "", True, lambda line: None)
    assert world.configuration.device == old
    now = [world.store.read(path) for path in (AUTHORITY_FILE, BUNDLE_FILE)]
    assert [file and file.data for file in now] == [file and file.data for file in before]


async def test_a_node_that_does_not_reach_qnetd_is_named_with_the_port(world: World) -> None:
    world.way = "Connection refused"
    with pytest.raises(
        SequenceFailed, match=r"at port 5403 by n2 \(Connection refused\): open TCP port 5403"
    ):
        await world.set_up()
    assert not world.has_device


async def test_a_removal_is_out(world: World) -> None:
    await world.set_up()
    log: list[str] = []
    await remove(world.changer, log.append)
    assert log == list(REMOVE.steps)
    assert not world.has_device and not world.has_certificates
    assert world.configuration.total_votes == 2


@pytest.mark.parametrize("moment", ["corosync", "follow before the device"])
async def test_a_removal_that_breaks_off_is_finished_when_the_daemon_is_back(
    world: World, moment: str
) -> None:
    await world.set_up()
    world.at, world.dies = moment, True
    with pytest.raises(DaemonEnds):
        await remove(world.changer, lambda line: None)
    world.at = ""
    with pytest.raises(Conflict, match="being set up or removed"):
        await remove(world.changer, lambda line: None)
    await recover(world.changer, lambda line: None)
    assert not world.has_device and not world.has_certificates


async def test_a_removal_that_would_cost_quorum_is_refused_unless_forced(world: World) -> None:
    await world.set_up()
    alone = (HERE[0], Member(name="n2", nodeid=2, address="10.0.0.2", online=False))
    world.store.set_membership(Membership("home", alone, quorate=True, version=1, config_version=1))
    with pytest.raises(SequenceFailed, match="would have 1 of the 2 votes needed"):
        await remove(world.changer, lambda line: None)
    assert world.has_device and world.has_certificates
    await remove(world.changer, lambda line: None, force=True)
    assert not world.has_device
