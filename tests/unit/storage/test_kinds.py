"""What every kind of storage owes its callers, whatever it is made of: one suite for all of them.

btrfs and ZFS are stood in for by directories here; tests/lab/test_storage_kinds.py asks the real ones.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import fake_subvolumes
import fake_zfs
import pytest

from kvorum.core.ids import VolumeId
from kvorum.storage import StorageConfig, StorageEntry, StorageError, StorageKind, images, zfspool
from kvorum.storage.kinds import KINDS

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")

MIB = 1 << 20
Open = Callable[..., StorageKind]


@pytest.fixture(params=sorted(KINDS))
def open_kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the kind's storage with more settings; the same data each time."""
    if request.param == "zfspool":
        fake_zfs.install(tmp_path / "zfs", monkeypatch, "tank")
        monkeypatch.setattr(zfspool, "KERNEL", tmp_path / "none")
        place = {"pool": "tank", "mountpoint": str(tmp_path / "zfs/tank")}
    else:
        fake_subvolumes.install(monkeypatch)
        place = {"path": str(tmp_path / "place")}

    def opened(**settings: str) -> StorageKind:
        entry = StorageEntry(request.param, "s1", {**place, "content": "images", **settings})
        StorageConfig(()).add(entry)
        return KINDS[request.param](entry)

    return opened


@pytest.fixture
def kind(open_kind: Open) -> StorageKind:
    return open_kind()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.raw"
    path.write_bytes(b"boot".ljust(510, b"\0") + b"\x55\xaa" + b"\0" * (3 * MIB - 512))
    return path


def names(kind: StorageKind) -> list[str]:
    return [volume.volid.partition(":")[2] for volume in kind.list_blocking()]


async def test_a_disk_is_made_found_grown_and_freed(kind: StorageKind) -> None:
    await kind.activate()
    assert kind.list_blocking() == []
    noted: list[VolumeId | None] = []
    volume = await kind.allocate(100, 2 * MIB, reserving=noted.append)
    assert noted == [volume]
    path = kind.path(volume)
    assert path.exists() and path.is_absolute()
    assert kind.format(volume) == kind.capabilities.formats[0]
    (listed,) = kind.list_blocking(100, ("images",))
    assert (listed.volid, listed.size, listed.vmid, listed.content) == (str(volume), 2 * MIB, 100, "images")
    assert await kind.size(volume) == 2 * MIB
    await kind.before_growing(volume, 3 * MIB)
    await kind.grow(volume, 4 * MIB)
    assert await kind.size(volume) == 4 * MIB
    with pytest.raises(StorageError):
        await kind.grow(volume, MIB)
    assert kind.list_blocking(101) == [] and kind.list_blocking(100, ("iso",)) == []
    assert await kind.free(volume)
    assert not path.exists() and kind.list_blocking() == []
    assert not await kind.free(volume)
    with pytest.raises(StorageError, match="does not exist"):
        await kind.size(volume)


async def test_numbers_are_given_from_zero_gaps_are_filled_and_others_guests_count_for_nothing(
    kind: StorageKind,
) -> None:
    await kind.allocate(1000, MIB)
    made = [await kind.allocate(100, MIB) for _ in range(3)]
    assert ["disk-0" in made[0].name, "disk-1" in made[1].name, "disk-2" in made[2].name] == [True] * 3
    await kind.free(made[1])
    assert await kind.allocate(100, MIB) == made[1]


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_every_format_it_tells_of_is_made_and_every_other_refused(
    kind: StorageKind, format: str
) -> None:
    if format in kind.capabilities.formats:
        volume = await kind.allocate(100, MIB, format)
        assert (await images.inspect(kind.path(volume))).format == format == kind.format(volume)
    else:
        with pytest.raises(StorageError, match=f"'{format}'; allowed: raw"):
            await kind.allocate(100, MIB, format)


