"""Snapshots of a guest that runs: it goes on whatever fails, and what is kept is of one instant.

QEMU is a stand-in (``fake_qemu``), so that each of its answers can be a refusal; the images are files.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from fake_qemu import Qemu
from guests_world import Lines, MemoryStore, Node

from kvorum.core.errors import Conflict
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import AgentAbsent, GuestError, QmpError, QmpLost
from kvorum.guests.snapshots import memory, tree
from kvorum.guests.snapshots.standstill import let_go_on
from kvorum.storage import StorageError, directory
from kvorum.storage.directory import DirectoryStorage
from kvorum.storage.kind import Capabilities, SnapshotBy

CONF = "nodes/n1/qemu-server/100.conf"
FACTS: Any = None


class Agent:
    """The guest's agent."""

    def __init__(self, absent: bool = False) -> None:
        self.absent = absent
        self.asked: list[str] = []

    async def ask(self, command: str, arguments: object = None, *, deadline_s: float = 10.0) -> object:
        if self.absent:
            raise AgentAbsent("QEMU guest agent is not running")
        self.asked.append(command)
        return 1


class World:
    """A node with one running guest of two disks."""

    def __init__(self, root: Path, *, ends: str = "completed", settings: str = "") -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.text = (
            f"{settings}memory: 64\nscsi0: local:100/vm-100-disk-0.qcow2,size=1M\n"
            "scsi1: local:100/vm-100-disk-1.qcow2,size=1M\n"
        )
        self.qemu = Qemu(GuestConfig.parse(100, self.text), ends=ends)
        self.manager = self.node.manager
        self.log = Lines()

    async def setup(self) -> None:
        await self.store.write("storage.cfg", f"dir: local\n\tpath {self.root}/vz\n\tcontent images\n")
        await self.store.write(CONF, self.text)
        (self.root / "vz/images/100").mkdir(parents=True)
        self.manager.workshop.files.prepare()
        self.manager._running[100] = self.qemu  # type: ignore[assignment]

    @property
    def config(self) -> GuestConfig:
        file = self.store.read(CONF)
        assert file is not None
        return GuestConfig.parse(100, file.text)

    async def take(self, with_memory: bool = True) -> None:
        await self.node.snapshots.take(100, "one", with_memory=with_memory, who="root@pam", log=self.log)

    def volumes(self) -> set[str]:
        return {path.name for path in (self.root / "vz/images/100").glob("*")}

    def assert_sound(self) -> None:
        """The guest runs; it has the snapshot whole or nothing of it."""
        assert self.qemu.status == "running" or self.qemu.closed.is_set()
        assert not self.qemu.record.standing
        assert not self.qemu.capabilities.get("mapped-ram") or self.qemu.closed.is_set()
        assert self.config.lock is None
        found = tree.snapshots(self.config)
        assert {frozenset(inside) for inside in self.qemu.snapshots.values()} == {frozenset(found)}
        named = {v.name.rpartition("/")[2] for v in tree.volumes(self.config) if "state" in v.name}
        assert self.volumes() == named
        assert not list(self.node.paths.state.glob("unfinished/*"))


@pytest.fixture
async def world(tmp_path: Path) -> World:
    it = World(tmp_path)
    await it.setup()
    return it


async def test_memory_and_disks_are_of_one_instant_and_the_guest_goes_on(world: World) -> None:
    await world.take()
    world.assert_sound()
    assert [c for c in world.qemu.still if not c.startswith("query")] == [
        "transaction", "migrate-continue", "migrate-set-capabilities", "cont",
    ]  # fmt: skip
    kept = tree.snapshot(world.config, "one")
    assert kept.memory == VolumeId("local", "100/vm-100-state-one.raw")
    assert kept.settings["runningmachine"] == "pc-i440fx-10.0"
    assert kept.settings["runningcpu"].startswith("qemu64,")
    assert "memory saved in" in world.log.text


async def test_disks_alone_are_one_transaction_for_which_nobody_stands_still(world: World) -> None:
    await world.take(with_memory=False)
    world.assert_sound()
    assert world.qemu.commands.count("transaction") == 1 and world.qemu.still == []
    assert tree.snapshot(world.config, "one").memory is None


