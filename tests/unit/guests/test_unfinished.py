"""A change of a guest that is broken off anywhere leaves the guest as before or as after, and nothing else.

"Anywhere" is taken at its word: at every write of a note, of the store and of an image the whole node is
copied, and a next daemon begins on the copy.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from guests_world import Lines, MemoryStore, Node
from moments import around
from stand_ins import Everything

from kvorum.core import durable
from kvorum.core.errors import Conflict, OutcomeUnknown
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.methods import configuration
from kvorum.guests.unfinished import Note, Undertaking, Unfinished
from kvorum.interface import Context, Identity, Services, Work
from kvorum.storage import StorageError, Storages, disk_files, images
from kvorum.store import Membership

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
CONF = "nodes/n1/qemu-server/100.conf"
FACTS: Any = None
"""Nothing is started here."""


class World:
    """One node under a directory, and the methods as its root calls them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "vz").mkdir(parents=True, exist_ok=True)
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.log = Lines()
        services = Services()
        for kind, service in (
            (type(self.node.manager), self.node.manager),
            (Storages, self.node.storages),
            (Unfinished, self.node.unfinished),
        ):
            services.add(kind, service)
        self.context = Context(self.node.store, services, Identity("root@pam"), Everything())

    async def setup(self) -> None:
        text = f"dir: local\n\tpath {self.root}/vz\n\tcontent images\n"
        await self.store.write("storage.cfg", text)

    async def do(self, method: Callable[..., Awaitable[Work | None]], values: dict[str, object]) -> None:
        """Call a method and carry its work out."""
        parameters = method.__annotations__["p"]
        kind = getattr(configuration, parameters) if isinstance(parameters, str) else parameters
        work = await method(self.context, kind(node="n1", vmid=100, **values))
        if work is not None:
            await work.run(self.log)

    @property
    def images(self) -> set[str]:
        return {path.name for path in self.root.glob("vz/images/**/*") if path.is_file()}

    @property
    def notes(self) -> list[Path]:
        return list(self.node.paths.state.glob("unfinished/*"))

    def config(self) -> GuestConfig | None:
        file = self.store.read(CONF)
        return GuestConfig.parse(100, file.text) if file is not None else None

    def assert_sound(self) -> None:
        """The guest is whole or not there; no image is nobody's; nothing is noted."""
        config, named = self.config(), set()
        if config is not None:
            assert config.lock is None
            named = {
                disk.volume.name.rpartition("/")[2]
                for disk in {**config.disks, **config.unused}.values()
                if disk.volume
            }
        assert self.images == named
        assert self.notes == []
        assert config is not None or not list(self.root.glob("vz/images/*")), "a folder stays"


async def broken_off(world: World, at: Path, text: str, config: str | None) -> World:
    """What the next daemon finds, when the last one died at the moment that was copied to ``at``."""
    later = World(at)
    await later.store.write("storage.cfg", text.replace(str(world.root), str(at)))
    if config is not None:
        await later.store.write(CONF, config)
    return later


CHANGES: dict[str, tuple[Any, dict[str, object]]] = {
    "create": (configuration.create, {"scsi0": "local:0.001", "scsi1": "local:0.001,format=qcow2"}),
    "create by import": (configuration.create, {"scsi0": "local:0,import-from=SOURCE"}),
    "import": (configuration.import_disk, {"source": "SOURCE", "storage": "local"}),
    "add a disk": (configuration.update, {"scsi7": "local:0.001"}),
    "add a disk by a task": (configuration.update_task, {"scsi7": "local:0.001"}),
    "replace a disk": (configuration.update, {"scsi0": "local:0.002,format=qcow2"}),
    "drop an unused disk": (configuration.update, {"delete": "unused0"}),
    "drop a drive and its disk": (configuration.update_task, {"delete": "ide0", "force": "1"}),
    "destroy": (configuration.destroy, {}),
}


