"""Snapshots, bases and linked clones on a directory: what they keep, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kvorum.core.ids import VolumeId
from kvorum.storage import NotADiskImage, StorageEntry, StorageError, images
from kvorum.storage.directory import DirectoryStorage

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")

SIZE = 4 << 20


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    path = tmp_path / "with, a comma"  # which qemu-img's options must not trip over
    return DirectoryStorage(StorageEntry("dir", "local", {"path": str(path), "content": "images"}))


def write(storage: DirectoryStorage, volume: VolumeId, byte: int) -> None:
    """Fill the first 64 KiB of a disk."""
    command = f"write -P {byte} 0 64k"
    subprocess.run(
        ["qemu-io", "-f", storage.format(volume), "-c", command, storage.path(volume)],
        check=True,
        capture_output=True,
    )


def holds(storage: DirectoryStorage, volume: VolumeId, byte: int) -> bool:
    command = f"read -P {byte} 0 64k"
    done = subprocess.run(
        ["qemu-io", "-r", "-f", storage.format(volume), "-c", command, storage.path(volume)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "ops" in done.stdout, done.stderr
    return done.returncode == 0


async def base_of(storage: DirectoryStorage, format: str = "qcow2", vmid: int = 100) -> VolumeId:
    volume = await storage.allocate(vmid, SIZE, format)
    write(storage, volume, 7)
    return await storage.make_base(volume)


# Snapshots


async def test_a_disk_goes_back_to_what_it_was(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    write(storage, volume, 1)
    await storage.snapshot(volume, "one")
    write(storage, volume, 2)
    await storage.snapshot(volume, "two")
    write(storage, volume, 3)
    assert await storage.snapshots(volume) == {"one", "two"}
    for name, byte in (("one", 1), ("two", 2), ("one", 1)):
        await storage.rollback(volume, name)
        assert holds(storage, volume, byte)


async def test_a_disk_that_has_grown_gets_its_size_back(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    await storage.snapshot(volume, "small")
    await storage.grow(volume, 2 * SIZE)
    await storage.rollback(volume, "small")
    assert await storage.size(volume) == SIZE


async def test_a_snapshot_in_the_middle_goes_and_the_others_stay(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    for byte, name in enumerate(("one", "two", "three"), 1):
        write(storage, volume, byte)
        await storage.snapshot(volume, name)
    assert await storage.delete_snapshot(volume, "two")
    assert not await storage.delete_snapshot(volume, "two")
    assert await storage.snapshots(volume) == {"one", "three"}
    for name, byte in (("three", 3), ("one", 1)):
        await storage.rollback(volume, name)
        assert holds(storage, volume, byte)
    subprocess.run(["qemu-img", "check", "-q", storage.path(volume)], check=True)


async def test_a_second_snapshot_of_a_name_and_a_missing_one_are_refused(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    await storage.snapshot(volume, "one")
    with pytest.raises(StorageError, match="has a snapshot 'one' already"):
        await storage.snapshot(volume, "one")
    with pytest.raises(StorageError, match="has no snapshot 'two'"):
        await storage.rollback(volume, "two")
    with pytest.raises(StorageError, match="has no snapshot 'two'"):
        await storage.check_rollback(volume, "two")


async def test_raw_says_that_it_has_no_snapshots_and_what_has(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "raw")
    for asked in (
        storage.snapshot(volume, "one"),
        storage.rollback(volume, "one"),
        storage.delete_snapshot(volume, "one"),
        storage.snapshots(volume),
    ):
        with pytest.raises(StorageError, match=r"'local' can't make snapshots of .*raw.* there: qcow2"):
            await asked


@pytest.mark.parametrize("name", ["1", "-d", "a", "a b", "x" * 41, "../x", "1one"])
async def test_what_is_no_name_of_a_snapshot_is_refused(storage: DirectoryStorage, name: str) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    with pytest.raises(ValueError, match="no name of a snapshot"):
        await storage.snapshot(volume, name)


# Bases and clones


@pytest.mark.parametrize("format", ["qcow2", "raw"])
async def test_a_clone_has_what_its_base_has_and_leaves_it_alone(
    storage: DirectoryStorage, format: str
) -> None:
    base = await base_of(storage, format)
    assert base.name == f"100/base-100-disk-0.{format}"
    assert storage.path(base).stat().st_mode & 0o777 == 0o444
    clone = await storage.clone(base, None, 101)
    assert clone.name == f"{base.name}/101/vm-101-disk-0.qcow2"
    assert storage.parent(clone) == base
    assert holds(storage, clone, 7)
    write(storage, clone, 8)
    assert holds(storage, clone, 8) and not holds(storage, clone, 7)
    assert holds(storage, base, 7)
    assert await storage.size(clone) == SIZE


async def test_a_storage_that_is_moved_takes_its_clones_along(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    clone = await storage.clone(await base_of(storage), None, 101)
    storage.root.rename(tmp_path / "elsewhere")
    moved = DirectoryStorage(
        StorageEntry("dir", "local", {"path": str(tmp_path / "elsewhere"), "content": "images"})
    )
    assert holds(moved, clone, 7)


async def test_the_list_shows_what_rests_on_what(storage: DirectoryStorage) -> None:
    base = await base_of(storage)
    clone = await storage.clone(base, None, 101)
    shown = {volume.volid: (volume.vmid, volume.parent) for volume in storage.list_blocking()}
    assert shown == {str(base): (100, None), str(clone): (101, str(base))}


async def test_a_base_goes_only_after_what_rests_on_it(storage: DirectoryStorage) -> None:
    base = await base_of(storage)
    clones = [await storage.clone(base, None, vmid) for vmid in (101, 101, 102)]
    assert set(await storage.clones(base)) == set(clones)
    with pytest.raises(StorageError, match=r"vm-101-disk-0.*vm-101-disk-1.*vm-102-disk-0.*rest on it"):
        await storage.free(base)
    for clone in clones:
        assert await storage.free(clone)
    assert await storage.free(base)
    assert not list((storage.root / "images").iterdir())


async def test_a_base_is_made_once_and_what_broke_off_is_done_again(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    base = await storage.make_base(volume)
    storage.path(base).chmod(0o600)  # broken off between its two steps
    assert await storage.make_base(volume) == base
    assert await storage.make_base(base) == base
    assert storage.path(base).stat().st_mode & 0o777 == 0o444


async def test_only_what_stands_alone_becomes_a_base_and_only_a_base_is_rested_on(
    storage: DirectoryStorage,
) -> None:
    clone = await storage.clone(await base_of(storage), None, 101)
    with pytest.raises(StorageError, match="is a linked clone"):
        await storage.make_base(clone)
    with pytest.raises(StorageError, match="rest on templates alone"):
        await storage.clone(clone, None, 102)
    with pytest.raises(StorageError, match="rest on templates alone"):
        await storage.clone(await base_of(storage, vmid=103), "one", 102)


async def test_a_clone_that_fails_leaves_nothing(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await base_of(storage)
    told: list[VolumeId | None] = []

    async def full(*_: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(images, "overlay", full)
    with pytest.raises(StorageError, match="no room"):
        await storage.clone(base, None, 101, told.append)
    assert [str(volume) for volume in told] == [f"{base}/101/vm-101-disk-0.qcow2"]
    assert not (storage.root / "images" / "101").exists()


async def test_a_clone_is_given_to_another_guest_with_its_base(storage: DirectoryStorage) -> None:
    base = await base_of(storage)
    given = await storage.hand_over(await storage.clone(base, None, 101), 105)
    assert given.name == f"{base.name}/105/vm-105-disk-0.qcow2"
    assert holds(storage, given, 7)
    with pytest.raises(StorageError, match="keeps its name"):
        storage.handed_to(base, 105)


# Copies


async def copied(storage: DirectoryStorage, volume: VolumeId, snapshot: str | None = None) -> VolumeId:
    target = await storage.allocate(109, SIZE, "qcow2")
    async with storage.reading(volume, snapshot) as source:
        await images.convert(
            source.path,
            source.format,
            ("-O", "qcow2", str(storage.path(target))),
            snapshot=source.snapshot,
        )
    return target


async def test_a_copy_has_the_content_at_a_snapshot_or_the_present_one(storage: DirectoryStorage) -> None:
    volume = await storage.allocate(100, SIZE, "qcow2")
    write(storage, volume, 1)
    await storage.snapshot(volume, "one")
    write(storage, volume, 2)
    assert holds(storage, await copied(storage, volume, "one"), 1)
    assert holds(storage, await copied(storage, volume), 2)
    with pytest.raises(StorageError, match="no snapshot 'two'"):
        await copied(storage, volume, "two")


async def test_a_copy_of_a_clone_stands_alone(storage: DirectoryStorage) -> None:
    base = await base_of(storage)
    clone = await storage.clone(base, None, 101)
    whole = await copied(storage, clone)
    await storage.free(clone)
    await storage.free(base)
    assert holds(storage, whole, 7)


async def test_what_reaches_a_file_that_its_name_does_not_say_is_not_copied(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * SIZE)
    plain = await storage.allocate(100, SIZE, "qcow2")
    clone = await storage.clone(await base_of(storage, vmid=103), None, 101)
    for volume in (plain, clone):
        subprocess.run(
            ["qemu-img", "rebase", "-u", "-b", secret, "-F", "raw", storage.path(volume)], check=True
        )
        with pytest.raises(NotADiskImage, match=r"builds on '.*secret'"):
            await copied(storage, volume)
