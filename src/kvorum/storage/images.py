"""Disk images, by qemu-img: what a file is, new images, and copies with progress.

qemu-img is the one program run here (with an argument list, never a shell, always with a deadline or a
cancellation that ends it). Nothing is believed about a file before ``inspect`` has looked at it: formats can
name other files (backing files, data files, VMDK extents), and a guest's disk must not become a way to read
the host's files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from kvorum.core import durable
from kvorum.storage import reflink
from kvorum.storage.direct_io import takes_direct_io
from kvorum.storage.errors import NotADiskImage, StorageError
from kvorum.storage.ova import Part

INFO_TIMEOUT_S = 15.0
CREATE_TIMEOUT_S = 120.0
SNAPSHOT_TIMEOUT_S = 600.0
FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc")

Progress = Callable[[float], None]
"""Told the fraction done, 0 to 1."""

_PERCENT = re.compile(rb"\(\s*(\d+(?:\.\d+)?)/100%\)")
_MAX_ERROR_BYTES = 4000


class ImageSnapshot(msgspec.Struct, frozen=True):
    """One of the snapshots inside an image."""

    name: str


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What ``qemu-img info`` says of one file."""

    format: str
    virtual_size: int
    actual_size: int = 0
    backing_filename: str | None = None
    snapshots: list[ImageSnapshot] = []
    format_specific: dict[str, object] = {}


async def inspect(path: Path, format: str | None = None, *, timeout: float = INFO_TIMEOUT_S) -> ImageInfo:
    """Look at an image file, without opening anything it refers to.

    Raises ``NotADiskImage`` when qemu-img can't read it as an image, ``StorageError`` when it took longer
    than ``timeout`` seconds.
    """
    if not path.is_absolute():
        raise NotADiskImage(f"'{path}' is no absolute path; give the image's full path")
    arguments = ["info", "--output=json", "-U", *(["-f", format] if format else []), "--", str(path)]
    try:
        output = await _run(arguments, timeout)
        return msgspec.json.decode(output, type=ImageInfo)
    except msgspec.MsgspecError as error:
        raise StorageError(f"'{path}': qemu-img gave an answer that was not understood: {error}") from error
    except _Failed as error:
        raise NotADiskImage(f"'{path}' can't be read as a disk image: {error}") from None


async def check_importable(path: Path | Part) -> ImageInfo:
    """Make sure that a file of unknown origin is a disk image that stands alone; read only.

    Raises ``NotADiskImage`` with the reason: no regular file, no known format, a reference to another file,
    or raw bytes without a partition table or file system.
    """
    if isinstance(path, Part):
        info = await _inspect_part(path)
    elif not await asyncio.to_thread(_is_readable_image_file, path):
        raise NotADiskImage(
            f"'{path}' is no file or block device that can be read; give the path of an image"
        )
    else:
        info = await inspect(path)
    if info.format not in FORMATS:
        raise NotADiskImage(f"'{path}' has the format '{info.format}'; allowed: {', '.join(FORMATS)}")
    if info.backing_filename is not None:
        raise NotADiskImage(
            f"'{path}' builds on another file ('{info.backing_filename}'); "
            "make it whole first: qemu-img convert -O qcow2 OLD NEW"
        )
    foreign = _foreign_file(path, info)
    if foreign:
        raise NotADiskImage(f"'{path}' keeps its data in another file ('{foreign}'); convert it to one file")
    if info.virtual_size <= 0:
        raise NotADiskImage(f"'{path}' is an image of zero bytes")
    if info.format == "raw" and not await asyncio.to_thread(_looks_like_a_disk, path):
        raise NotADiskImage(
            f"'{path}' is no disk image: no known image format, and as raw data it has neither "
            "a partition table nor a file system"
        )
    return info


async def _inspect_part(part: Part) -> ImageInfo:
    """Look at an image in an OVA. Only what begins as an image that has all its data in itself."""
    head = await asyncio.to_thread(_head, part, 128)
    if not head.startswith((b"KDMV", b"QFI\xfb", b"vhdxfile")) and head[0x40:0x44] != b"\x7f\x10\xda\xbe":
        if head.startswith(b"# Disk DescriptorFile"):
            raise NotADiskImage(f"'{part}' keeps its data in another file; only whole images are taken in")
        if not await asyncio.to_thread(_looks_like_a_disk, part):
            raise NotADiskImage(f"'{part}' is no disk image: no known image format, and no raw disk")
    try:
        options = ",".join(_options(part))
        output = await _run(["info", "--output=json", "-U", "--image-opts", options], INFO_TIMEOUT_S)
        return msgspec.json.decode(output, type=ImageInfo)
    except msgspec.MsgspecError as error:
        raise StorageError(f"'{part}': qemu-img gave an answer that was not understood: {error}") from error
    except _Failed as error:
        raise NotADiskImage(f"'{part}' can't be read as a disk image: {error}") from None


def _options(part: Part, prefix: str = "file.") -> Iterator[str]:
    """Part of a file as QEMU takes it; a comma in a path is doubled."""
    yield f"{prefix}driver=raw"
    yield f"{prefix}offset={part.offset}"
    yield f"{prefix}size={_sectors(part)}"
    yield f"{prefix}file.driver=file"
    yield f"{prefix}file.filename={str(part.path).replace(',', ',,')}"


