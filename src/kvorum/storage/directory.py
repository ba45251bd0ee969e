"""The ``dir`` kind: images are files below a directory, ``images/VMID/vm-VMID-disk-N.FORMAT``.

With ``shared 1`` the admin says that all nodes see the same directory (NFS mounted by hand, a cluster file
system). Guests' QEMUs run under a uid of their own, so ``images`` and the guests' folders may be passed
through by everyone (0711) and listed by root alone; the files belong to the guest's uid (see guests.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.storage import attributes, images
from kvorum.storage.errors import NoSpace, StorageError
from kvorum.storage.images import Progress
from kvorum.storage.kind import (
    Capabilities,
    Reserving,
    StorageKind,
    StorageStatus,
    Volume,
    reserve_silently,
)

_FORMATS = ("raw", "qcow2")
_DISK = re.compile(
    r"(?P<owner>\d+)/(?P<base>(?:vm|base)-(?P<vmid>\d+)-[A-Za-z0-9_.-]+)\.(?P<format>raw|qcow2)"
)
_NUMBER = re.compile(r"(?:vm|base)-\d+-disk-(\d+)")
_FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "backup": "dump",
    "snippets": "snippets",
    "import": "import",
}
_MAX_DISKS = 10_000


class DirectoryStorage(StorageKind):
    """A directory of files."""

    @property
    def root(self) -> Path:
        """The storage's own directory."""
        return Path(self.entry.path)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shared=self.entry.shared,
            formats=_FORMATS,
            snapshots=frozenset({"qcow2"}),
            clones=frozenset({"qcow2"}),
            thin=True,
        )

    async def activate(self) -> None:
        await asyncio.to_thread(self._activate)

    def _activate(self) -> None:
        mount = self.entry.options.get("is_mountpoint", "no")
        if mount.startswith("/") or mount in ("1", "yes", "on", "true"):
            point = Path(mount) if mount.startswith("/") else self.root
            if not point.is_mount():
                raise StorageError(f"unable to activate storage '{self.id}': '{point}' is not mounted")
        make = "0" not in (self.entry.options.get("mkdir"), self.entry.options.get("create-base-path"))
        try:
            if make:
                make_passable(self.root)
            if not self.root.is_dir():
                raise StorageError(
                    f"unable to activate storage '{self.id}': directory '{self.root}' does not exist"
                )
        except OSError as error:
            raise StorageError(
                f"unable to activate storage '{self.id}': {error.strerror}: '{self.root}'"
            ) from error

    def path(self, volume: VolumeId) -> Path:
        if _DISK.fullmatch(volume.name):
            return self.root / "images" / volume.name
        content, _, name = volume.name.partition("/")
        if content in _FOLDERS and name and "/" not in name:
            return self.root / _FOLDERS[content] / name
        raise StorageError(
            f"'{volume}' is no volume of a directory storage; "
            "write STORAGE:VMID/vm-VMID-disk-N.qcow2 (or .raw), or STORAGE:iso/NAME.iso"
        )

    def format(self, volume: VolumeId) -> str:
        match = _DISK.fullmatch(volume.name)
        return match["format"] if match else "raw"

    async def allocate(
        self,
        vmid: int,
        size_bytes: int,
        format: str | None = None,
        name: str | None = None,
        reserving: Reserving = reserve_silently,
    ) -> VolumeId:
        chosen = self._format(format)
        self._must_hold("images")
        if size_bytes <= 0:
            raise StorageError(f"storage '{self.id}': a disk of {size_bytes} bytes can't be made")
        await self.activate()
        volume = await asyncio.to_thread(self._reserve, vmid, chosen, name, reserving)
        try:
            await images.create(self.path(volume), chosen, size_bytes, self._preallocation(chosen))
        except BaseException:
            await self.free(volume)
            raise
        return volume

    async def free(self, volume: VolumeId) -> bool:
        path, is_disk = self.path(volume), _DISK.fullmatch(volume.name) is not None
        if volume.name.startswith("backup/"):
            await asyncio.to_thread(attributes.forget, path, volume)
        return await asyncio.shield(asyncio.to_thread(_remove, path, is_disk))

    def handed_to(self, volume: VolumeId, vmid: int) -> VolumeId:
        match = _DISK.fullmatch(volume.name)
        if match is None:
            raise StorageError(f"'{volume}' is no disk of a guest")
        base = match["base"]
        if base.startswith("base-"):
            raise StorageError(
                f"'{volume}' is a template's disk, and others may rest on it: it keeps its name"
            )
        if match["vmid"] == match["owner"]:
            former = f"vm-{match['vmid']}-"
            base = f"vm-{vmid}-{base.removeprefix(former)}"
        return VolumeId(volume.storage, f"{vmid}/{base}.{match['format']}")

    async def hand_over(self, volume: VolumeId, vmid: int) -> VolumeId:
        new = self.handed_to(volume, vmid)
        await asyncio.shield(asyncio.to_thread(_rename, self.path(volume), self.path(new)))
        return new

    async def annotate(self, volume: VolumeId, notes: str | None, protected: bool | None) -> None:
        path = self.path(volume)
        if not volume.name.startswith("backup/"):
            raise StorageError(f"'{volume}' is no backup: only these have notes and protection")
        await asyncio.to_thread(attributes.write, path, volume, notes, protected)

    def list_blocking(self, vmid: int | None = None, content: Sequence[str] = ()) -> list[Volume]:
        return self._list(vmid, frozenset(content))

    async def size(self, volume: VolumeId) -> int:
        path = self.path(volume)
        if not await asyncio.to_thread(path.exists):
            raise StorageError(f"volume '{volume}' does not exist ('{path}')")
        return (await images.inspect(path, self.format(volume))).virtual_size

    async def grow(self, volume: VolumeId, size_bytes: int) -> None:
        await images.grow(self.path(volume), self.format(volume), size_bytes)

    def status_blocking(self) -> StorageStatus:
        self._activate()
        info = os.statvfs(self.root)
        total, free, avail = (count * info.f_frsize for count in (info.f_blocks, info.f_bfree, info.f_bavail))
        return StorageStatus(total=total, used=total - free, avail=avail)

    async def import_disk(
        self,
        vmid: int,
        source: Path,
        format: str | None = None,
        progress: Progress = lambda fraction: None,
        reserving: Reserving = reserve_silently,
    ) -> VolumeId:
        chosen = self._format(format)
        self._must_hold("images")
        info = await images.check_importable(source)
        await self.activate()
        room = await asyncio.to_thread(self.status_blocking)
        if info.actual_size > room.avail:
            raise NoSpace(
                f"storage '{self.id}' has {room.avail} bytes free; '{source}' needs {info.actual_size}"
            )
        volume = await asyncio.to_thread(self._reserve, vmid, chosen, None, reserving)
        try:
            await images.convert(
                source, info.format, ("-O", chosen, str(self.path(volume))), progress=progress
            )
        except BaseException:
            await self.free(volume)
            raise
        return volume

    def _format(self, format: str | None) -> str:
        chosen = format or self.entry.options.get("format") or "raw"
        if chosen not in _FORMATS:
            raise StorageError(
                f"storage '{self.id}' can't keep the format '{chosen}'; allowed: {', '.join(_FORMATS)}"
            )
        return chosen

    def _preallocation(self, format: str) -> str:
        wanted = self.entry.options.get("preallocation", "off")
        return "off" if format == "raw" and wanted == "metadata" else wanted

    def _must_hold(self, content: str) -> None:
        if content not in self.entry.content:
            raise StorageError(
                f"storage '{self.id}' does not hold '{content}'; "
                f"its content is: {', '.join(self.entry.content)}"
            )

    def _reserve(self, vmid: int, format: str, name: str | None, reserving: Reserving) -> VolumeId:
        """Create an empty file under the first free number (or just ``name``) and return its volume id."""
        folder = self.root / "images" / str(vmid)
        try:
            for number in range(_MAX_DISKS):
                base = name or f"vm-{vmid}-disk-{number}.{format}"
                if name is None and number in self._numbers(folder):
                    continue
                volume = VolumeId.parse(f"{self.id}:{vmid}/{base}")
                if name is not None and self.path(volume).exists():
                    raise StorageError(f"volume '{volume}' already exists")
                reserving(volume)
                _make_folder(folder)
                try:
                    os.close(os.open(self.path(volume), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                except FileExistsError:
                    reserving(None)
                    if name is None:
                        continue
                    raise StorageError(f"volume '{volume}' already exists") from None
                return volume
        except OSError as error:
            raise StorageError(f"storage '{self.id}': {error.strerror}: '{folder}'") from error
        raise StorageError(f"storage '{self.id}': VM {vmid} has {_MAX_DISKS} disks there already")

    @staticmethod
    def _numbers(folder: Path) -> frozenset[int]:
        entries = folder.iterdir() if folder.is_dir() else ()
        matches = (_NUMBER.match(entry.name) for entry in entries)
        return frozenset(int(match[1]) for match in matches if match)

    def _list(self, vmid: int | None, content: frozenset[str]) -> list[Volume]:
        volumes: list[Volume] = []
        if (not content or "images" in content) and "images" in self.entry.content:
            pattern = f"{vmid}/*" if vmid is not None else "[0-9]*/*"
            for path in (self.root / "images").glob(pattern):
                name = f"{path.parent.name}/{path.name}"
                match = _DISK.fullmatch(name)
                if match:
                    volumes += self._volume(path, name, "images", match["format"], int(match["owner"]))
        for kind, folder in _FOLDERS.items():
            if kind in self.entry.content and (not content or kind in content) and vmid is None:
                for path in (self.root / folder).glob("[!.]*"):
                    if kind == "backup" and path.suffix in attributes.SUFFIXES:
                        continue
                    volumes += self._volume(
                        path, f"{kind}/{path.name}", kind, path.suffix.lstrip(".") or "raw", None
                    )
        return sorted(volumes, key=lambda volume: volume.volid)

    def _volume(self, path: Path, name: str, content: str, format: str, vmid: int | None) -> list[Volume]:
        """The entry of one file; none when it has just gone, or is a directory."""
        try:
            stat = path.stat()
            size = _virtual_size(path, format, stat.st_size)
        except OSError:
            return []
        if not path.is_file():
            return []
        used, ctime = stat.st_blocks * 512, int(stat.st_mtime)
        return [
            Volume(
                volid=f"{self.id}:{name}",
                content=content,
                format=format,
                size=size,
                used=used,
                vmid=vmid,
                ctime=ctime,
                **attributes.read(path, content),
            )
        ]


def _virtual_size(path: Path, format: str, file_size: int) -> int:
    """The size a guest sees: raw is the file's; qcow2 has it at byte 24, big-endian (QEMU's qcow2.txt)."""
    if format != "qcow2":
        return file_size
    with path.open("rb") as file:
        header = file.read(32)
    return int.from_bytes(header[24:32], "big") if header[:4] == b"QFI\xfb" else file_size


def _make_folder(folder: Path) -> None:
    """Make a guest's folder, which every guest's uid may pass through and only we may list."""
    folder.mkdir(parents=True, exist_ok=True)
    for directory in (folder, folder.parent):
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(0o711)


def _rename(old: Path, new: Path) -> None:
    """Move a disk into another guest's folder; an empty folder goes. Broken off, it can be done again."""
    try:
        if old.exists():
            if new.exists():
                raise StorageError(f"'{new}' is there already: '{old}' keeps its name")
            _make_folder(new.parent)
            old.rename(new)
        elif not new.exists():
            raise StorageError(f"'{old}' is not there any more")
        with contextlib.suppress(OSError):
            old.parent.rmdir()
    except OSError as error:
        raise StorageError(f"could not rename '{old}' to '{new}': {error.strerror}") from error


def _remove(path: Path, is_disk: bool) -> bool:
    there = True
    try:
        path.unlink()
    except FileNotFoundError:
        there = False
    except OSError as error:
        raise StorageError(f"could not remove '{path}': {error.strerror}") from error
    if is_disk:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    return there


def make_passable(path: Path) -> None:
    """Make a directory and what lacks above it, so that guests' uids can pass whatever our umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
