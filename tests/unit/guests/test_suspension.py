"""A guest suspended to disk or woken is whole wherever it breaks off: on disk, running, or off as by a cut.

At each write, and at each word to QEMU, the node is copied; then either the power goes (no QEMU is left) or
the daemon dies (QEMU is as it was). It never runs on beside a memory that a start would go on from.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_qemu import Qemu
from guests_world import Lines, MemoryStore, Node
from moments import around

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, GuestLocked, QmpError, QmpLost
from kvorum.guests.machine.guest import Workshop
from kvorum.guests.suspend import state
from kvorum.guests.unfinished import Undertaking
from kvorum.storage import StorageError, disk_files

CONF = "nodes/n1/qemu-server/100.conf"
FACTS: Any = None
TEXT = "memory: 64\nscsi0: local:100/vm-100-disk-0.qcow2,size=1M\n"
WRITES: tuple[tuple[Any, str], ...] = (
    (Undertaking, "write"),
    (MemoryStore, "transact"),
    (disk_files, "remove"),
    (Qemu, "execute"),
    (Qemu, "stop"),
)


class World:
    """A node with one guest of one disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.manager = self.node.manager
        self.log = Lines()
        self.began: list[dict[str, Any]] = []
        """With what each QEMU was begun."""

    async def setup(self, text: str = TEXT, qemu: Qemu | None = None) -> World:
        await self.store.write("storage.cfg", f"dir: local\n\tpath {self.root}/vz\n\tcontent images\n")
        await self.store.write(CONF, text)
        self.images.mkdir(parents=True, exist_ok=True)
        self.manager.workshop.files.prepare()
        if qemu is not None and not qemu.ended.is_set():
            qemu.config = GuestConfig.parse(100, text)
            self.manager.adopt(qemu)  # type: ignore[arg-type]
        return self

    @property
    def images(self) -> Path:
        return self.root / "vz/images/100"

    @property
    def text(self) -> str:
        file = self.store.read(CONF)
        assert file is not None
        return file.text

    @property
    def config(self) -> GuestConfig:
        return GuestConfig.parse(100, self.text)

    @property
    def qemu(self) -> Qemu | None:
        guest: Any = self.manager.running(100)
        return None if guest is None or guest.ended.is_set() else guest

    async def suspend(self) -> None:
        await self.node.suspensions.suspend(100, who="root@pam", log=self.log)

    async def wake(self) -> None:
        await self.manager.start(100, say=self.log.line)

    async def next_daemon(self) -> None:
        await self.node.suspensions.attached()
        await self.node.unfinished.settle_earlier()
        await self.node.suspensions.settle_earlier()
        await self.node.unfinished.settle_earlier()

    def assert_sound(self) -> None:
        """It lies on disk and nothing of it runs, or it does not and nothing lies there."""
        memory = state.memory(self.config)
        assert {path.name for path in self.images.glob("*")} == (
            set() if memory is None else {memory.name.rpartition("/")[2]}
        )
        assert self.config.lock == (None if memory is None else "suspended")
        assert self.qemu is None or (memory is None and self.qemu.status == "running")
        assert self.qemu is None or not self.qemu.record.standing
        assert not list(self.node.paths.state.glob("unfinished/*"))


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """QEMUs that are begun are stand-ins, which wait for memory."""
    asked: list[dict[str, Any]] = []

    async def start(workshop: Workshop, config: GuestConfig, **options: Any) -> Qemu:
        asked.append(options)
        return Qemu(config, status="inmigrate" if options.get("incoming") else "prelaunch")

    monkeypatch.setattr(Workshop, "start", start)
    return asked


async def running(at: Path) -> World:
    return await World(at).setup(qemu=Qemu(GuestConfig.parse(100, TEXT)))


async def asleep(at: Path) -> World:
    world = await running(at)
    await world.suspend()
    return world


