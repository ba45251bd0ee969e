"""Raw images that share their blocks. The kernel's call is stood in for: this machine's disks can't."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from kvorum.storage import StorageError, images, reflink

DATA = b"\x07" * (64 << 10)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source.raw", tmp_path / "target.raw"
    source.write_bytes(DATA)
    target.touch()
    return source, target


def answers(monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[int]:
    """Have the kernel share blocks, or refuse it; returns the calls' numbers."""
    asked: list[int] = []

    def ioctl(target: int, number: int, source: int) -> int:
        asked.append(number)
        if code:
            raise OSError(code, os.strerror(code))
        data = os.pread(source, 1 << 20, 0)
        os.ftruncate(target, len(data))
        os.pwrite(target, data, 0)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return asked


def test_an_empty_file_gets_the_content(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch)
    assert reflink.share(*pair)
    assert asked == [0x40049409] and pair[1].read_bytes() == DATA


def test_a_file_that_is_not_there_is_made(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    pair[1].unlink()
    assert reflink.share(*pair)
    assert pair[1].read_bytes() == DATA and pair[1].stat().st_mode & 0o777 == 0o600


def test_a_larger_file_keeps_its_size(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    os.truncate(pair[1], 1 << 20)
    assert reflink.share(*pair)
    assert pair[1].read_bytes() == DATA + bytes((1 << 20) - len(DATA))


def test_a_file_whose_room_is_reserved_keeps_it(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch)
    with pair[1].open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
    assert not reflink.share(*pair) and asked == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
async def test_where_the_file_system_cant_it_is_copied(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked = answers(monkeypatch, code)
    told: list[float] = []
    await images.convert(pair[0], "raw", ("-O", "raw", str(pair[1])), progress=told.append)
    assert asked == [0x40049409] and pair[1].read_bytes() == DATA and told[-1] == 1.0


async def test_a_copy_of_raw_data_needs_no_program_where_it_can(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch)
    told: list[float] = []
    await images.create(pair[1], "raw", len(DATA))
    monkeypatch.setattr(images, "_process", None)
    await images.convert(pair[0], "raw", ("-n", "-O", "raw", str(pair[1])), progress=told.append)
    assert pair[1].read_bytes() == DATA and told == [1.0]


@pytest.mark.parametrize(("source", "target"), [("raw", "qcow2"), ("qcow2", "raw")])
async def test_another_format_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    asked = answers(monkeypatch)
    await images.create(tmp_path / "one", source, 1 << 20)
    (tmp_path / "two").touch()
    await images.convert(tmp_path / "one", source, ("-O", target, str(tmp_path / "two")))
    assert asked == [] and (await images.inspect(tmp_path / "two", target)).virtual_size == 1 << 20


async def test_a_disk_that_is_full_is_said(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, errno.ENOSPC)
    with pytest.raises(StorageError, match=r"could not copy '.*source.raw': No space left on device"):
        await images.convert(pair[0], "raw", ("-O", "raw", str(pair[1])))
