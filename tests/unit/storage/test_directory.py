"""A directory of images: allocation, import, and what is refused before anything is written."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from kvorum.core.ids import VolumeId
from kvorum.storage import NotADiskImage, StorageEntry, StorageError, images
from kvorum.storage.directory import DirectoryStorage

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(StorageEntry("dir", "local", {"path": str(tmp_path / "s"), "content": "images"}))


def files(storage: DirectoryStorage) -> list[str]:
    return sorted(str(p.relative_to(storage.root)) for p in storage.root.rglob("*") if p.is_file())


async def test_numbers_are_given_from_zero_and_gaps_are_filled(storage: DirectoryStorage) -> None:
    made = [await storage.allocate(100, 1 << 20, format) for format in ("qcow2", "raw", "qcow2")]
    assert [v.name for v in made] == [
        "100/vm-100-disk-0.qcow2", "100/vm-100-disk-1.raw", "100/vm-100-disk-2.qcow2",
    ]  # fmt: skip
    await storage.free(made[1])
    assert (await storage.allocate(100, 1 << 20, "qcow2")).name == "100/vm-100-disk-1.qcow2"
    assert [v.size for v in storage.list_blocking(100)] == [1 << 20] * 3


async def test_a_taken_name_is_refused(storage: DirectoryStorage) -> None:
    await storage.allocate(100, 1 << 20, "raw", "vm-100-disk-7.raw")
    with pytest.raises(StorageError, match="already exists"):
        await storage.allocate(100, 1 << 20, "raw", "vm-100-disk-7.raw")


@pytest.mark.parametrize("name", ["100/../../etc/passwd", "iso/../x", "100/disk.qcow2", "etc/passwd"])
def test_no_name_leaves_the_storage(storage: DirectoryStorage, name: str) -> None:
    with pytest.raises((StorageError, ValueError)):
        storage.path(VolumeId("local", name))


async def test_an_image_is_imported_into_another_format(storage: DirectoryStorage, tmp_path: Path) -> None:
    source = tmp_path / "source.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", source, "3M"], check=True)
    told: list[float] = []
    volume = await storage.import_disk(100, source, "raw", told.append)
    assert volume.name == "100/vm-100-disk-0.raw"
    assert await storage.size(volume) == 3 << 20
    assert told[-1] == 1.0


def make_text(path: Path) -> None:
    path.write_text("no disk at all\n" * 1024)


def make_noise(path: Path) -> None:
    path.write_bytes(bytes(range(1, 129)) * 4096)


def make_backed(path: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", path.with_name("base"), "1M"], check=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", path.with_name("base"), "-F", "raw", path],
        check=True,
    )


def make_external(path: Path) -> None:
    options = f"data_file={path.with_name('data')},data_file_raw=on"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "1M"], check=True)


def make_broken(path: Path) -> None:
    path.write_bytes(b"QFI\xfb\x00\x00\x00\x03" + b"\xff" * 1016)


def make_nothing(path: Path) -> None:
    return


@pytest.mark.parametrize(
    "make",
    [make_text, make_noise, make_backed, make_external, make_broken, make_nothing],
    ids=lambda f: f.__name__,
)
async def test_what_is_no_disk_is_refused_before_anything_is_written(
    storage: DirectoryStorage, tmp_path: Path, make: object
) -> None:
    source = tmp_path / "source"
    make(source)
    with pytest.raises(NotADiskImage):
        await storage.import_disk(100, source, "qcow2")
    assert not storage.root.exists()


async def test_a_relative_or_json_path_is_refused(storage: DirectoryStorage) -> None:
    for name in ("image.qcow2", 'json:{"driver":"file","filename":"/etc/passwd"}'):
        with pytest.raises(NotADiskImage):
            await storage.import_disk(100, Path(name))


async def test_a_cancelled_import_leaves_nothing(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(b"\0" * 510 + b"\x55\xaa" + b"\0" * 512)
    reached = asyncio.Event()

    async def endless(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(images, "convert", endless)
    task = asyncio.create_task(storage.import_disk(100, source, "qcow2"))
    await asyncio.wait_for(reached.wait(), 10)
    assert files(storage) == ["images/100/vm-100-disk-0.qcow2"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(storage) == []


async def test_a_new_directory_lets_guests_pass_whatever_our_umask(tmp_path: Path) -> None:
    entry = StorageEntry("dir", "deep", {"path": str(tmp_path / "new" / "deep"), "content": "images"})
    before = os.umask(0o027)
    try:
        await DirectoryStorage(entry).activate()
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("new", "new/deep")] == [0o755, 0o755]


async def test_a_backup_keeps_notes_and_a_protected_one_stays(tmp_path: Path) -> None:
    storage = DirectoryStorage(StorageEntry("dir", "b", {"path": str(tmp_path), "content": "backup,iso"}))
    file = tmp_path / "dump" / "vzdump-qemu-100-2026_11_28-10_00_00.vma.zst"
    file.parent.mkdir()
    file.write_bytes(b"backup")
    volume = VolumeId("b", f"backup/{file.name}")
    await storage.annotate(volume, "before the upgrade\nto 13", True)
    (listed,) = storage.list_blocking()
    assert (listed.volid, listed.notes, listed.protected) == (str(volume), "before the upgrade\nto 13", True)
    with pytest.raises(StorageError, match="is protected"):
        await storage.free(volume)
    await storage.annotate(volume, None, False)
    assert storage.list_blocking()[0].notes == "before the upgrade\nto 13", "what is not given stays"
    await storage.free(volume)
    assert files(storage) == [] and storage.list_blocking() == []


async def test_only_a_backup_that_is_there_takes_notes(tmp_path: Path) -> None:
    storage = DirectoryStorage(StorageEntry("dir", "b", {"path": str(tmp_path), "content": "backup,iso"}))
    with pytest.raises(StorageError, match="no backup"):
        await storage.annotate(VolumeId("b", "iso/x.iso"), "note", None)
    with pytest.raises(StorageError, match="does not exist"):
        await storage.annotate(VolumeId("b", "backup/x.vma"), "note", None)


async def test_names_that_are_told_are_on_the_disk(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's sync is what makes its names last: it has been synced with what it has now."""
    synced: dict[Path, list[str]] = {}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            synced[path] = sorted(entry.name for entry in path.iterdir())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = storage.root / "images/100"
    made = await storage.allocate(100, 1 << 20, "qcow2")
    kept = await storage.allocate(100, 1 << 20, "raw")
    assert synced[folder] == ["vm-100-disk-0.qcow2", "vm-100-disk-1.raw"]
    base = await storage.make_base(made)
    assert synced[folder] == ["base-100-disk-0.qcow2", "vm-100-disk-1.raw"]
    clone = await storage.clone(base, None, 101)
    assert synced[storage.root / "images/101"] == ["vm-101-disk-0.qcow2"]
    await storage.free(kept)
    assert synced[folder] == ["base-100-disk-0.qcow2"]
    await storage.free(clone)