async def begun(tmp_path: Path, change: str) -> tuple[World, Any, dict[str, object]]:
    """A world in which the change can be made."""
    world = World(tmp_path / "world")
    await world.setup()
    source = tmp_path / "source.raw"
    source.write_bytes(bytes(1 << 20))
    method, values = CHANGES[change]
    if method is not configuration.create:
        await world.do(configuration.create, {"scsi0": "local:0.001", "ide0": "local:0.001"})
        if "unused" in change:
            await world.do(configuration.import_disk, {"source": str(source), "storage": "local"})
        world.assert_sound()
    values = {k: str(v).replace("SOURCE", str(source)) for k, v in values.items()}
    return world, method, values


@pytest.mark.parametrize("change", CHANGES)
async def test_whenever_the_daemon_dies_the_next_one_leaves_nothing_half_made(
    tmp_path: Path, change: str
) -> None:
    world, method, values = await begun(tmp_path, change)
    moments: list[tuple[Path, str, str | None, str]] = []

    def copy(when: str) -> None:
        at = tmp_path / f"copy{len(moments)}"
        shutil.copytree(world.root, at)
        file, text = world.store.read(CONF), world.store.read("storage.cfg")
        assert text is not None
        moments.append((at, text.text, file.text if file else None, when))

    writes = (
        (Undertaking, "write"),
        (type(world.store), "transact"),
        (images, "create"),
        (images, "convert"),
        (disk_files, "remove"),
    )
    with pytest.MonkeyPatch.context() as patch:
        around(patch, writes, copy)
        await world.do(method, values)
    world.assert_sound()
    assert len(moments) >= 6
    for at, text, config, when in moments:
        later = await broken_off(world, at, text, config)
        await later.node.unfinished.settle_earlier()
        try:
            later.assert_sound()
        except AssertionError as error:
            raise AssertionError(f"{when} ({at.name}): {error}") from error
        before, after = moments[0][2], world.config()
        found = later.config()
        assert str(found) in (str(before and GuestConfig.parse(100, before)), str(after)), when
        if method is not configuration.destroy and (found is None) == (before is None):
            await later.do(
                method, {**values, "scsi9": "local:0.001"} if method is configuration.update else values
            )
            later.assert_sound()


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "destroy"])
async def test_a_change_that_is_cancelled_or_fails_leaves_nothing(tmp_path: Path, change: str) -> None:
    for error in (Conflict("changed meanwhile"), asyncio.CancelledError()):
        world, method, values = await begun(tmp_path / type(error).__name__, change)
        before, images_before = world.config(), world.images
        creates = method is configuration.create
        world.node.store.failures = [None, error] if creates else [error]  # the first is the lock
        with pytest.raises(type(error)):
            await world.do(method, values)
        assert str(world.config()) == str(before)
        assert world.images == images_before
        world.assert_sound()


async def test_a_disk_that_a_snapshot_names_stays_when_its_entry_goes(tmp_path: Path) -> None:
    world, _, _ = await begun(tmp_path, "drop an unused disk")
    file = world.store.read(CONF)
    assert file is not None
    await world.store.write(CONF, f"{file.text}[before]\nscsi3: local:100/vm-100-disk-2.raw\n")
    await world.do(configuration.update, {"delete": "unused0"})
    config = world.config()
    assert config is not None and not config.unused
    assert "vm-100-disk-2.raw" in world.images and world.notes == []


async def test_a_write_of_unknown_fate_that_took_effect_keeps_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, _ = await begun(tmp_path, "import")
    real = world.node.store.transact

    async def lost(*arguments: Any, **options: Any) -> int:
        monkeypatch.undo()
        await real(*arguments, **options)
        raise OutcomeUnknown("the answer was lost")

    monkeypatch.setattr(world.node.store, "transact", lost)
    with pytest.raises(OutcomeUnknown):
        await world.do(configuration.update, {"scsi7": "local:0.001"})
    config = world.config()
    assert config is not None and "scsi7" in config.disks
    world.assert_sound()


