"""What was left on a node is listed with what to do, and goes at a word; nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from guests_world import Lines, MemoryStore, Node

from kvorum.core.ids import VolumeId
from kvorum.guests.leftovers import Leftovers, strays
from kvorum.guests.move.rescan import Rescan
from kvorum.guests.unfinished import Note, Undertaking
from kvorum.storage import HalfMade, StorageError, Volume, disk_files

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
FACTS: Any = None
CONF = "nodes/n1/qemu-server/100.conf"
NOTE = Note(vmid=100, purpose="clone", volumes=("local:100/vm-100-disk-1.raw",))


class World:
    """A node with VM 100, whose disk is on a directory that two storages name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.half_made = HalfMade(self.node.storages, self.node.paths.state / "half-made")
        unfinished = self.node.unfinished
        self.leftovers = Leftovers(
            self.node.manager, self.node.storages, unfinished, self.half_made,
            [unfinished, self.node.snapshots, self.node.suspensions, self.node.templates],
        )  # fmt: skip
        self.log = Lines()

    async def setup(self) -> None:
        (self.root / "vz").mkdir()
        text = "".join(
            f"dir: {name}\n\tpath {self.root}/vz\n\tcontent images\n\n" for name in ("local", "same")
        )
        await self.store.write("storage.cfg", text)
        await self.volume(100, 0)
        await self.store.write(CONF, "scsi0: same:100/vm-100-disk-0.raw,size=1M\n")

    async def volume(self, vmid: int, number: int) -> str:
        name = f"vm-{vmid}-disk-{number}.raw"
        return str(await self.node.storages.get("local").allocate(vmid, 1 << 20, "raw", name))

    @property
    def images(self) -> set[str]:
        return {path.name for path in self.root.glob("vz/images/*/*")}

    async def kinds(self) -> list[tuple[str, str]]:
        return [(left.kind, left.volume) for left in await self.leftovers.found()]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.setup()
    return world


async def test_where_nothing_was_left_nothing_is_listed_though_two_storages_have_one_place(
    world: World,
) -> None:
    assert await world.leftovers.found() == []
    await Rescan(world.node.manager, world.node.storages).run([100], world.log, "root@pam")
    file = world.store.read(CONF)
    assert file is not None and "unused" not in file.text, "its disk under the other name is not another one"


async def test_what_is_noted_is_listed_and_goes_at_a_word(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.volume(100, 1)
    Undertaking(world.node.paths.state / "unfinished/100-x.json", NOTE).write(NOTE)
    await world.volume(102, 0)
    earlier = HalfMade(world.node.storages, world.node.paths.state / "half-made")
    earlier.note(volume="local:102/vm-102-disk-0.raw")
    assert await world.kinds() == [
        ("noted", "local:102/vm-102-disk-0.raw"),
        ("noted", "local:100/vm-100-disk-1.raw"),
    ]

    def stuck(path: Path, is_disk: bool) -> bool:
        raise StorageError("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(disk_files, "remove", stuck)
        await world.leftovers.clean(world.log)
    assert len(await world.kinds()) == 2 and "the storage is away" in world.log.text
    await world.leftovers.clean(world.log)
    assert await world.kinds() == [] and world.images == {"vm-100-disk-0.raw"}


async def test_what_is_under_way_is_not_left(world: World) -> None:
    async with (
        world.node.manager.exclusive(100, "clone"),
        world.node.unfinished.undertaking(100, "clone") as under_way,
    ):
        made = await world.node.storages.get("local").allocate(
            100, 1 << 20, "raw", reserving=under_way.reserving
        )
        await world.store.write(CONF, "lock: clone\nscsi0: same:100/vm-100-disk-0.raw,size=1M\n")
        assert await world.leftovers.found() == []
        assert VolumeId.parse(str(made)).name in {f"100/{name}" for name in world.images}


async def test_volumes_of_guests_that_dont_exist_go_only_when_that_is_asked(world: World) -> None:
    orphan, unnamed = await world.volume(103, 0), await world.volume(100, 2)
    assert await world.kinds() == [("unnamed", unnamed), ("orphan", orphan)]
    await world.leftovers.clean(world.log)
    assert len(world.images) == 3 and "qm disk rescan --vmid 100" in world.log.text
    await world.leftovers.clean(world.log, orphans=True)
    assert await world.kinds() == [("unnamed", unnamed)]


async def test_a_guest_that_lies_suspended_on_disk_is_no_leftover(world: World) -> None:
    """To lift its lock would be to give its memory up."""
    memory = await world.node.storages.get("local").allocate(100, 1 << 20, "raw", "vm-100-state-suspend.raw")
    kept = f"lock: suspended\nvmstate: {memory}\nrunningmachine: pc-i440fx-10.0\nrunningcpu: qemu64\n"
    await world.store.write(CONF, f"{kept}scsi0: same:100/vm-100-disk-0.raw,size=1M\n")
    assert await world.leftovers.found() == []
    await world.leftovers.clean(world.log, orphans=True)
    assert "vm-100-state-suspend.raw" in world.images


async def test_a_suspension_that_was_not_finished_is_given_up_at_a_word(world: World) -> None:
    await world.store.write(CONF, "lock: suspending\nscsi0: same:100/vm-100-disk-0.raw,size=1M\n")
    await world.leftovers.clean(world.log)
    file = world.store.read(CONF)
    assert file is not None and "lock" not in file.text
    assert any("was not suspended to disk" in line for line in world.log.lines)


async def test_a_lock_that_nothing_holds_is_told_with_the_way_to_lift_it(world: World) -> None:
    await world.store.write(CONF, "lock: backup\nscsi0: same:100/vm-100-disk-0.raw,size=1M\n")
    (left,) = await world.leftovers.found()
    assert left.why == "VM 100 is locked (backup), and nothing here holds it: qm unlock 100"


def test_a_guest_of_another_node_has_its_shared_volumes_and_no_local_ones_here() -> None:
    volumes = [
        Volume(volid=f"{storage}:7/vm-7-disk-0.raw", content="images", format="raw", size=1, used=1, vmid=7)
        for storage in ("local", "shared")
    ]
    (left,) = strays(volumes, {7: False}, "", {"local"}, (), ())
    assert (left.kind, left.volume) == ("unnamed", "local:7/vm-7-disk-0.raw")
    assert "which is on another node: pvesm free local:7/vm-7-disk-0.raw" in left.why
    assert strays(volumes, {7: False}, "", {"local"}, (), {7}) == [], "it is on its way"
