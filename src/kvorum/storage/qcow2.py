"""The few facts of a qcow2 file that are needed too often for a qemu-img each: size and backing file.

Source: QEMU's docs/interop/qcow2.txt, header fields at bytes 0 (magic), 8, 16 (backing file) and 24 (size).
"""

from __future__ import annotations

from pathlib import Path

_MAGIC = b"QFI\xfb"
_MAX_NAME_BYTES = 1023


def virtual_size(path: Path) -> int | None:
    """The size that a guest sees, in bytes; ``None`` for another format. Blocks, and raises ``OSError``."""
    with path.open("rb") as file:
        header = file.read(32)
    return int.from_bytes(header[24:32], "big") if header[:4] == _MAGIC and len(header) == 32 else None


def backing_file(path: Path) -> str:
    """The file that an image names below itself, empty: none. Blocks, and raises ``OSError``."""
    with path.open("rb") as file:
        header = file.read(20)
        if header[:4] != _MAGIC or len(header) < 20:
            return ""
        offset, length = int.from_bytes(header[8:16], "big"), int.from_bytes(header[16:20], "big")
        if not offset or not 0 < length <= _MAX_NAME_BYTES:
            return ""
        file.seek(offset)
        return file.read(length).decode(errors="replace")
