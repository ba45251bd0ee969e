"""What is being made on storages for nobody's configuration (an allocation, a copy, an arriving file): noted
on this node's disk first, so that a daemon that is killed leaves no half of it.

A note stands from before the first byte until the thing is whole. Who finds one at the daemon's start knows
that it is not, and removes both. What is made for a guest is noted elsewhere: its configuration decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.storage.kind import Reserving
from kvorum.storage.storages import Storages

log = logging.getLogger(__name__)

REMOVE_DEADLINE_S = 30.0


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on disk: a volume or a file. Append-only: a later version must read it."""

    volume: str = ""
    file: str = ""


class HalfMade:
    """The notes of one node, under ``directory``."""

    def __init__(self, storages: Storages, directory: Path) -> None:
        self._storages = storages
        self._directory = directory

    @contextlib.asynccontextmanager
    async def making(self) -> AsyncIterator[Reserving]:
        """Make volumes that are whole when the block ends; left by an error, none of them stays."""
        notes: list[Path] = []

        def reserving(volume: VolumeId | None) -> None:
            if volume is None:
                self.whole(notes.pop())
            else:
                notes.append(self.note(volume=str(volume)))

        try:
            yield reserving
        except BaseException:
            for note in notes:
                await asyncio.shield(self._undo(note))
            raise
        for note in notes:
            await asyncio.shield(asyncio.to_thread(self.whole, note))

    def note(self, *, volume: str = "", file: Path | None = None) -> Path:
        """Note a volume or a file before it is made, and make the note last; returns the note. Blocks."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = self._directory / f"{secrets.token_hex(8)}.json"
        draft = made.with_suffix(".new")
        with draft.open("wb") as stream:
            stream.write(msgspec.json.encode(Note(volume=volume, file=str(file or ""))))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(made)
        return made

    def whole(self, note: Path) -> None:
        """What was noted is whole, or gone: nothing has to be undone any more. Blocks."""
        note.unlink(missing_ok=True)

    async def settle(self) -> None:
        """Remove what an earlier daemon has left half-made; what can't be removed now stays noted."""
        for note in sorted(await asyncio.to_thread(lambda: list(self._directory.glob("*.json")))):
            await self._undo(note)

    async def _undo(self, note: Path) -> None:
        try:
            found = msgspec.json.decode(await asyncio.to_thread(note.read_bytes), type=Note)
            async with asyncio.timeout(REMOVE_DEADLINE_S):
                there = await self._remove(found)
        except FileNotFoundError:
            return
        except (KvorumError, OSError, ValueError, msgspec.MsgspecError, TimeoutError) as error:
            why = str(error) or f"its storage did not answer within {REMOVE_DEADLINE_S:g} s"
            log.error("'%s' tells of something half-made that can't be removed now: %s", note, why)
            return
        if there:
            log.info("removed '%s', which was half-made", found.volume or found.file)
        await asyncio.to_thread(self.whole, note)

    async def _remove(self, found: Note) -> bool:
        if found.volume:
            volume = VolumeId.parse(found.volume)
            return await self._storages.of(volume).free(volume)
        try:
            await asyncio.to_thread(Path(found.file).unlink)
        except FileNotFoundError:
            return False
        return True
