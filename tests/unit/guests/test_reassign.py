"""A disk is given to another guest, and volumes that nobody names are found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from guests_world import Lines, MemoryStore, Node

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.move.reassign import Gift, Giver, check
from kvorum.guests.move.rescan import Rescan, rescanned
from kvorum.guests.unfinished import Unfinished
from kvorum.storage import StorageError, Volume
from kvorum.storage.directory import DirectoryStorage

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")

MIB = 1 << 20
FACTS: Any = None
"""Nothing is started here."""


class Two:
    """Guests 100 and 101 of one node, each with a disk 0."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.log = Lines()

    async def setup(self) -> None:
        await self.store.write("storage.cfg", f"dir: local\n\tpath {self.root}/vz\n\tcontent images\n")
        kind = self.node.storages.get("local")
        for vmid in (100, 101):
            volume = await kind.allocate(vmid, vmid * MIB, "raw")
            await self.store.write(f"nodes/n1/qemu-server/{vmid}.conf", f"scsi0: {volume},size={vmid}M\n")

    @property
    def giver(self) -> Giver:
        return Giver(self.node.manager, self.node.storages, self.node.unfinished)

    def config(self, vmid: int) -> GuestConfig:
        return self.node.manager.registry.config(vmid)

    @property
    def images(self) -> set[str]:
        return {str(p.relative_to(self.root / "vz/images")) for p in self.root.glob("vz/images/*/*")}

    @property
    def notes(self) -> list[Path]:
        return list(self.node.paths.state.glob("unfinished/*"))


@pytest.fixture
async def two(tmp_path: Path) -> Two:
    world = Two(tmp_path)
    await world.setup()
    return world


async def test_a_disk_gets_the_next_name_that_is_free_there(two: Two) -> None:
    await two.giver.give(Gift(100, "scsi0", 101, "virtio3"), two.log)
    assert two.images == {"101/vm-101-disk-0.raw", "101/vm-101-disk-1.raw"}
    assert two.config(100).disks == {}
    assert two.config(101).settings["virtio3"] == "local:101/vm-101-disk-1.raw,size=100M"
    assert (two.root / "vz/images/101/vm-101-disk-1.raw").stat().st_size == 100 * MIB
    assert two.notes == []
    await two.giver.give(Gift(101, "scsi0", 100, "unused0"), two.log)
    assert two.config(100).settings == {"unused0": "local:100/vm-100-disk-0.raw"}


@pytest.mark.parametrize(
    ("gift", "said"),
    [
        (Gift(100, "scsi0", 101, "scsi0"), "VM 101 has a 'scsi0' already"),
        (Gift(100, "scsi1", 101, "scsi1"), "disk 'scsi1' does not exist; VM 100 has scsi0"),
        (Gift(100, "scsi0", 100, "scsi1"), "VM 100 has scsi0 already"),
        (Gift(100, "scsi0", 102, "scsi1"), "102.conf' does not exist"),
        (Gift(100, "scsi0", 101, "scsi1", digest="0" * 40), "detected modified configuration"),
        (Gift(100, "scsi0", 101, "scsi1", target_digest="0" * 40), "detected modified configuration"),
    ],
)
async def test_what_stands_against_it_is_said_and_nothing_changes(two: Two, gift: Gift, said: str) -> None:
    before = two.images
    with pytest.raises(KvorumError, match=said):
        await two.giver.give(gift, two.log)
    assert two.images == before and two.notes == []


