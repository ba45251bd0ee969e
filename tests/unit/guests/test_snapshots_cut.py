"""A snapshot taken, gone back to or deleted leaves the guest as before or as after, wherever it breaks off.

At every write of a note, of the store and of an image the whole node is copied, and a next daemon begins on
the copy; and every one of these writes fails once. The images are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from guests_world import MemoryStore
from images_world import ImagesWorld, copy_of, fails_at, image_io, moments_of, opened

from kvorum.core.errors import Conflict, OutcomeUnknown
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, GuestLocked
from kvorum.guests.snapshots import tree
from kvorum.guests.snapshots.snapshots import Snapshots
from kvorum.guests.unfinished import Undertaking
from kvorum.storage import StorageError, disk_files, images

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
CONF = "nodes/n1/qemu-server/100.conf"
DISKS = ("vm-100-disk-0.qcow2", "vm-100-disk-1.qcow2")


class World(ImagesWorld):
    """VM 100 with two disks and their snapshots."""

    @property
    def snapshots(self) -> Snapshots:
        return self.node.snapshots

    async def setup(self) -> None:
        """A guest with snapshots one and two, the second with memory; what it holds is 1, then 2, then 3."""
        await self.configure({})
        local = self.node.storages.get("local")
        for _ in DISKS:
            await local.allocate(100, 1 << 20, "qcow2")
        disks = "".join(f"scsi{n}: local:100/{name},size=1M\n" for n, name in enumerate(DISKS))
        await self.store.write(CONF, f"memory: 64\n{disks}vmgenid: {uuid.uuid4()}\n")
        for content, name in ((1, "one"), (2, "two")):
            self.fill(content)
            await self.snapshots.take(100, name, who="root@pam", log=self.log)
        await local.allocate(100, 1 << 20, "raw", "vm-100-state-two.raw")
        text = self.text.replace("[two]\n", "[two]\nvmstate: local:100/vm-100-state-two.raw\n")
        await self.store.write(CONF, text)
        self.fill(3)

    def fill(self, content: int) -> None:
        for name in DISKS:
            image_io(self.images / name, "qcow2", f"write -P {content} 0 64k")

    def content(self) -> set[int]:
        """What the disks hold; more than one when they differ."""
        shown = (image_io(self.images / name, "qcow2", "read -v 0 16") for name in DISKS)
        return {int(text.split()[1], 16) for text in shown}

    @property
    def images(self) -> Path:
        return self.root / "vz/images/100"

    @property
    def text(self) -> str:
        return self.texts[100]

    async def inside(self) -> set[frozenset[str]]:
        """The names of the snapshots inside the images; more than one set when they differ."""
        local = self.node.storages.get("local")
        return {await local.snapshots(VolumeId("local", f"100/{name}")) for name in DISKS}

    async def assert_sound(self) -> None:
        """The guest and its snapshots are whole; no volume is nobody's; nothing is noted."""
        config = self.config()
        assert config.lock is None
        assert all(each.step is None for each in tree.snapshots(config).values())
        assert await self.inside() == {frozenset(tree.snapshots(config))}
        state = {v.name.rpartition("/")[2] for v in tree.volumes(config) if "-state-" in v.name}
        assert {path.name for path in self.images.iterdir()} == {*DISKS, *state}
        self.assert_nothing_noted()
        for name in DISKS:
            subprocess.run(["qemu-img", "check", "-q", self.images / name], check=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that is set up once; each test has copies of it."""
    world = World(tmp_path_factory.mktemp("prepared") / "world")
    asyncio.run(world.setup())
    return world


async def take(world: World) -> None:
    await world.snapshots.take(100, "three", description="x", who="root@pam", log=world.log)


async def roll_back(world: World) -> None:
    await world.snapshots.roll_back(100, "one", who="root@pam", log=world.log)


async def delete(world: World) -> None:
    await world.snapshots.delete(100, "two", who="root@pam", log=world.log)


STEPS: dict[str, Callable[[World], Awaitable[None]]] = {
    "take": take,
    "roll back": roll_back,
    "delete": delete,
}
WRITES: tuple[tuple[Any, str], ...] = (
    (Undertaking, "write"),
    (MemoryStore, "transact"),
    (images, "make_snapshot"),
    (images, "apply_snapshot"),
    (images, "delete_snapshot"),
    (disk_files, "remove"),
)


def shown(config: GuestConfig) -> str:
    """A configuration without what differs from run to run."""
    lines = config.document.render().splitlines()
    return "\n".join(line for line in lines if not line.startswith(("snaptime", "vmgenid")))


@pytest.mark.parametrize("step", STEPS)
async def test_whenever_the_daemon_dies_the_next_one_leaves_the_guest_whole(
    prepared: World, tmp_path: Path, step: str
) -> None:
    world = await copy_of(prepared, tmp_path / "world")
    await world.assert_sound()
    before = shown(world.config())
    moments = await moments_of(world, WRITES, STEPS[step], tmp_path)
    await world.assert_sound()
    after, at_the_end = shown(world.config()), world.content()
    assert after != before and len(moments) >= 8
    ends = set()
    for moment in moments:
        later = await opened(World, moment.at, moment.texts)
        await later.next_daemon()
        try:
            await later.assert_sound()
            whole = {(before, frozenset({3})), (after, frozenset(at_the_end))}
            assert (shown(later.config()), frozenset(later.content())) in whole
        except AssertionError as error:
            raise AssertionError(f"{moment.when} ({moment.at.name}): {error}") from error
        ends.add(shown(later.config()))
        if shown(later.config()) == before:
            await STEPS[step](later)
            await later.assert_sound()
    assert ends == {before, after}


@pytest.mark.parametrize("error", [StorageError("no room"), Conflict("changed"), asyncio.CancelledError()])
@pytest.mark.parametrize("step", STEPS)
async def test_whatever_fails_the_guest_is_whole_once_it_can_be(
    prepared: World, tmp_path: Path, step: str, error: BaseException
) -> None:
    """Each write fails once, before or after it was made; what was noted is settled, at the latest later."""
    failing, ended = 0, False
    while not ended:
        world = await copy_of(prepared, tmp_path / f"{failing}")
        before = shown(world.config())
        with contextlib.suppress(StorageError, Conflict, GuestError, asyncio.CancelledError):
            ended = await fails_at(world, WRITES, STEPS[step], failing, error)
        await world.next_daemon()
        await world.assert_sound()
        if step == "take" and not ended:
            assert shown(world.config()) == before or "three" in tree.snapshots(world.config())
        assert world.content() in ({3}, {1})
        failing += 1
    assert failing >= 8


async def test_a_disk_that_cant_go_back_keeps_the_guest_locked_until_it_can(
    prepared: World, tmp_path: Path
) -> None:
    world = await copy_of(prepared, tmp_path / "world")
    real = images.apply_snapshot

    async def stuck(path: Path, name: str) -> None:
        if path.name == DISKS[1]:
            raise StorageError("the storage is away")
        await real(path, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "apply_snapshot", stuck)
        with pytest.raises(GuestError, match=r"stays locked \(rollback\).*every minute"):
            await roll_back(world)
        assert world.config().lock == "rollback"
        with pytest.raises(GuestLocked, match="rollback"):
            await take(world)
        await world.next_daemon()
        assert world.config().lock == "rollback"
    assert "the storage is away" in world.log.text
    await world.next_daemon()
    await world.assert_sound()
    assert world.content() == {1}


async def test_a_snapshot_that_cant_be_deleted_leaves_the_guest_usable_and_goes_later(
    prepared: World, tmp_path: Path
) -> None:
    world = await copy_of(prepared, tmp_path / "world")

    async def stuck(path: Path, name: str) -> None:
        raise StorageError("the storage is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "delete_snapshot", stuck)
        with pytest.raises(StorageError, match="is away"):
            await delete(world)
        assert world.config().lock is None
        assert tree.snapshot(world.config(), "two").step is tree.Step.DELETE
        with pytest.raises(GuestError, match="not whole"):
            await world.snapshots.roll_back(100, "two", who="root@pam", log=world.log)
    await take(world)
    await world.next_daemon()
    await world.assert_sound()
    assert set(tree.snapshots(world.config())) == {"one", "three"}
    assert tree.snapshot(world.config(), "three").parent == "one"


async def test_with_force_a_snapshot_goes_though_a_disk_keeps_its(prepared: World, tmp_path: Path) -> None:
    world = await copy_of(prepared, tmp_path / "world")

    async def stuck(path: Path, name: str) -> None:
        raise StorageError("the storage is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "delete_snapshot", stuck)
        await world.snapshots.delete(100, "two", force=True, who="root@pam", log=world.log)
    assert set(tree.snapshots(world.config())) == {"one"}
    assert not (world.images / "vm-100-state-two.raw").exists()
    assert [text for text in world.log.warnings if "stays where it is: the storage is away" in text]


async def test_a_write_of_unknown_fate_that_took_effect_is_a_snapshot(
    prepared: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await copy_of(prepared, tmp_path / "world")
    real, calls = world.node.store.transact, 0

    async def lost(*arguments: Any, **options: Any) -> int:
        nonlocal calls
        calls += 1
        result = await real(*arguments, **options)
        if calls == 2:  # the first notes it
            raise OutcomeUnknown("the answer was lost")
        return result

    monkeypatch.setattr(world.node.store, "transact", lost)
    with pytest.raises(OutcomeUnknown):
        await take(world)
    await world.assert_sound()
    assert "three" in tree.snapshots(world.config())


async def test_what_has_no_snapshots_is_refused_by_its_name_and_nothing_changes(
    prepared: World, tmp_path: Path
) -> None:
    world = await copy_of(prepared, tmp_path / "world")
    before = world.text
    for line, told in (
        ("scsi2: local:100/vm-100-disk-7.raw", "scsi2 is 'local:100/vm-100-disk-7.raw'.*'local'.*qcow2"),
        (
            "tpmstate0: local:100/vm-100-disk-7.raw,version=v2.0",
            "swtpm writes raw volumes only, and storage 'local' has no snapshots of them; shut the guest",
        ),
        ("scsi2: /dev/sdx", "scsi2 is the path '/dev/sdx'"),
    ):
        await world.store.write(CONF, before.replace("scsi1:", f"{line}\nscsi1:", 1))
        with pytest.raises(GuestError, match=told):
            await take(world)
    await world.store.write(CONF, before.replace("scsi1:", "scsi2: none,media=cdrom\nscsi1:", 1))
    await take(world)
    await world.store.write(CONF, "template: 1\n" + before)
    with pytest.raises(GuestError, match="is a template"):
        await take(world)


async def test_a_guest_goes_back_only_to_what_is_there(prepared: World, tmp_path: Path) -> None:
    world = await copy_of(prepared, tmp_path / "world")
    with pytest.raises(GuestError, match="snapshot 'four' does not exist; VM 100 has: one, two"):
        await world.snapshots.roll_back(100, "four", who="root@pam", log=world.log)
    await world.node.storages.get("local").delete_snapshot(VolumeId("local", f"100/{DISKS[1]}"), "one")
    before = world.text
    with pytest.raises(StorageError, match=r"disk-1.qcow2' has no snapshot 'one'"):
        await roll_back(world)
    assert world.text == before and world.content() == {3}
