"""Files that come into a storage from outside: an upload, a download.

A file is written under a hidden name beside its place, its checksum is reckoned on the way, and it gets its
name when it is whole. It is noted as half-made until then; what is left of one that no note tells of goes at
the next arrival a day later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from kvorum.core.errors import ParameterError
from kvorum.core.ids import VolumeId
from kvorum.storage.errors import NoSpace, StorageError
from kvorum.storage.half_made import HalfMade
from kvorum.storage.kind import StorageKind

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
BATCH_BYTES = 1 << 20
"""Bytes that are in memory at most, before they go to disk."""

_PREFIX = ".arriving-"
_FORGOTTEN_S = 86400.0
_NAMES = {
    "iso": (re.compile(r".+\.(iso|img)", re.IGNORECASE), ".iso or .img"),
    "vztmpl": (re.compile(r".+\.tar\.(gz|xz|zst|bz2)"), ".tar.gz, .tar.xz, .tar.zst or .tar.bz2"),
    "import": (re.compile(r".+\.(ova|ovf|qcow2|raw|vmdk)"), ".ova, .ovf, .qcow2, .raw or .vmdk"),
}


def file_name(content: str, given: str) -> str:
    """The name that a file gets: its last part, with ``_`` for all but letters, digits, ``.`` and ``-``.

    Raises ``ParameterError`` when nothing fit for this content is left.
    """
    last = re.split(r"[/\\]", given)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", last)
    pattern, wanted = _NAMES[content]
    if name.startswith((".", "-")) or not pattern.fullmatch(name):
        raise ParameterError(
            {"filename": f"'{given[:80]}' is no name of content '{content}': end it with {wanted}"}
        )
    return name


def place(kind: StorageKind, content: str, given: str) -> tuple[VolumeId, Path]:
    """The volume that a file becomes, and where it lies.

    Raises ``ParameterError`` for a bad name and ``StorageError`` where no such content is held.
    """
    if content not in kind.entry.content:
        held = ", ".join(kind.entry.content) or "nothing"
        raise StorageError(f"storage '{kind.id}' does not hold '{content}'; its content is: {held}")
    volume = VolumeId(kind.id, f"{content}/{file_name(content, given)}")
    return volume, kind.path(volume)


class Arrival:
    """One file on its way to ``path``."""

    def __init__(self, path: Path, half_made: HalfMade, algorithm: str | None = None) -> None:
        self._path = path
        self._half_made = half_made
        self._note: Path | None = None
        self._beside = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}")
        self._hash = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
        self._algorithm = algorithm

    async def take(self, chunks: AsyncIterator[bytes]) -> int:
        """Write what comes to disk and return its length in bytes; on any error nothing is left.

        Raises ``NoSpace``, ``StorageError``, and whatever ``chunks`` raises.
        """
        length, batch = 0, bytearray()
        try:
            await asyncio.to_thread(self._begin)
            async for chunk in chunks:
                batch += chunk
                length += len(chunk)
                if len(batch) >= BATCH_BYTES:
                    await asyncio.to_thread(self._write, bytes(batch))
                    batch.clear()
            await asyncio.to_thread(self._write, bytes(batch))
        except BaseException:
            await self.drop()
            raise
        return length

    async def settle(self, checksum: str = "", replace: bool = False) -> None:
        """Give the file its name; on any error nothing is left.

        Raises ``StorageError`` when the checksum is another one, or, without ``replace``, the name is taken.
        """
        try:
            if self._hash is not None and (found := self._hash.hexdigest()) != checksum.strip().lower():
                raise StorageError(
                    f"checksum mismatch: {self._algorithm} is '{found}', expected '{checksum[:128]}'"
                )
            await asyncio.to_thread(self._rename, replace)
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Remove what arrived; it is fine when it is gone already."""
        await asyncio.shield(asyncio.to_thread(self._drop))

    def _drop(self) -> None:
        self._beside.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        if self._note is not None:
            self._half_made.whole(self._note)

    def _begin(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for old in self._path.parent.glob(f"{_PREFIX}*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - old.stat().st_mtime > _FORGOTTEN_S:
                        old.unlink()
            self._note = self._half_made.note(file=self._beside)
            os.close(os.open(self._beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, data: bytes) -> None:
        if self._hash is not None:
            self._hash.update(data)
        try:
            with self._beside.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def _rename(self, replace: bool) -> None:
        try:
            with self._beside.open("rb") as file:
                os.fsync(file.fileno())
            if replace:
                self._beside.replace(self._path)
            else:
                self._path.hardlink_to(self._beside)
                self._beside.unlink()
            self._forget()
        except FileExistsError:
            raise StorageError(
                f"'{self._path.name}' is there already: remove it first, or choose another name"
            ) from None
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(f"there is no room for '{self._path.name}' in '{self._path.parent}'")
        return StorageError(f"can't write '{self._path.name}' in '{self._path.parent}': {error.strerror}")
