"""A clone or a template that is broken off anywhere: the original is whole, and the clone is, or is not.

As in test_snapshots_cut: the node is copied at every write, and every write fails once. The images are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from guests_world import MemoryStore
from images_world import ImagesWorld, config_path, copy_of, fails_at, image_io, moments_of, opened
from stand_ins import Everything

from kvorum.core.errors import Conflict, KvorumError
from kvorum.guests.cloudinit.drive import CloudInit
from kvorum.guests.copies import clone as clone_room
from kvorum.guests.copies.plan import Wish
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods import configuration
from kvorum.guests.unfinished import Undertaking, Unfinished
from kvorum.interface import Context, Identity, Services
from kvorum.storage import StorageError, Storages, disk_files, images
from kvorum.store import Member, Membership

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
DISKS = ("qcow2", "raw")


class World(ImagesWorld):
    """VM 100 with two disks, and what is cloned from it."""

    async def setup(self, *, template: bool) -> None:
        await self.configure({})
        local = self.node.storages.get("local")
        disks = ""
        for number, format in enumerate(DISKS):
            volume = await local.allocate(100, 1 << 20, format)
            disks += f"scsi{number}: {volume},size=1M\n"
            image_io(local.path(volume), format, f"write -P {number + 1} 0 64k")
        await self.store.write(config_path(100), f"memory: 64\nnet0: virtio=BC:24:11:00:00:01\n{disks}")
        if template:
            await self.node.templates.make(100, who="root@pam", log=self.log)

    async def destroy(self, vmid: int) -> None:
        services = Services()
        for kind, service in (
            (GuestManager, self.node.manager),
            (Storages, self.node.storages),
            (Unfinished, self.node.unfinished),
        ):
            services.add(kind, service)
        ctx = Context(self.node.store, services, Identity("root@pam"), Everything())
        work = await configuration.destroy(ctx, configuration.DestroyParameters(node="n1", vmid=vmid))
        await work.run(self.log)

    @property
    def images(self) -> set[Path]:
        return {path for path in self.root.glob("*/images/*/*") if path.is_file()}

    def assert_sound(self) -> None:
        """Each guest has all its disks with what they hold; no image is nobody's; nothing is noted."""
        named = set()
        for vmid in self.texts:
            config = self.config(vmid)
            assert config.lock is None
            for number, disk in enumerate(config.disks.values()):
                assert disk.volume is not None
                kind = self.node.storages.of(disk.volume)
                path = kind.path(disk.volume)
                named.add(path)
                image_io(path, kind.format(disk.volume), f"read -P {number + 1} 0 64k")
                if config.template:
                    assert kind.based(disk.volume) == disk.volume and path.stat().st_mode & 0o222 == 0
        assert self.images == named
        self.assert_nothing_noted()


async def full(world: World) -> None:
    wish = Wish(100, 101, full=True, storage="other")
    await world.node.clones.make(wish, who="root@pam", log=world.log)


async def linked(world: World) -> None:
    await world.node.clones.make(Wish(100, 101), who="root@pam", log=world.log)


async def template(world: World) -> None:
    await world.node.templates.make(100, who="root@pam", log=world.log)


STEPS: dict[str, tuple[Callable[[World], Awaitable[None]], bool]] = {
    "full": (full, False),
    "full of a template": (full, True),
    "linked": (linked, True),
    "template": (template, False),
}
WRITES: tuple[tuple[Any, str], ...] = (
    (Undertaking, "write"), (MemoryStore, "transact"), (images, "create"), (images, "overlay"),
    (clone_room, "convert"), (disk_files, "rename"), (disk_files, "remove"),
)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, World]:
    """A world with a guest and one with a template; tests have copies of them."""
    worlds = {}
    for is_template in (False, True):
        worlds[is_template] = World(tmp_path_factory.mktemp("prepared") / "world")
        asyncio.run(worlds[is_template].setup(template=is_template))
    return worlds


