"""A disk goes to another storage: with real QEMUs, whoever stops or dies in the middle."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import guests_world
import pytest
from guests_world import QEMU, Lines, Node, World

from kvorum.core.errors import Conflict, KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.change import Changes
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import nodes
from kvorum.guests.move import mirror
from kvorum.guests.move.move import Mover, Wish
from kvorum.guests.move.truth import Truth
from kvorum.guests.move.wish import check, moved, snapshots_with

MIB = 1 << 20
CONF = "nodes/n1/qemu-server/100.conf"
pytestmark = pytest.mark.skipif(not shutil.which(QEMU), reason="no QEMU here")


class Moves:
    """One guest of node n1 with a disk on ``local``, and moves of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log = Lines()

    @property
    def node(self) -> Node:
        return self.world.nodes["n1"]

    @property
    def mover(self) -> Mover:
        return Mover(self.node.manager, self.node.storages, self.node.unfinished)

    async def setup(
        self, format: str = "qcow2", bus: str = "scsi0", size_mib: int = 8, hardware: str = "virtio-scsi-pci"
    ) -> None:
        self.node.unfinished.before_removing(Truth(self.node.manager, self.node.storages).restore)
        kind = self.node.storages.get("local")
        volume = await kind.allocate(100, size_mib * MIB, format)
        command = ["qemu-io", "-f", format, "-c", "write -P 7 1M 2M", str(kind.path(volume))]
        subprocess.run(command, check=True, capture_output=True)
        bus, _, thread = bus.partition("+")
        options = f"cache=writeback,size={size_mib}M" + (",iothread=1" if thread else "")
        disk = f"scsihw: {hardware}\n{bus}: {volume},{options}\n"
        text = f"memory: 32\nname: t\n{disk}serial0: socket\nvga: none\n"
        await self.world.shared.write(CONF, text)

    async def start(self) -> None:
        await self.node.manager.start(100)

    async def move(self, storage: str = "shared", key: str = "scsi0", **wish: object) -> None:
        await self.mover.move(Wish(100, key, storage, **wish), self.log)  # type: ignore[arg-type]

    @property
    def config(self) -> GuestConfig:
        return self.node.manager.registry.config(100)

    def images(self) -> set[str]:
        found = self.world.root.glob("*/images/**/*.*")
        return {str(path.relative_to(self.world.root)) for path in found}

    def volume(self, key: str = "scsi0") -> VolumeId:
        volume = self.config.disks[key].volume
        assert volume is not None
        return volume

    def holds(self, byte: int = 7, key: str = "scsi0") -> bool:
        kind = self.node.storages.of(self.volume(key))
        done = subprocess.run(
            ["qemu-io", "-r", "-U", "-f", kind.format(self.volume(key)), "-c", f"read -P {byte} 1M 2M",
             str(kind.path(self.volume(key)))],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return "verification failed" not in done.stdout

    async def file(self, key: str = "scsi0") -> str:
        return await nodes.current_file(self.node.manager.need_running(100).monitor, key)

    async def assert_one(self, key: str = "scsi0") -> None:
        """QEMU has one node of the disk, on the volume that the configuration names, and no job."""
        monitor = self.node.manager.need_running(100).monitor
        assert await mirror.jobs(monitor) == {}
        present = await nodes.present(monitor)
        assert sum(name in present for name in nodes.names(key)) == 1
        volume = self.volume(key)
        assert await self.file(key) == str(self.node.storages.of(volume).path(volume))
        assert list(self.node.paths.state.glob("unfinished/*")) == []


@pytest.fixture
async def moves(tmp_path: Path) -> AsyncIterator[Moves]:
    world = World(tmp_path, await guests_world.qemu_facts())
    await world.setup()
    yield Moves(world)
    await world.close()


@pytest.mark.parametrize("format", [None, "raw"])
@pytest.mark.parametrize("delete", [False, True])
async def test_a_disk_of_a_stopped_guest_is_copied(moves: Moves, format: str | None, delete: bool) -> None:
    await moves.setup()
    await moves.move(format=format, delete=delete)
    chosen = format or "qcow2"
    assert moves.volume().name == f"100/vm-100-disk-0.{chosen}" and moves.volume().storage == "shared"
    assert moves.config.disks["scsi0"].options == {"cache": "writeback", "size": "8M"}
    assert moves.holds()
    old = "local/images/100/vm-100-disk-0.qcow2"
    assert moves.images() == {f"shared/images/100/vm-100-disk-0.{chosen}"} | (set() if delete else {old})
    unused = [] if delete else ["local:100/vm-100-disk-0.qcow2"]
    assert [disk.file for disk in moves.config.unused.values()] == unused
    path = moves.node.storages.of(moves.volume()).path(moves.volume())
    assert path.stat().st_blocks * 512 < 4 * MIB, "what was a hole takes room"


@pytest.mark.parametrize("bus", ["scsi0", "virtio0", "sata0", "ide0", "scsi0+thread", "virtio0+thread"])
async def test_a_running_guest_s_disk_goes_over_there_and_back(moves: Moves, bus: str) -> None:
    await moves.setup(bus=bus, hardware="virtio-scsi-single" if "+" in bus else "virtio-scsi-pci")
    await moves.start()
    bus, _, thread = bus.partition("+")
    threads = await moves.node.manager.need_running(100).monitor.execute("query-iothreads")
    assert len(threads) == bool(thread)
    guest = moves.node.manager.need_running(100)
    for storage, format, delete in (("shared", "raw", False), ("local", "qcow2", True)):
        await moves.move(storage, bus, format=format, delete=delete)
        await moves.assert_one(bus)
        assert moves.volume(bus).storage == storage and guest.config.disks == moves.config.disks
        assert await guest.refresh() == "running"
    assert "the copy is in step" in moves.log.text
    assert len(moves.config.unused) == 1 and len(moves.images()) == 2
    changes = Changes(moves.node.manager, moves.node.storages, moves.node.unfinished)
    await changes.grow(100, bus, "16M", who="root@pam")
    await moves.node.manager.stop(100)
    assert moves.holds(key=bus)
    assert await moves.node.storages.of(moves.volume(bus)).size(moves.volume(bus)) == 16 * MIB
    await moves.start()
    await moves.assert_one(bus)


async def test_a_guest_that_wants_it_gives_back_what_it_does_not_use(
    moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moves.setup()
    config = moves.config.edit({"agent": "1,fstrim_cloned_disks=1"})
    await moves.world.shared.write(CONF, config.document.render())
    await moves.start()
    await moves.move()
    assert "VM 100: its file systems gave nothing back: QEMU guest agent is not running" in moves.log.text

    asked: list[str] = []

    class Agent:
        async def ask(self, command: str, *, deadline_s: float) -> object:
            asked.append(command)
            return {"paths": []}

    monkeypatch.setattr(moves.node.manager, "agent", lambda vmid: Agent())
    await moves.move("local")
    assert asked == ["guest-fstrim"]


async def test_the_copy_is_held_to_the_rate_and_a_stop_leaves_nothing(moves: Moves) -> None:
    await moves.setup(format="raw", size_mib=64)
    kind = moves.node.storages.of(moves.volume())
    subprocess.run(
        ["qemu-io", "-f", "raw", "-c", "write -P 7 0 64M", str(kind.path(moves.volume()))],
        check=True, capture_output=True,
    )  # fmt: skip
    before, text = moves.images(), moves.config.document.render()
    for running in (False, True):
        if running:
            await moves.start()
        moves.log.wanted["moving scsi0"] = begun = asyncio.Event()
        task = asyncio.create_task(moves.move(rate_kib_s=1024))
        await asyncio.wait_for(begun.wait(), 20)
        if running:
            moves.log.wanted["transferred"] = moving = asyncio.Event()
            await asyncio.wait_for(moving.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert moves.images() == before and moves.config.document.render() == text
    await moves.assert_one()
    assert moves.node.manager.need_running(100).status == "running"
    await moves.move()
    await moves.assert_one()


async def test_a_guest_that_dies_in_the_middle_keeps_its_disk(moves: Moves) -> None:
    await moves.setup(format="raw", size_mib=64)
    await moves.start()
    before = moves.images()
    moves.log.wanted["transferred"] = moving = asyncio.Event()
    task = asyncio.create_task(moves.move(rate_kib_s=64))
    await asyncio.wait_for(moving.wait(), 20)
    guest = moves.node.manager.need_running(100)
    await guest.process.kill()
    with pytest.raises(KvorumError):
        await task
    assert moves.images() == before
    assert moves.volume().storage == "local"


@pytest.mark.parametrize("step", ["in step", "committed", "over"])
async def test_a_daemon_that_dies_leaves_what_the_configuration_says(
    moves: Moves, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next daemon takes the copy if that was decided, and gives it up if not."""

    class Died(BaseException):
        pass

    async def dies(*_: object, **__: object) -> None:
        raise Died

    async def no_settling(*_: object, **__: object) -> None:
        return

    await moves.setup()
    await moves.start()
    with monkeypatch.context() as patch:
        patch.setattr(type(moves.node.unfinished), "_settle", no_settling)
        if step == "in step":
            patch.setattr(Mover, "_commit", dies)
        elif step == "committed":
            patch.setattr(mirror, "complete", dies)
        else:
            patch.setattr(mirror, "close_others", dies)
        with pytest.raises(Died):
            await moves.move(delete=True)
    there = step != "in step"
    assert moves.volume().storage == ("shared" if there else "local")
    assert len(moves.images()) == 2
    await moves.node.unfinished.settle_earlier()
    await moves.assert_one()
    assert moves.images() == {str(Path(moves.volume().storage, "images", moves.volume().name))}
    await moves.node.manager.stop(100)
    assert moves.holds()


async def test_a_copy_that_could_not_be_taken_is_named_by_nobody(
    moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was decided, and QEMU does not go over: the configuration goes back to what the guest writes to."""

    async def breaks(monitor: object, key: str) -> None:
        raise GuestError("the copy could not be taken: No space left on device")

    async def gone(monitor: object) -> dict[str, object]:
        return {}

    await moves.setup()
    await moves.start()
    monitor = moves.node.manager.need_running(100).monitor
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "complete", breaks)
        real = mirror.jobs
        looks = 0

        async def jobs(monitor: object) -> object:
            nonlocal looks
            found = await real(monitor)  # type: ignore[arg-type]
            if "scsi0" in found and moves.volume().storage == "shared":
                looks += 1
                if looks > 0:
                    await mirror.let_go_job(monitor, "scsi0")  # type: ignore[arg-type]
                    return {}
            return found

        patch.setattr(mirror, "jobs", jobs)
        with pytest.raises(GuestError, match="could not be taken"):
            await moves.move(delete=True)
    assert await real(monitor) == {}
    await moves.assert_one()
    assert moves.volume().storage == "local"
    assert moves.images() == {"local/images/100/vm-100-disk-0.qcow2"}


async def test_what_is_noted_wrong_before_anything_is_made(moves: Moves) -> None:
    await moves.setup()
    before = moves.images()
    for wish, said in (
        ({"storage": "local"}, "is on 'local' as qcow2"),
        ({"storage": "nowhere"}, "storage 'nowhere' does not exist"),
        ({"key": "scsi7"}, "disk 'scsi7' does not exist; VM 100 has scsi0"),
        ({"format": "vmdk"}, "can't keep the format 'vmdk'"),
    ):
        with pytest.raises(KvorumError, match=said):
            await moves.move(**{"storage": "shared", **wish})  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await moves.move(digest="0" * 40)
    assert moves.images() == before


def config(text: str) -> GuestConfig:
    return GuestConfig.parse(100, text)


WITH_SNAPSHOT = "scsi0: local:100/vm-100-disk-0.raw,size=1G\n\n[one]\nscsi0: local:100/vm-100-disk-0.raw\n"


def test_what_a_snapshot_needs_is_not_deleted() -> None:
    given = config(WITH_SNAPSHOT)
    volume = VolumeId.parse("local:100/vm-100-disk-0.raw")
    assert snapshots_with(given, volume) == ["one"]
    with pytest.raises(GuestError, match="snapshot 'one' needs"):
        check(given, Wish(100, "scsi0", "shared", delete=True), "raw", "raw")
    check(given, Wish(100, "scsi0", "shared"), "raw", "raw")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ide2: local:iso/x.iso,media=cdrom\n", "can't move a CD drive"),
        ("ide2: /dev/sdb\n", "or a path"),
        ("ide2: aa:1/vm-1-x.raw\n\n[PENDING]\nide2: aa:1/vm-1-y.raw\n", "waits for the next start"),
        ("ide2: aa:1/vm-1-x.raw\n\n[PENDING]\ndelete: ide2\n", "waits for the next start"),
    ],
)
def test_what_can_not_be_moved_is_said(text: str, said: str) -> None:
    with pytest.raises(GuestError, match=said):
        check(config(text), Wish(100, "ide2", "shared"), "raw", "raw")


def test_a_tpms_state_stays_raw() -> None:
    text = "tpmstate0: aa:1/vm-1-x.raw,version=v2.0\n"
    with pytest.raises(GuestError, match=r"tpmstate0 can't become qcow2: swtpm writes raw volumes only"):
        check(config(text), Wish(100, "tpmstate0", "shared"), "raw", "qcow2")
    check(config(text), Wish(100, "tpmstate0", "shared"), "raw", "raw")


async def test_a_running_guests_tpm_is_not_moved_and_its_disks_are(moves: Moves) -> None:
    await moves.setup()
    await moves.start()
    text = moves.config.document.render() + "tpmstate0: local:100/vm-100-disk-9.raw,version=v2.0\n"
    await moves.world.shared.write(CONF, text)
    with pytest.raises(GuestError, match=r"can't move the TPM's state while VM 100 is running"):
        await moves.move(key="tpmstate0")
    await moves.move()
    await moves.node.manager.stop(100)
    moves.mover.check(Wish(100, "tpmstate0", "shared"))


def test_the_old_volume_is_unused_deleted_or_another_guest_s() -> None:
    new = VolumeId.parse("bb:100/vm-100-disk-1.raw")
    own = config("scsi0: aa:100/vm-100-disk-0.raw,ssd=1,size=1G\nunused0: aa:100/vm-100-disk-9.raw\n")
    after = moved(own, Wish(100, "scsi0", "bb"), new, 2 << 30)
    assert after.settings["scsi0"] == "bb:100/vm-100-disk-1.raw,ssd=1,size=2G"
    assert after.settings["unused1"] == "aa:100/vm-100-disk-0.raw"
    assert "unused1" not in moved(own, Wish(100, "scsi0", "bb", delete=True), new, 1 << 30).settings
    other = config("scsi0: aa:99/vm-99-disk-0.raw,size=1G\n")
    assert not moved(other, Wish(100, "scsi0", "bb"), new, 1 << 30).unused
    unused = moved(own, Wish(100, "unused0", "bb", delete=True), new, 1 << 30)
    assert unused.settings["unused0"] == "bb:100/vm-100-disk-1.raw"