async def check_own(path: Path, format: str, backing_file: str) -> None:
    """Make sure that one of our own images reaches no other file than the backing file it should have.

    Raises ``NotADiskImage`` naming the file that it reaches.
    """
    info = await inspect(path, format)
    named = info.backing_filename or ""
    if named != backing_file:
        raise NotADiskImage(
            f"'{path}' builds on '{named or 'nothing'}', and its name says '{backing_file or 'nothing'}': "
            "it is not read; make it whole first: qemu-img convert -O qcow2 OLD NEW"
        )
    if foreign := _foreign_file(path, info):
        raise NotADiskImage(f"'{path}' keeps its data in another file ('{foreign}'); convert it to one file")


async def create(path: Path, format: str, size_bytes: int, preallocation: str = "off") -> None:
    """Make an empty image; ``path`` may exist and is overwritten. Raises ``StorageError``."""
    options = ["-o", f"preallocation={preallocation}"] if preallocation != "off" else []
    try:
        await _run(
            ["create", "-q", "-f", format, *options, "--", str(path), str(size_bytes)], CREATE_TIMEOUT_S
        )
    except _Failed as error:
        raise StorageError(f"could not create '{path}' of {size_bytes} bytes: {error}") from None


async def grow(path: Path, format: str, size_bytes: int) -> None:
    """Make an image larger; raises ``StorageError``, also when it is larger already."""
    try:
        await _run(["resize", "-q", "-f", format, "--", str(path), str(size_bytes)], CREATE_TIMEOUT_S)
    except _Failed as error:
        raise StorageError(f"could not resize '{path}' to {size_bytes} bytes: {error}") from None