async def test_a_suspended_guest_is_off_and_a_start_goes_on_from_its_memory(
    tmp_path: Path, begun: list[dict[str, Any]]
) -> None:
    world = await running(tmp_path)
    qemu = world.qemu
    await world.suspend()
    world.assert_sound()
    assert world.qemu is None and qemu is not None and qemu.end_reason
    kept = world.config
    assert kept.text("vmstate").startswith("local:100/vm-100-state-suspend-")
    assert kept.text("runningmachine") == "pc-i440fx-10.0" and kept.text("runningcpu").startswith("qemu64,")
    await world.wake()
    world.assert_sound()
    assert world.text == TEXT and world.qemu is not None and world.qemu.config.lock is None
    assert begun == [
        {"machine": "pc-i440fx-10.0", "cpu": kept.text("runningcpu"), "incoming": True}
    ]  # fmt: skip
    assert world.qemu.commands.index("migrate-incoming") < world.qemu.commands.index("cont")


@dataclass
class Moment:
    """A copy of a node, as a daemon's death leaves it."""

    at: Path
    text: str
    qemu: Qemu | None
    when: str


@pytest.mark.parametrize("dies", ["power", "daemon"])
@pytest.mark.parametrize("step", ["suspend", "wake"])
async def test_whenever_power_or_daemon_goes_the_guest_is_whole(tmp_path: Path, step: str, dies: str) -> None:
    world = await (running if step == "suspend" else asleep)(tmp_path / "world")
    moments: list[Moment] = []

    def copied(when: str) -> None:
        at, qemu = tmp_path / f"copy{len(moments)}", world.qemu
        shutil.copytree(world.root, at)
        moments.append(Moment(at, world.text, _copy(qemu) if dies == "daemon" else None, when))

    with pytest.MonkeyPatch.context() as patch:
        around(patch, WRITES, copied)
        await getattr(world, step)()
    world.assert_sound()
    assert len(moments) >= 20
    ends = set()
    for moment in moments:
        later = await World(moment.at).setup(moment.text, moment.qemu)
        try:
            await later.next_daemon()
            later.assert_sound()
            if later.qemu is None and later.config.lock == "suspended":
                ends.add("on disk")
                await later.wake()
            elif later.qemu is None:
                ends.add("off")
                assert dies == "power"
            else:
                ends.add("runs")
            later.assert_sound()
            assert later.text == TEXT
        except Exception as error:
            raise AssertionError(f"{moment.when} ({moment.at.name}): {error!r}") from error
    assert ends == {"on disk", "off" if dies == "power" else "runs"}


@pytest.mark.parametrize("step", ["suspend", "wake"])
async def test_a_write_that_takes_effect_after_the_daemon_has_died_decides(tmp_path: Path, step: str) -> None:
    """The next daemon takes the guest up before the write that the dead one had sent is there."""
    world = await (running if step == "suspend" else asleep)(tmp_path / "world")
    sent: list[tuple[Path, str, Qemu | None]] = []
    late: list[str] = []

    def copied(when: str) -> None:
        if when == "before transact":
            at = tmp_path / f"copy{len(sent)}"
            shutil.copytree(world.root, at)
            sent.append((at, world.text, _copy(world.qemu)))
        elif when == "after transact":
            late.append(world.text)

    with pytest.MonkeyPatch.context() as patch:
        around(patch, [(MemoryStore, "transact")], copied)
        await getattr(world, step)()
    assert len(sent) == len(late) >= 1 and late[-1] != sent[0][1]
    for (at, before, qemu), after in zip(sent, late, strict=True):
        later = await World(at).setup(before, qemu)
        await later.node.suspensions.attached()
        runs = later.qemu is not None and later.qemu.status == "running"
        assert not (runs and "lock: suspended" in before + after), "beside memory that a start goes on from"
        await later.store.write(CONF, after)
        await later.next_daemon()
        later.assert_sound()


def _copy(qemu: Qemu | None) -> Qemu | None:
    """QEMU as it is at this moment, for a next daemon to talk to. A migration under way goes on by itself."""
    if qemu is None:
        return None
    made = Qemu(qemu.config, status=qemu.status)
    made.record, made.migration = qemu.record, qemu.migration
    made.capabilities = copy.copy(qemu.capabilities)
    return made


