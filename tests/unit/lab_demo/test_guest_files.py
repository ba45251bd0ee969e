import io
import lzma
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.lab.guest import disk, initramfs, ring

SECTORS = 16


def written(numbers: list[int], boot: int = 1) -> bytes:
    """A ring of 16 sectors after these numbers were written in order."""
    content = bytearray(SECTORS * ring.SECTOR_BYTES)
    for number in numbers:
        at = number % SECTORS * ring.SECTOR_BYTES
        content[at : at + ring.SECTOR_BYTES] = b"pulse %d boot %d\n" % (number, boot) + bytes(
            ring.SECTOR_BYTES - len(b"pulse %d boot %d\n" % (number, boot))
        )
    return bytes(content)


@given(st.integers(1, 200), st.integers(1, 60))
def test_an_unbroken_sequence_has_no_gaps_however_often_it_went_round(first: int, count: int) -> None:
    found = ring.read_sequence(written(list(range(first, first + count))))
    assert found is not None
    assert found.last == first + count - 1
    assert found.first == max(first, found.last - SECTORS + 1)
    assert found.missing == found.astray == ()


def test_a_lost_write_is_a_gap_and_what_stood_there_before_does_not_hide_it() -> None:
    lost_early = ring.read_sequence(written([1, 2, 4, 5]))
    lost_late = ring.read_sequence(written([n for n in range(1, 40) if n != 35]))
    assert lost_early is not None and lost_early.missing == (3,)
    assert lost_late is not None and lost_late.missing == (35,)


def test_a_write_in_the_wrong_sector_is_named() -> None:
    content = written([1, 2])
    moved = content[: 2 * ring.SECTOR_BYTES] + bytes(ring.SECTOR_BYTES) + content[2 * ring.SECTOR_BYTES :]
    found = ring.read_sequence(moved[: len(content)])
    assert found is not None
    assert (found.last, found.astray) == (1, (2,))


def test_nothing_is_found_in_nothing() -> None:
    assert ring.read_sequence(bytes(8192)) is None
    assert ring.read_sequence(b"") is None


def test_the_address_comes_from_the_mac() -> None:
    assert ring.address_of("52:54:00:00:12:34") == "198.19.18.52"
    with pytest.raises(ValueError, match="no usable address"):
        ring.address_of("52:54:00:00:ff:ff")


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed")
def test_the_archive_is_one_that_others_read(tmp_path: Path) -> None:
    content = initramfs.archive(
        {"a/b/run": initramfs.file(b"odd", executable=True), "l": initramfs.link("a/b/run")}
    )
    done = subprocess.run(
        ["busybox", "cpio", "-idm"], input=content, cwd=tmp_path, capture_output=True, timeout=30, check=True
    )
    assert b"TRAILER" not in done.stderr
    assert (tmp_path / "l").read_bytes() == b"odd"
    assert stat.S_IMODE((tmp_path / "a/b/run").stat().st_mode) == 0o755


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    def module(name: str, depends: str) -> None:
        with lzma.open(tmp_path / f"{name}.ko.xz", "wb") as out:
            out.write(b"ELF\0license=GPL\0depends=" + depends.encode() + b"\0name=" + name.encode() + b"\0")

    module("virtio_net", "net_failover")
    module("net_failover", "failover")
    module("failover", "")
    module("virtio-rng", "rng-core")
    found = initramfs.modules(tmp_path, ["virtio_net", "virtio_rng", "built_in"])
    assert list(found) == ["failover.ko", "net_failover.ko", "virtio_net.ko", "virtio_rng.ko"]
    assert io.BytesIO(found["failover.ko"]).read(3) == b"ELF"


def test_the_boot_record_names_its_partitions() -> None:
    record = disk.boot_record(b"\xeb\xfe", disk.PARTITIONS)
    assert record[:2] == b"\xeb\xfe" and record[-2:] == b"\x55\xaa"
    first, second = record[446:462], record[462:478]
    assert first[0] == 0x80 and second[0] == 0
    assert int.from_bytes(first[8:12], "little") * 512 == disk.BOOT_OFFSET_BYTES
    assert int.from_bytes(second[8:12], "little") * 512 == ring.OWN_RING_OFFSET_BYTES
    assert int.from_bytes(second[12:16], "little") * 512 == ring.RING_BYTES