async def overlay(path: Path, base: str, base_format: str) -> None:
    """Make a qcow2 image that rests on another, named from its own folder. Raises ``StorageError``."""
    try:
        await _run(
            ["create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, "--", str(path)], CREATE_TIMEOUT_S
        )
    except _Failed as error:
        raise StorageError(f"could not create '{path}' on '{base}': {error}") from None


async def make_snapshot(path: Path, name: str) -> None:
    """Keep a qcow2 image's content inside it under a name that is free. Raises ``StorageError``."""
    await _snapshot("-c", "make", path, name)


async def apply_snapshot(path: Path, name: str) -> None:
    """Put a qcow2 image back to a snapshot inside it. Raises ``StorageError``."""
    await _snapshot("-a", "go back to", path, name)


async def delete_snapshot(path: Path, name: str) -> None:
    """Forget a snapshot inside a qcow2 image. Raises ``StorageError``."""
    await _snapshot("-d", "delete", path, name)


async def _snapshot(flag: str, verb: str, path: Path, name: str) -> None:
    # Broken off in the middle, the image is as before or as after, with clusters lost at worst: QEMU writes
    # reference counts before the tables that need them.
    try:
        image = f"driver=qcow2,file.driver=file,file.filename={str(path).replace(',', ',,')}"
        await _run(["snapshot", "--image-opts", "-q", flag, name, image], SNAPSHOT_TIMEOUT_S)
    except _Failed as error:
        raise StorageError(f"could not {verb} snapshot '{name}' of '{path}': {error}") from None


async def convert(
    source: Path | Part,
    source_format: str,
    target: Sequence[str],
    *,
    objects: Sequence[str] = (),
    rate_bytes_s: int = 0,
    snapshot: str = "",
    progress: Progress = lambda fraction: None,
) -> None:
    """Copy an image into a target that ``target`` names in qemu-img's words.

    ``target`` ends with the target itself, such as ``("-O", "qcow2", "/path")``. Runs as long as it needs;
    cancelling it ends qemu-img. Raises ``StorageError``. A snapshot inside the image may be copied while QEMU
    writes to the image: what a snapshot refers to is never written again (QEMU's qcow2.txt). Raw data are
    shared, not copied, where the file system can.
    """
    if (
        isinstance(source, Path)
        and (source_format, *target[-3:-1]) == ("raw", "-O", "raw")
        and await asyncio.to_thread(_shared, source, Path(target[-1]))
    ):
        progress(1.0)
        return
    arguments, named = ["convert", "-p"], str(source)
    if isinstance(source, Part):
        arguments.append("--image-opts")
        named = ",".join((f"driver={source_format}", *_options(source)))
    else:
        arguments += ["-f", source_format]
    if snapshot:
        arguments += ["-U", "-l", f"snapshot.name={snapshot}"]
    for text in objects:
        arguments += ["--object", text]
    if rate_bytes_s:
        arguments += ["-r", str(rate_bytes_s)]
    if "-O" in target and await asyncio.to_thread(
        takes_direct_io, Path(target[-1]), target[target.index("-O") + 1]
    ):
        arguments += ["-t", "none"]
    arguments += [*target[:-1], named, target[-1]]
    try:
        async with _process(arguments) as process:
            assert process.stdout is not None and process.stderr is not None
            errors = asyncio.create_task(_read_errors(process.stderr))
            try:
                while chunk := await process.stdout.read(256):
                    for match in _PERCENT.finditer(chunk):
                        progress(float(match[1]) / 100)
                _check(await process.wait(), await errors)
            finally:
                errors.cancel()
    except _Failed as error:
        raise StorageError(f"could not copy '{source}': {error}") from None


def _shared(source: Path, target: Path) -> bool:
    try:
        return reflink.share(source, target)
    except FileNotFoundError:
        return False  # the copy says which
    except OSError as error:
        raise StorageError(f"could not copy '{source}': {error.strerror}") from error


def make_last(path: Path) -> None:
    """Have an image, what was written to it and its name outlive a power cut. Blocks, and raises
    ``StorageError``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path.is_file():
            durable.sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"'{path}' is not safe on its disk: {error.strerror}") from error


class _Failed(Exception):
    """qemu-img ended with an error; the text is its last line."""


async def _run(arguments: Sequence[str], timeout: float) -> bytes:
    async with _process(arguments) as process:
        try:
            output, errors = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            raise StorageError(
                f"qemu-img {arguments[0]} '{arguments[-1]}' did not answer within {timeout:g} s; "
                "is its storage reachable?"
            ) from None
        assert process.returncode is not None
        _check(process.returncode, errors)
        return output


def _check(status: int, errors: bytes) -> None:
    if status:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise _Failed(lines[-1] if lines else f"qemu-img ended with status {status}")


async def _read_errors(stream: asyncio.StreamReader) -> bytes:
    """The end of what a process says until it ends. It may say one line in several writes."""
    errors = b""
    while chunk := await stream.read(_MAX_ERROR_BYTES):
        errors = (errors + chunk)[-_MAX_ERROR_BYTES:]
    return errors


@contextlib.asynccontextmanager
async def _process(arguments: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running qemu-img that is gone when the block is left, however it is left."""
    try:
        process = await asyncio.create_subprocess_exec(
            "qemu-img",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise StorageError("qemu-img is not installed; install the package qemu-utils") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                # A process stuck on a dead storage can't be reaped; it goes when the storage comes back.
                await asyncio.wait_for(process.communicate(), 5.0)


def _is_readable_image_file(path: Path) -> bool:
    try:
        if not (path.is_file() or path.is_block_device()):
            return False
        with path.open("rb"):
            return True
    except OSError:
        return False


def _foreign_file(path: Path | Part, info: ImageInfo) -> str | None:
    """The name of another file that holds the image's data (qcow2 data-file, VMDK extents), if any."""
    data = info.format_specific.get("data")
    if not isinstance(data, dict):
        return None
    if data.get("data-file"):
        return str(data["data-file"])
    for extent in data.get("extents", ()):
        if isinstance(extent, dict) and not _is_itself(path, str(extent.get("filename", path))):
            return str(extent["filename"])
    return None


def _is_itself(source: Path | Part, named: str) -> bool:
    """Whether what an image names as the place of its data is its own; a part's is told as JSON."""
    if not isinstance(source, Part):
        return Path(named) == source
    try:
        told = msgspec.json.decode(named.removeprefix("json:"), type=_PartTold, strict=False)
    except msgspec.MsgspecError:
        return False
    return (told.offset, told.size, told.file.filename) == (source.offset, _sectors(source), str(source.path))


def _sectors(part: Part) -> int:
    """A part's size as QEMU takes it, which is whole sectors; a tar fills the last one up."""
    return -(-part.size // 512) * 512


class _FileTold(msgspec.Struct):
    filename: str


class _PartTold(msgspec.Struct):
    """How QEMU names part of a file."""

    offset: int
    size: int
    file: _FileTold


_SIGNATURES: tuple[tuple[int, bytes], ...] = (
    (510, b"\x55\xaa"),  # MBR, protective MBR of GPT, FAT and NTFS boot sectors
    (512, b"EFI PART"),  # GPT
    (0x438, b"\x53\xef"),  # ext2, ext3, ext4
    (0, b"XFSB"),
    (0x10040, b"_BHRfS_M"),  # btrfs
    (0x8001, b"CD001"),  # ISO 9660
    (512, b"LABELONE"),  # LVM physical volume
    (0, b"LUKS\xba\xbe"),
)


def _head(source: Path | Part, length: int) -> bytes:
    """The first bytes of a file, or of a part of one."""
    at, size = (source.offset, source.size) if isinstance(source, Part) else (0, length)
    try:
        with (source.path if isinstance(source, Part) else source).open("rb") as file:
            file.seek(at)
            return file.read(min(length, size))
    except OSError as error:
        raise NotADiskImage(f"'{source}' can't be read: {error.strerror}") from error


def _looks_like_a_disk(path: Path | Part) -> bool:
    """Whether raw bytes begin as disks do, or are all zero (a blank disk) in their first MiB."""
    head = _head(path, 1 << 20)
    if isinstance(path, Part):
        size = path.size
    else:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    if not head or size % 512:
        return False
    return not any(head) or any(head[at : at + len(mark)] == mark for at, mark in _SIGNATURES)