@pytest.mark.parametrize("step", STEPS)
async def test_whenever_the_daemon_dies_there_is_a_whole_clone_or_none(
    prepared: dict[bool, World], tmp_path: Path, step: str
) -> None:
    make, of_template = STEPS[step]
    world = await copy_of(prepared[of_template], tmp_path / "world")
    world.assert_sound()
    before = world.texts
    moments = await moments_of(world, WRITES, make, tmp_path)
    world.assert_sound()
    after = world.texts
    assert after != before and len(moments) >= 8
    ends = set()
    for moment in moments:
        later = await opened(World, moment.at, moment.texts)
        await later.next_daemon()
        try:
            later.assert_sound()
            assert later.texts in (before, after)
        except AssertionError as error:
            raise AssertionError(f"{moment.when} ({moment.at.name}): {error}") from error
        ends.add(later.texts == after)
        if later.texts == before:
            await make(later)
            later.assert_sound()
    assert ends == {False, True}


@pytest.mark.parametrize("error", [StorageError("no room"), Conflict("changed"), asyncio.CancelledError()])
@pytest.mark.parametrize("step", ["full", "linked"])
async def test_a_clone_that_fails_or_is_stopped_leaves_nothing(
    prepared: dict[bool, World], tmp_path: Path, step: str, error: BaseException
) -> None:
    make, of_template = STEPS[step]
    failing, ended = 0, False
    while not ended:
        world = await copy_of(prepared[of_template], tmp_path / f"{failing}")
        with contextlib.suppress(StorageError, Conflict, GuestError, asyncio.CancelledError):
            ended = await fails_at(world, WRITES, make, failing, error)
        await world.next_daemon()
        world.assert_sound()
        failing += 1
    assert failing >= 8