async def test_whenever_it_is_broken_off_names_and_files_agree_in_the_end(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    async def dies(*_: object, **__: object) -> None:
        raise Died

    async def no_settling(*_: object, **__: object) -> None:
        return

    for place, name, given in ((Giver, "_write", False), (DirectoryStorage, "hand_over", True)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, dies)
            if not given:
                patch.setattr(Unfinished, "_settle", no_settling)
            with pytest.raises(Died):
                await two.giver.give(Gift(100, "scsi0", 101, "scsi1"), two.log)
        assert len(two.notes) == 1
        assert ("scsi1" in two.config(101).disks) == given
        await two.node.unfinished.settle_earlier()
        assert two.notes == []
        assert (
            two.images == {"101/vm-101-disk-0.raw", "101/vm-101-disk-1.raw"}
            if given
            else len(two.images) == 2
        )


async def test_a_name_that_can_not_be_given_now_is_given_later(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise StorageError("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "hand_over", fails)
        await two.giver.give(Gift(100, "scsi0", 101, "scsi1"), two.log)
    assert "the storage is away; it is tried again every minute" in two.log.text
    await two.node.unfinished.settle_earlier()
    assert two.images == {"101/vm-101-disk-0.raw", "101/vm-101-disk-1.raw"} and two.notes == []


def config(vmid: int, text: str) -> GuestConfig:
    return GuestConfig.parse(vmid, text)


DISK = "scsi0: aa:100/vm-100-disk-0.raw\nunused0: aa:100/vm-100-disk-1.raw\n"
SNAPSHOT = "\n[one]\nscsi3: aa:100/vm-100-disk-1.raw\n"


@pytest.mark.parametrize(
    ("giver", "taker", "key", "to", "runs", "said"),
    [
        (DISK, "", "scsi0", "scsi1", {100}, "VM 100 runs on scsi0; detach it first"),
        (DISK, "", "unused0", "scsi1", {101}, "VM 101 runs; stop it"),
        (DISK + "template: 1\n", "", "unused0", "scsi1", set(), "VM 100 is a template"),
        (DISK, "template: 1\n", "unused0", "scsi1", set(), "VM 101 is a template"),
        (DISK + SNAPSHOT, "", "unused0", "scsi1", set(), "snapshot 'one'"),
        ("scsi0: aa:99/vm-99-disk-0.raw\n", "", "scsi0", "scsi1", set(), "is not VM 100's own"),
        (DISK, "\n[PENDING]\nscsi1: aa:1/vm-1-x.raw\n", "scsi0", "scsi1", set(), "has a 'scsi1' already"),
    ],
)  # fmt: skip
def test_what_is_in_use_is_not_given_away(
    giver: str, taker: str, key: str, to: str, runs: set[int], said: str
) -> None:
    with pytest.raises(GuestError, match=said):
        check(config(100, giver), config(101, taker), Gift(100, key, 101, to), frozenset(runs))


def test_an_unused_disk_of_a_running_guest_may_go_to_a_running_one() -> None:
    gift = Gift(100, "unused0", 101, "unused0")
    assert check(config(100, DISK), config(101, ""), gift, frozenset({100, 101})).name.endswith("1.raw")


# Found again


def volume(volid: str, size: int = MIB, vmid: int = 100) -> Volume:
    return Volume(volid=volid, content="images", format="raw", size=size, vmid=vmid)


def test_volumes_that_nobody_names_become_unused_and_sizes_are_set_right() -> None:
    given = config(
        100,
        "ide2: aa:iso/x.iso,media=cdrom,size=3M\nscsi0: aa:100/vm-100-disk-0.raw,ssd=1,size=1M\n"
        "unused0: aa:100/vm-100-disk-1.raw\n\n[PENDING]\nscsi1: aa:100/vm-100-disk-2.raw\n\n"
        "[one]\nscsi0: aa:100/vm-100-disk-3.raw\nvmstate: aa:100/vm-100-state-one.raw\n",
    )
    there = [volume(f"aa:100/vm-100-disk-{n}.raw") for n in range(5)]
    there += [volume("aa:100/vm-100-state-one.raw"), volume("aa:101/vm-101-disk-0.raw", vmid=101)]
    there[0] = volume("aa:100/vm-100-disk-0.raw", 2 * MIB)
    after, lines = rescanned(given, there)
    assert after.settings["scsi0"] == "aa:100/vm-100-disk-0.raw,ssd=1,size=2M"
    assert after.settings["unused1"] == "aa:100/vm-100-disk-4.raw"
    assert len(after.unused) == 2 and len(lines) == 2
    assert lines[0] == "scsi0: 'aa:100/vm-100-disk-0.raw' has 2M, not 1M"
    assert rescanned(after, there) == (after, [])


async def test_a_rescan_looks_at_all_storages_and_a_dry_one_changes_nothing(two: Two) -> None:
    kind = two.node.storages.get("local")
    lost = await kind.allocate(101, 5 * MIB, "qcow2")
    await kind.grow(VolumeId.parse("local:100/vm-100-disk-0.raw"), 200 * MIB)
    rescan = Rescan(two.node.manager, two.node.storages)
    texts = [two.config(vmid).document.render() for vmid in (100, 101)]
    await rescan.run([100, 101], two.log, "root@pam", dry_run=True)
    assert [two.config(vmid).document.render() for vmid in (100, 101)] == texts
    said = list(two.log.lines)
    assert len(said) == 2
    await two.store.write("nodes/n1/qemu-server/102.conf", "lock: backup\n")
    await rescan.run([100, 101, 102], two.log, "root@pam")
    assert two.log.lines == said * 2
    assert two.log.warnings == ["VM 102 is left as it is: VM is locked (backup)"]
    assert two.config(100).disks["scsi0"].size_bytes == 200 * MIB
    assert two.config(101).settings["unused0"] == str(lost)