async def test_a_storage_that_makes_its_own_has_the_guest_stand_still(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []

    async def snapshot(kind: DirectoryStorage, volume: VolumeId, name: str) -> None:
        states.append(world.qemu.status)
        world.qemu.snapshots["drive-scsi" + volume.name[-7]].add(name)

    own = Capabilities(
        shared=False, formats=("qcow2",), snapshots=frozenset({"qcow2"}), snapshots_by=SnapshotBy.STORAGE
    )
    monkeypatch.setattr(directory.DirectoryStorage, "capabilities", own)
    monkeypatch.setattr(directory.DirectoryStorage, "snapshot", snapshot)
    await world.take(with_memory=False)
    world.assert_sound()
    assert states == ["paused", "paused"] and "transaction" not in world.qemu.commands


async def steps(tmp_path: Path, with_memory: bool) -> int:
    """How often QEMU and the store are asked in one snapshot."""
    world = World(tmp_path / "count")
    await world.setup()
    await world.take(with_memory)
    return len(world.qemu.commands)


@pytest.mark.parametrize("error", [QmpError("refused"), None, QmpLost("gone")], ids=str)
@pytest.mark.parametrize("with_memory", [True, False], ids=["memory", "disks"])
async def test_whatever_qemu_refuses_the_guest_goes_on_and_nothing_stays(
    tmp_path: Path, with_memory: bool, error: Exception | None
) -> None:
    """``None``: the user stops the task there."""
    for step in range(await steps(tmp_path, with_memory)):
        world, count = World(tmp_path / f"{step}"), 0
        await world.setup()
        task = asyncio.create_task(world.take(with_memory))

        def fails(
            command: str, at: int = step, task: asyncio.Task[None] = task, world: World = world
        ) -> None:
            nonlocal count
            count += 1
            if count != at + 1:
                return
            if error is None:
                task.cancel()
                return
            if isinstance(error, QmpLost):
                world.qemu.closed.set()
                world.qemu.ended.set()
            raise error

        world.qemu.fails = fails
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(error, QmpLost):  # what QEMU had open is the storage's then
                _storage_deletes(patch, world.qemu)
            with contextlib.suppress(GuestError, asyncio.CancelledError):
                await task
            await world.node.snapshots.settle_earlier()
            await world.node.unfinished.settle_earlier()
        world.assert_sound()


def _storage_deletes(patch: pytest.MonkeyPatch, qemu: Qemu) -> None:
    async def delete_snapshot(kind: DirectoryStorage, volume: VolumeId, name: str) -> bool:
        qemu.snapshots["drive-scsi" + volume.name[-7]].discard(name)
        return True

    patch.setattr(directory.DirectoryStorage, "delete_snapshot", delete_snapshot)


async def test_a_full_storage_under_the_memory_leaves_the_guest_running(tmp_path: Path) -> None:
    world = World(tmp_path, ends="failed")
    await world.setup()
    with pytest.raises(GuestError, match="the memory could not be saved: QEMU says: No space left"):
        await world.take()
    world.assert_sound()
    assert not tree.snapshots(world.config)


async def test_a_write_that_the_store_refuses_takes_everything_back(tmp_path: Path) -> None:
    for refused in range(2):
        world = World(tmp_path / str(refused))
        await world.setup()
        world.node.store.failures = [*[None] * refused, Conflict("changed meanwhile")]
        with pytest.raises(Conflict):
            await world.take()
        world.assert_sound()
        assert not tree.snapshots(world.config)


async def test_a_guest_that_stood_still_before_stands_still_after(world: World) -> None:
    world.qemu.status = "paused"
    await world.take(with_memory=False)
    assert world.qemu.status == "paused" and "cont" not in world.qemu.commands


async def test_what_a_killed_daemon_had_stand_still_goes_on_with_the_next(world: World) -> None:
    reached = asyncio.Event()
    real = world.qemu.execute

    async def stuck(command: str, *arguments: Any, **options: Any) -> Any:
        if command == "transaction":
            reached.set()
            await asyncio.Event().wait()
        return await real(command, *arguments, **options)

    world.qemu.execute = stuck  # type: ignore[method-assign]
    task = asyncio.create_task(world.take())
    await reached.wait()
    assert world.qemu.status == "paused" and world.config.lock == "snapshot"
    files = world.manager.workshop.files
    noted = files.path(100, "json").read_bytes()
    assert b'"standing":true' in noted
    world.qemu.execute = real  # type: ignore[method-assign]

    later = Node("n1", world.root / "node", world.store, FACTS)
    later.manager._running[100] = world.qemu  # type: ignore[assignment]
    await let_go_on(later.manager, world.qemu)  # type: ignore[arg-type]
    assert world.qemu.status == "running" and world.qemu.migration == "cancelled"
    await later.snapshots.settle_earlier()
    await later.unfinished.settle_earlier()
    world.assert_sound()
    assert not tree.snapshots(world.config)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("absent", [False, True])
async def test_file_systems_are_at_rest_if_there_is_an_agent_and_no_memory_is_taken(
    tmp_path: Path, absent: bool
) -> None:
    for with_memory in (False, True):
        world = World(tmp_path / str(with_memory), settings="agent: 1\n")
        await world.setup()
        agent = Agent(absent)
        world.manager._agents[100] = agent  # type: ignore[assignment]
        await world.take(with_memory)
        world.assert_sound()
        frozen = [] if absent or with_memory else ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
        assert agent.asked == frozen
        if absent and not with_memory:
            assert "file systems are not frozen: QEMU guest agent is not running" in world.log.text


async def test_an_agent_that_may_not_freeze_is_not_asked(tmp_path: Path) -> None:
    world = World(tmp_path, settings="agent: 1,guest-fsfreeze=0\n")
    await world.setup()
    world.manager._agents[100] = agent = Agent()  # type: ignore[assignment]
    await world.take(with_memory=False)
    assert agent.asked == []


async def test_a_frozen_guest_thaws_when_its_snapshot_fails(tmp_path: Path) -> None:
    world = World(tmp_path, settings="agent: 1\n")
    await world.setup()
    world.manager._agents[100] = agent = Agent()  # type: ignore[assignment]

    def full(command: str) -> None:
        if command == "transaction":
            raise QmpError("No space left on device")

    world.qemu.fails = full
    with pytest.raises(QmpError, match="No space left"):
        await world.take(with_memory=False)
    assert agent.asked == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
    world.assert_sound()


async def test_a_running_guests_snapshot_is_deleted_by_its_qemu_and_its_memory_goes(world: World) -> None:
    await world.take()
    await world.node.snapshots.delete(100, "one", who="root@pam", log=world.log)
    world.assert_sound()
    assert not tree.snapshots(world.config) and world.volumes() == set()


async def test_a_guest_that_writes_too_fast_is_stopped_after_some_passes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TICK_S", 0.001)
    real, passes = world.qemu.execute, 0

    async def busy(command: str, *arguments: Any, **options: Any) -> Any:
        nonlocal passes
        if command == "migrate":
            world.qemu._tell("active")
            return {}
        if command == "query-migrate" and world.qemu.migration == "active":
            passes += 1
            ram = {"total": 1 << 20, "remaining": 1 << 19, "transferred": passes, "dirty-sync-count": passes}
            return {"status": "active", "ram": ram}
        answer = await real(command, *arguments, **options)
        if command == "stop":
            world.qemu._tell("pre-switchover")
        return answer

    world.qemu.execute = busy  # type: ignore[method-assign]
    await world.take()
    world.assert_sound()
    assert passes == memory.MAX_PASSES + 1
    assert "stands still until saved" in world.log.text


async def test_a_state_volume_that_cant_be_made_is_said_and_the_guest_never_stands_still(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, settings="vmstatestorage: elsewhere\n")
    await world.setup()
    with pytest.raises(StorageError, match="elsewhere"):
        await world.take()
    assert world.qemu.still == []
    world.assert_sound()