async def test_without_quorum_the_rest_of_a_template_waits_and_then_is_made(
    prepared: dict[bool, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    whole = world.store.membership
    real = disk_files.rename

    def rename_and_the_quorum_goes(source: Path, target: Path) -> None:
        real(source, target)
        world.store.set_membership(Membership(whole.cluster, whole.members, False, 2, "one of three"))

    with monkeypatch.context() as patch:
        patch.setattr(disk_files, "rename", rename_and_the_quorum_goes)
        with pytest.raises(KvorumError, match="one of three"):
            await template(world)
    assert world.config().lock == "clone"
    settling = asyncio.create_task(world.node.templates.keep_settling())
    try:
        await asyncio.sleep(0)
        world.store.set_membership(whole)
        async with asyncio.timeout(10):
            while world.config().lock:
                await asyncio.sleep(0.01)
    finally:
        settling.cancel()
    world.assert_sound()


async def test_a_template_goes_after_its_clones_and_never_before(
    prepared: dict[bool, World], tmp_path: Path
) -> None:
    world = await copy_of(prepared[True], tmp_path / "world")
    await linked(world)
    with pytest.raises(
        GuestError, match=r"can't remove VM 100: 'local:100/base-100-disk-0.qcow2/101/.* rests on"
    ):
        await world.destroy(100)
    world.assert_sound()
    await world.destroy(101)
    await world.destroy(100)
    assert world.texts == {} and world.images == set()


async def test_a_clone_for_another_node_needs_what_that_node_sees(
    prepared: dict[bool, World], tmp_path: Path
) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    for node, told in (("n9", "node 'n9' is not in the cluster"), ("n2", "it does not see storage 'local'")):
        members = world.store.membership.members
        if node == "n2":
            both = (*members, Member(name="n2", nodeid=2, address="127.0.0.1", online=True))
            world.store.set_membership(Membership("c", both, True, 3))
        with pytest.raises(GuestError, match=told):
            await world.node.clones.make(Wish(100, 101, node=node), who="root@pam", log=world.log)
    text = (world.store.read("storage.cfg") or pytest.fail("gone")).text
    await world.store.write("storage.cfg", text.rstrip("\n") + "\n\tshared 1\n")
    wish = Wish(100, 101, node="n2", storage="other")
    await world.node.clones.make(wish, who="root@pam", log=world.log)
    assert 101 not in world.texts
    file = world.store.read("nodes/n2/qemu-server/101.conf")
    assert file is not None and "lock" not in file.text and "scsi0: other:101/" in file.text
    assert len(world.images) == 4 and list(world.node.paths.state.glob("unfinished/*")) == []


async def test_what_stands_against_it_is_said_and_nothing_changes(
    prepared: dict[bool, World], tmp_path: Path
) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    for wish, told in (
        (Wish(100, 100), "VM 100 already exists on node 'n1'"),
        (Wish(100, 101, storage="none"), "none"),
        (Wish(100, 101, storage="other", format="vmdk"), "can't keep the format 'vmdk'; allowed: raw, qcow2"),
        (Wish(100, 101, full=False), "is no template"),
    ):
        with pytest.raises((GuestError, StorageError, Conflict), match=told):
            world.node.clones.check(wish)
    await world.store.write(config_path(100), "lock: backup\n" + world.texts[100])
    with pytest.raises(GuestError, match=r"locked \(backup\)"):
        world.node.clones.check(Wish(100, 101))
    with pytest.raises(GuestError, match=r"locked \(backup\)"):
        world.node.templates.check(100)


async def test_a_guest_with_snapshots_is_no_template(prepared: dict[bool, World], tmp_path: Path) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    await world.store.write(config_path(100), world.texts[100] + "\n[one]\nmemory: 64\n")
    with pytest.raises(GuestError, match=r"contains snapshots \(one\)"):
        world.node.templates.check(100)


async def test_a_base_is_nobodys_to_write_to_whoever_names_it(
    prepared: dict[bool, World], tmp_path: Path
) -> None:
    world = await copy_of(prepared[True], tmp_path / "world")
    workshop = world.node.manager.workshop
    with pytest.raises(GuestError, match="VM 100 is a template; clone it"):
        await workshop.start(world.config(100))
    disk = world.config(100).disks["scsi0"]
    with pytest.raises(GuestError, match="is a template's disk, to which nobody writes"):
        await workshop.drive(105, "scsi0", disk)
    world.assert_sound()  # which looks at the modes of bases


async def test_a_clone_has_a_cloud_init_drive_of_its_own(prepared: dict[bool, World], tmp_path: Path) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    drive = await CloudInit(world.node.storages).allocate(100, "local")
    await world.store.write(config_path(100), f"ide2: {drive},media=cdrom\n" + world.texts[100])
    await world.node.clones.make(Wish(100, 101), who="root@pam", log=world.log)
    disk = world.config(101).disks["ide2"]
    assert disk.file != str(drive) and disk.is_cdrom and "cloudinit" in disk.file
    assert {path.name for path in world.images if "cloudinit" in path.name} == {
        "vm-100-cloudinit.raw", "vm-101-cloudinit.raw",
    }  # fmt: skip


async def test_a_tpm_is_copied_only_while_its_guest_is_off(
    prepared: dict[bool, World], tmp_path: Path
) -> None:
    world = await copy_of(prepared[False], tmp_path / "world")
    state = await world.node.storages.get("local").allocate(100, 4 << 20, "raw")
    await world.store.write(config_path(100), world.texts[100] + f"tpmstate0: {state},size=4M,version=v2.0\n")
    world.node.manager._running[100] = object()  # type: ignore[assignment]
    with pytest.raises(GuestError, match=r"has a TPM.*stop it first"):
        world.node.clones.check(Wish(100, 101))
    del world.node.manager._running[100]
    await world.node.clones.make(Wish(100, 101), who="root@pam", log=world.log)
    assert world.config(101).disks["tpmstate0"].file != str(state)