@pytest.mark.parametrize(
    "error",
    [QmpError("refused"), QmpLost("gone"), StorageError("no room"), Conflict("changed"),
     OutcomeUnknown("lost"), asyncio.CancelledError()],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
@pytest.mark.parametrize("step", ["suspend", "wake"])
async def test_whatever_fails_once_the_guest_is_whole(
    tmp_path: Path, step: str, error: BaseException
) -> None:
    failing, ended = 0, False
    while not ended:
        world, count = await (running if step == "suspend" else asleep)(tmp_path / f"{failing}"), 0

        def fails(when: str, at: int = failing, world: World = world) -> None:
            nonlocal count
            count += 1
            if count == at + 1:
                if isinstance(error, QmpLost) and world.qemu is not None:
                    world.qemu.closed.set()
                    world.qemu.ended.set()
                raise error

        with pytest.MonkeyPatch.context() as patch:
            around(patch, WRITES, fails)
            with contextlib.suppress(KvorumError, asyncio.CancelledError):
                await getattr(world, step)()
            ended = count <= failing
        await world.next_daemon()
        try:
            world.assert_sound()
        except AssertionError as wrong:
            raise AssertionError(f"the {failing + 1}th: {wrong}") from wrong
        failing += 1
    assert failing >= 20


async def test_without_quorum_at_the_deciding_write_it_stands_still_until_that_is_known(
    tmp_path: Path,
) -> None:
    world = await running(tmp_path)
    none = NoQuorum("cluster not ready - no quorum?")
    world.node.store.failures = [None, OutcomeUnknown("lost"), none, none]
    with pytest.raises(OutcomeUnknown):
        await world.suspend()
    assert world.qemu is not None and world.qemu.status != "running"
    assert "can't be settled now" in world.log.text and "every minute" in world.log.text
    await world.next_daemon()
    world.assert_sound()
    assert world.qemu is not None and world.text == TEXT


async def test_a_full_storage_under_the_memory_leaves_the_guest_running(tmp_path: Path) -> None:
    qemu = Qemu(GuestConfig.parse(100, TEXT), ends="failed")
    world = await World(tmp_path).setup(qemu=qemu)
    with pytest.raises(GuestError, match="the memory could not be saved: QEMU says: No space left"):
        await world.suspend()
    world.assert_sound()
    assert world.qemu is qemu and world.text == TEXT


async def test_memory_that_cant_be_loaded_stays_and_the_guest_stays_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await asleep(tmp_path)

    async def start(workshop: Workshop, config: GuestConfig, **options: Any) -> Qemu:
        return Qemu(config, status="inmigrate", ends="failed")

    with monkeypatch.context() as patch:
        patch.setattr(Workshop, "start", start)
        with pytest.raises(GuestError, match="the memory could not be loaded"):
            await world.wake()
    world.assert_sound()
    assert world.qemu is None and world.config.lock == "suspended"
    await world.wake()
    world.assert_sound()


async def test_memory_that_is_gone_is_said_with_the_way_out(tmp_path: Path) -> None:
    world = await asleep(tmp_path)
    for path in world.images.iterdir():
        path.unlink()
    with pytest.raises(GuestError, match=r"is not there.*'qm unlock 100' lets it start anew"):
        await world.wake()
    await world.node.suspensions.forget(100, "root@pam")
    world.assert_sound()
    assert world.text == TEXT


async def test_what_lies_on_disk_is_locked_and_forgotten_by_unlock(tmp_path: Path) -> None:
    world = await asleep(tmp_path)
    with pytest.raises(GuestLocked, match=r"VM is locked \(suspended\)"):
        await world.node.snapshots.take(100, "one", who="root@pam", log=world.log)
    with pytest.raises(GuestLocked, match=r"VM is locked \(suspended\)"):
        await world.suspend()
    await world.node.suspensions.forget(100, "root@pam")
    world.assert_sound()
    assert world.text == TEXT


async def test_a_guest_let_run_in_spite_of_it_is_the_truth(tmp_path: Path) -> None:
    world = await asleep(tmp_path)
    world.manager.adopt(Qemu(world.config))  # type: ignore[arg-type]
    await world.next_daemon()
    world.assert_sound()
    assert world.text == TEXT and world.qemu is not None


async def test_a_storage_that_does_not_exist_is_said_before_anything_happens(tmp_path: Path) -> None:
    world = await running(tmp_path)
    with pytest.raises(StorageError, match="elsewhere"):
        await world.node.suspensions.suspend(100, storage="elsewhere", who="root@pam", log=world.log)
    world.assert_sound()
    assert world.qemu is not None and world.qemu.commands == []
