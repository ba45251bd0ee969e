"""The guest's disk: a master boot record, a FAT partition with SYSLINUX, kernel and root, and the ring.

    sector 0            boot code and partition table
    1 MiB .. 33 MiB     partition 1, FAT16: ldlinux.sys, vmlinuz, initrd, syslinux.cfg, startup.nsh
    33 MiB .. 41 MiB    partition 2, no file system: the ring of numbers

It is put together in a plain file by tools that write into files (mtools, syslinux): no mount, no loop.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from kvorum.lab.guest.ring import OWN_RING_OFFSET_BYTES, RING_BYTES
from kvorum.lab.guest.tools import Tools

MIB = 1 << 20
SECTOR = 512
BOOT_OFFSET_BYTES = MIB
VIRTUAL_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class Partition:
    """A row of the partition table; ``kind`` is its type byte."""

    start_bytes: int
    size_bytes: int
    kind: int
    bootable: bool = False


PARTITIONS = (
    Partition(BOOT_OFFSET_BYTES, OWN_RING_OFFSET_BYTES - BOOT_OFFSET_BYTES, 0x0E, bootable=True),
    Partition(OWN_RING_OFFSET_BYTES, RING_BYTES, 0xDA),
)


def boot_record(code: bytes, partitions: tuple[Partition, ...]) -> bytes:
    """Sector 0: boot code (at most 440 bytes), a disk signature, and up to four partitions (LBA)."""
    assert len(code) <= 440 and len(partitions) <= 4
    rows = b"".join(
        struct.pack(
            "<B3sB3sII",
            0x80 if p.bootable else 0,
            b"\xfe\xff\xff",
            p.kind,
            b"\xfe\xff\xff",
            p.start_bytes // SECTOR,
            p.size_bytes // SECTOR,
        )
        for p in partitions
    )
    record = code.ljust(440, b"\0") + struct.pack("<IH", 0x4B564F52, 0) + rows.ljust(64, b"\0") + b"\x55\xaa"
    assert len(record) == SECTOR
    return record


def uefi_script(syslinux_cfg: str) -> str:
    """What the shell of a UEFI firmware runs (startup.nsh): the kernel as SYSLINUX would start it."""
    words = dict(line.split(None, 1) for line in syslinux_cfg.splitlines() if len(line.split(None, 1)) == 2)
    return f"fs0:\r\n{words['LINUX']} initrd={words['INITRD']} {words['APPEND']}\r\n"


def make(raw: Path, root: Path, tools: Tools, files: dict[str, Path]) -> None:
    """Write the disk to the file ``raw``; ``root`` holds the unpacked packages, ``tools`` runs theirs.

    ``files`` maps a name in the FAT partition to its source. Raises ``FetchFailed``.
    """
    code = (root / "usr/lib/syslinux/mbr/mbr.bin").read_bytes()
    with raw.open("wb") as out:
        out.truncate(VIRTUAL_BYTES)
        out.write(boot_record(code, PARTITIONS))
    drive = f"{raw}@@{BOOT_OFFSET_BYTES}"
    sectors = str(PARTITIONS[0].size_bytes // SECTOR)
    hidden = str(BOOT_OFFSET_BYTES // SECTOR)
    geometry = ("-T", sectors, "-h", "64", "-s", "32", "-H", hidden, "-c", "4", "-N", "4b564f52")
    tools.run("mformat", "-i", drive, *geometry, "::")
    for name, source in files.items():
        tools.run("mcopy", "-i", drive, str(source), f"::{name}")
    tools.run("syslinux", "--install", "--offset", str(BOOT_OFFSET_BYTES), str(raw))