async def test_a_name_that_is_taken_is_refused_and_stays_another_s(kind: StorageKind) -> None:
    first = await kind.allocate(100, MIB)
    noted: list[VolumeId | None] = []
    with pytest.raises(StorageError, match="already exists"):
        await kind.allocate(100, MIB, name=first.name.rpartition("/")[2], reserving=noted.append)
    assert noted in ([], [first, None])
    assert names(kind) == [first.name]


async def test_of_two_that_are_made_at_once_each_gets_its_own(kind: StorageKind) -> None:
    made = await asyncio.gather(*(kind.allocate(100, MIB) for _ in range(3)))
    assert len(set(made)) == 3 and sorted(names(kind)) == sorted(v.name for v in made)


async def test_an_image_is_imported_with_its_content(kind: StorageKind, source: Path) -> None:
    volume = await kind.import_disk(100, source)
    assert await kind.size(volume) == 3 * MIB
    compared = subprocess.run(
        ["qemu-img", "compare", "-F", kind.format(volume), source, kind.path(volume)], capture_output=True
    )
    assert compared.returncode == 0, compared.stdout


async def test_an_imported_disk_outlives_a_power_cut(
    kind: StorageKind, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last: list[Path] = []
    monkeypatch.setattr(images, "make_last", last.append)
    volume = await kind.import_disk(100, source)
    assert last == [kind.path(volume)]


async def test_what_fails_or_is_stopped_in_the_middle_leaves_nothing(
    kind: StorageKind, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise StorageError("no room")

    for name in ("create", "convert"):
        monkeypatch.setattr(images, name, fails)
    with pytest.raises(StorageError, match="no room"):
        await kind.import_disk(100, source)
    with pytest.raises(StorageError, match="no room"):
        await kind.allocate(100, MIB)
    assert kind.list_blocking() == []
    reached = asyncio.Event()

    async def endless(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(images, "convert", endless)
    task = asyncio.create_task(kind.import_disk(100, source))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kind.list_blocking() == []


async def test_stopped_while_its_place_is_claimed_it_leaves_nothing(kind: StorageKind) -> None:
    loop, reached = asyncio.get_running_loop(), asyncio.Event()
    task: asyncio.Task[VolumeId] | None = None

    def reserving(volume: VolumeId | None) -> None:
        assert task is not None
        loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(reached.set)

    task = asyncio.create_task(kind.allocate(100, MIB, reserving=reserving))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached.is_set() and kind.list_blocking() == []


async def test_a_disk_is_handed_to_another_guest_once_and_again(kind: StorageKind, source: Path) -> None:
    volume = await kind.import_disk(100, source)
    other = await kind.allocate(101, MIB)
    free = await kind.allocate(102, MIB)
    await kind.free(free)
    with pytest.raises(StorageError, match="is there already"):
        await kind.hand_over(volume, 101)
    assert kind.handed_to(volume, 102) == free
    for _ in range(2):
        assert await kind.hand_over(volume, 102) == free
    assert sorted(names(kind)) == sorted([other.name, free.name])
    assert kind.path(free).read_bytes()[:4] == b"boot"
    with pytest.raises(StorageError, match="not there any more"):
        await kind.hand_over(volume, 103)


@pytest.mark.parametrize(
    "name",
    ["100/../../etc/passwd", "../tank2/vm-100-disk-0", "vm-100-disk-0@snap", "nonsense", "-r", "a/b/c/d"],
)
def test_no_name_leaves_the_storage(kind: StorageKind, name: str) -> None:
    with pytest.raises((StorageError, ValueError)):
        kind.path(VolumeId("s1", name))


async def test_what_it_may_not_hold_is_refused(open_kind: Open, source: Path) -> None:
    other = open_kind(content="rootdir")
    for making in (other.allocate(100, MIB), other.import_disk(100, source)):
        with pytest.raises(StorageError, match="does not hold 'images'"):
            await making
    assert other.list_blocking() == []


async def test_its_room_is_told(kind: StorageKind) -> None:
    await kind.activate()
    room = kind.status_blocking()
    assert room.total >= room.avail > 0 and room.used >= 0


def test_it_tells_what_it_is(kind: StorageKind) -> None:
    can = kind.capabilities
    assert KINDS[kind.type] is type(kind)
    assert can.formats and can.snapshots <= set(can.formats) and can.clones <= set(can.formats)
    assert "images" in kind.holds and not set(kind.keys) & {"content", "nodes", "disable"}


# Snapshots and clones, of kinds that have them


def write(kind: StorageKind, volume: VolumeId, byte: int) -> None:
    """Fill the first 64 KiB of a disk."""
    command = ["qemu-io", "-f", kind.format(volume), "-c", f"write -P {byte} 0 64k", str(kind.path(volume))]
    kind.path(volume).chmod(0o600)
    subprocess.run(command, check=True, capture_output=True)


def reads(path: Path, format: str, byte: int, snapshot: str = "") -> bool:
    inside = ["--image-opts", f"driver={format},file.filename={path}"]
    if snapshot:
        copy = path.with_name("copied.raw")
        argv = ["qemu-img", "convert", "-U", "-f", format, "-l", f"snapshot.name={snapshot}", "-O", "raw"]
        subprocess.run([*argv, path, copy], check=True)
        inside = ["-f", "raw", str(copy)]
    done = subprocess.run(
        ["qemu-io", "-r", *inside, "-c", f"read -P {byte} 0 64k"], check=True, capture_output=True, text=True
    )
    if snapshot:
        copy.unlink()
    return "verification failed" not in done.stdout


def holds(kind: StorageKind, volume: VolumeId, byte: int) -> bool:
    return reads(kind.path(volume), kind.format(volume), byte)


@pytest.fixture
def with_snapshots(kind: StorageKind) -> str:
    """The format whose snapshots the kind can make."""
    if not kind.capabilities.snapshots:
        pytest.skip("it has none, and says so")
    return sorted(kind.capabilities.snapshots)[0]


async def test_a_disk_goes_back_to_a_snapshot_as_often_as_asked(
    kind: StorageKind, with_snapshots: str
) -> None:
    volume = await kind.allocate(100, MIB, with_snapshots)
    write(kind, volume, 1)
    await kind.snapshot(volume, "one")
    await kind.grow(volume, 2 * MIB)
    for byte in (2, 3):
        write(kind, volume, byte)
        await kind.rollback(volume, "one")
        assert holds(kind, volume, 1) and await kind.size(volume) == MIB
    assert await kind.snapshots(volume) == {"one"}
    assert names(kind) == [volume.name]
    with pytest.raises(StorageError, match="has a snapshot 'one' already"):
        await kind.snapshot(volume, "one")
    with pytest.raises(StorageError, match="has no snapshot 'two'"):
        await kind.rollback(volume, "two")
    with pytest.raises(ValueError, match="no name of a snapshot"):
        await kind.snapshot(volume, "a/../b")


async def test_an_older_snapshot_is_gone_back_to_or_the_later_ones_are_named(
    kind: StorageKind, with_snapshots: str
) -> None:
    volume = await kind.allocate(100, MIB, with_snapshots)
    for byte, name in enumerate(("one", "two", "three"), 1):
        write(kind, volume, byte)
        await kind.snapshot(volume, name)
    try:
        await kind.check_rollback(volume, "one")
    except StorageError as error:
        assert "delete these first: two, three" in str(error)
        with pytest.raises(StorageError, match="two, three"):
            await kind.rollback(volume, "one")
        for name in ("two", "three"):
            assert await kind.delete_snapshot(volume, name)
    await kind.rollback(volume, "one")
    assert holds(kind, volume, 1)


async def test_a_snapshot_goes_and_the_disk_stays_and_with_the_disk_all_go(
    kind: StorageKind, with_snapshots: str
) -> None:
    volume = await kind.allocate(100, MIB, with_snapshots)
    write(kind, volume, 5)
    for name in ("one", "two"):
        await kind.snapshot(volume, name)
    assert await kind.delete_snapshot(volume, "one")
    assert not await kind.delete_snapshot(volume, "one")
    assert await kind.snapshots(volume) == {"two"} and holds(kind, volume, 5)
    await kind.free(volume)
    again = await kind.allocate(100, MIB, with_snapshots)
    assert again == volume and await kind.snapshots(again) == frozenset()
    with pytest.raises(StorageError, match="does not exist"):
        await kind.snapshots(VolumeId(volume.storage, volume.name.replace("disk-0", "disk-9")))


async def test_its_snapshots_go_with_a_disk_to_another_guest(kind: StorageKind, with_snapshots: str) -> None:
    volume = await kind.allocate(100, MIB, with_snapshots)
    write(kind, volume, 1)
    await kind.snapshot(volume, "one")
    write(kind, volume, 2)
    moved = await kind.hand_over(volume, 101)
    assert await kind.snapshots(moved) == {"one"}
    await kind.rollback(moved, "one")
    assert holds(kind, moved, 1)


async def test_what_a_snapshot_holds_is_read_while_the_disk_goes_on(
    kind: StorageKind, with_snapshots: str
) -> None:
    volume = await kind.allocate(100, MIB, with_snapshots)
    write(kind, volume, 1)
    await kind.snapshot(volume, "one")
    write(kind, volume, 2)
    for snapshot, byte in (("one", 1), (None, 2)):
        async with kind.reading(volume, snapshot) as source:
            assert reads(source.path, source.format, byte, source.snapshot)
            assert names(kind) == [volume.name]
    assert await kind.delete_snapshot(volume, "one")
    with pytest.raises(StorageError, match="no snapshot 'one'"):
        async with kind.reading(volume, "one"):
            pass


@pytest.fixture(params=["raw", "qcow2"])
def clonable(request: pytest.FixtureRequest, kind: StorageKind) -> str:
    """Each format of which the kind makes linked clones."""
    if request.param not in kind.capabilities.clones:
        pytest.skip("it has none of this format, and says so")
    return str(request.param)


async def test_a_clone_has_what_its_base_has_and_both_go_their_ways(kind: StorageKind, clonable: str) -> None:
    volume = await kind.allocate(100, MIB, clonable)
    write(kind, volume, 7)
    base = await kind.make_base(volume)
    assert base == kind.based(volume) == await kind.make_base(volume) and "base-100-" in base.name
    noted: list[VolumeId | None] = []
    clone = await kind.clone(base, None, 101, noted.append)
    second = await kind.clone(base, None, 101)
    assert noted == [clone] and clone != second
    assert holds(kind, clone, 7)
    write(kind, clone, 8)
    assert holds(kind, clone, 8) and holds(kind, base, 7) and holds(kind, second, 7)
    assert sorted(names(kind)) == sorted(v.name for v in (base, clone, second))
    assert await kind.size(clone) == MIB
    resting = await kind.clones(base)
    assert set(resting) in (set(), {clone, second})
    assert kind.parent(clone) == (base if resting else None)
    if resting:
        with pytest.raises(StorageError, match="rest on it"):
            await kind.free(base)
    with pytest.raises(StorageError, match="keeps its name"):
        await kind.hand_over(base, 102)
    moved = await kind.hand_over(clone, 102)
    assert holds(kind, moved, 8)
    for each in (moved, second, base):
        assert await kind.free(each)
    assert names(kind) == []


async def test_a_clone_rests_on_a_snapshot_where_the_kind_says_so(kind: StorageKind, clonable: str) -> None:
    volume = await kind.allocate(100, MIB, clonable)
    with pytest.raises(StorageError, match="linked clones rest on templates alone"):
        await kind.clone(volume, None, 101)
    if kind.capabilities.snapshot_clones and clonable in kind.capabilities.snapshots:
        write(kind, volume, 1)
        await kind.snapshot(volume, "one")
        write(kind, volume, 2)
        clone = await kind.clone(volume, "one", 101)
        assert holds(kind, clone, 1)
        with pytest.raises(StorageError, match="no snapshot 'two'"):
            await kind.clone(volume, "two", 101)
