"""The guest's root file system: a cpio archive (the kernel's "newc" form), made without root or mounts.

Kernel documentation: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import lzma
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory (mode S_IFDIR), link (S_IFLNK, content its target) or character device."""

    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(content: bytes, *, executable: bool = False) -> Entry:
    """A regular file of root's."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), content)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive; missing parent directories are added, and the same entries give the same bytes."""
    whole = {p: Entry(stat.S_IFDIR | 0o755) for p in _parents(entries)} | dict(entries)
    out = bytearray()
    for number, (path, entry) in enumerate(sorted(whole.items()), start=1):
        out += _record(number, path, entry)
    out += _record(0, "TRAILER!!!", Entry(0))
    return bytes(out)


def _parents(paths: Iterable[str]) -> set[str]:
    return {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "."}


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def modules(tree: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Kernel modules and what they depend on, unpacked, in the order to load them.

    ``tree`` is ``lib/modules/VERSION``; a wanted one that is built in, or not there, is left out. The
    dependencies are read off the modules' own ``depends=`` (modinfo), so that no depmod is needed.
    """
    files = {p.name.partition(".ko")[0].replace("-", "_"): p for p in tree.rglob("*.ko*")}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in order or name not in files:
            return
        data = files[name].read_bytes()
        if files[name].suffix == ".xz":
            data = lzma.decompress(data)
        for needed in _depends(data):
            add(needed)
        order[name] = data

    for name in wanted:
        add(name.replace("-", "_"))
    return {f"{name}.ko": data for name, data in order.items()}


def _depends(module: bytes) -> list[str]:
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name.replace("-", "_") for name in match[1].decode().split(",") if name] if match else []