async def test_without_quorum_it_waits_and_then_is_settled(tmp_path: Path) -> None:
    world, _, _ = await begun(tmp_path, "import")
    whole = world.store.membership
    lost = Membership(whole.cluster, whole.members, False, 2, "one of three")
    real = images.create

    async def and_the_quorum_goes(*arguments: Any) -> None:
        await real(*arguments)
        world.store.set_membership(lost)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "create", and_the_quorum_goes)
        with pytest.raises(Exception, match="one of three"):
            await world.do(configuration.update, {"scsi7": "local:0.001"})
    assert len(world.images) == 3 and len(world.notes) == 1
    settling = asyncio.create_task(world.node.unfinished.keep_settling())
    try:
        await asyncio.sleep(0)
        world.store.set_membership(whole)
        async with asyncio.timeout(10):
            while world.notes:
                await asyncio.sleep(0.01)
    finally:
        settling.cancel()
    world.assert_sound()


async def test_a_destroyed_guests_volume_that_cant_be_removed_is_a_warning_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, _ = await begun(tmp_path, "destroy")

    def stuck(path: Path, is_disk: bool) -> bool:
        raise StorageError(f"could not remove '{path}': Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(disk_files, "remove", stuck)
        await world.do(configuration.destroy, {})
    assert len(world.log.warnings) == 2 and "Read-only file system" in world.log.warnings[0]
    assert world.config() is None and len(world.images) == 2
    await world.node.unfinished.settle_earlier()
    world.assert_sound()


async def test_what_another_has_under_the_same_name_is_not_touched(tmp_path: Path) -> None:
    world, _, _ = await begun(tmp_path, "import")
    path = world.root / "vz/images/100/vm-100-disk-7.raw"
    path.write_bytes(b"somebody's")
    kind = world.node.storages.get("local")
    with pytest.raises(StorageError, match="exists"):
        async with world.node.unfinished.undertaking(100, "a test") as under_way:
            await kind.allocate(100, 1024, "raw", "vm-100-disk-7.raw", under_way.reserving)
    assert path.read_bytes() == b"somebody's"


async def test_a_name_that_is_taken_meanwhile_is_taken_back(tmp_path: Path) -> None:
    world, _, _ = await begun(tmp_path, "import")
    kind = world.node.storages.get("local")
    async with world.node.unfinished.undertaking(100, "a test") as under_way:

        def reserving(volume: VolumeId | None) -> None:
            under_way.reserving(volume)
            if volume is not None and "disk-2" in volume.name:
                (world.root / "vz/images" / volume.name).write_bytes(b"somebody's")

        made = await kind.allocate(100, 1024, "raw", None, reserving)
        assert under_way.note.volumes == (str(made),) == ("local:100/vm-100-disk-3.raw",)
    assert "vm-100-disk-2.raw" in world.images and "vm-100-disk-3.raw" not in world.images


async def test_a_volume_is_owned_by_its_whole_name(tmp_path: Path) -> None:
    world, _, _ = await begun(tmp_path, "import")
    await world.store.write(CONF, "scsi0: local:100/vm-100-disk-10.raw,size=1M\n")
    owned = world.node.unfinished._owned
    assert owned(VolumeId.parse("local:100/vm-100-disk-10.raw"))
    assert not owned(VolumeId.parse("local:100/vm-100-disk-1"))
    assert not owned(VolumeId.parse("local:100/vm-100-disk-10"))
    assert not owned(VolumeId.parse("cal:100/vm-100-disk-10.raw"))


def test_the_format_on_disk_stays_readable() -> None:
    import msgspec

    old = b'{"vmid":100,"purpose":"create","volumes":["local:100/a.raw"],"created":true}'
    note = Note(vmid=100, purpose="create", volumes=("local:100/a.raw",), created=True)
    assert msgspec.json.decode(old, type=Note) == note


async def test_what_can_not_be_noted_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    await world.setup()

    def full(path: Path, data: bytes, mode: int = 0) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write", full)
    with pytest.raises(GuestError, match=r"VM 100: create can't be noted in .*: No space left on device"):
        await world.do(configuration.create, {"scsi0": "local:1"})
    assert world.config() is None and world.images == set()
