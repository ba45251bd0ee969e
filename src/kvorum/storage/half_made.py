"""What is being made on storages for nobody's configuration (an allocation, a copy, an arriving file): noted
on this node's disk first, so that a daemon that is killed leaves no half of it.

A note stands from before the first byte until the thing is whole. Who finds one at the daemon's start knows
that it is not, and removes both. What is made for a guest is noted elsewhere: its configuration decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from kvorum.core import durable, notes
from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.storage.kind import Reserving
from kvorum.storage.storages import Storages

log = logging.getLogger(__name__)

REMOVE_DEADLINE_S = 30.0
Tell = Callable[[str], None]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on disk: a volume or a file. Append-only: a later version must read it."""

    volume: str = ""
    file: str = ""


class HalfMade:
    """The notes of one node, under ``directory``."""

    def __init__(self, storages: Storages, directory: Path) -> None:
        notes.forget_drafts(directory)
        self._storages = storages
        self._directory = directory
        self._under_way: dict[Path, Note] = {}

    @contextlib.asynccontextmanager
    async def making(self) -> AsyncIterator[Reserving]:
        """Make volumes that are whole when the block ends; left by an error, none of them stays."""
        made: list[Path] = []

        def reserving(volume: VolumeId | None) -> None:
            if volume is None:
                self.whole(made.pop())
            else:
                made.append(self.note(volume=str(volume)))

        try:
            yield reserving
        except BaseException:
            for note in made:
                await asyncio.shield(self._undo(note))
            raise
        for note in made:
            await asyncio.shield(asyncio.to_thread(self.whole, note))

    def note(self, *, volume: str = "", file: Path | None = None) -> Path:
        """Note a volume or a file before it is made, and make the note last; returns the note. Blocks."""
        made = self._directory / f"{secrets.token_hex(8)}{notes.SUFFIX}"
        told = Note(volume=volume, file=str(file or ""))
        self._under_way[made] = told
        try:
            durable.write(made, msgspec.json.encode(told))
        except OSError:
            del self._under_way[made]
            raise
        return made

    def whole(self, note: Path) -> None:
        """What was noted is whole, or gone: nothing has to be undone any more. Blocks.

        Its end must last like its beginning: a note that came back would have what is whole removed.
        """
        durable.remove(note)
        self._under_way.pop(note, None)

    @property
    def under_way(self) -> list[Note]:
        """What is being made by this daemon now."""
        return list(self._under_way.values())

    async def noted(self) -> list[tuple[Path, Note | str]]:
        """What was left half-made: the file, and its note or why it can't be read."""
        return await asyncio.to_thread(notes.read, self._directory, Note, frozenset(self._under_way))

    async def settle(self, tell: Tell | None = None) -> None:
        """Remove what an earlier daemon has left half-made; what can't be removed now stays noted.

        What is removed and what is not is told, or logged.
        """
        for note, _ in await self.noted():
            await self._undo(note, tell)

    async def _undo(self, note: Path, tell: Tell | None = None) -> None:
        self._under_way.pop(note, None)
        try:
            found = msgspec.json.decode(await asyncio.to_thread(note.read_bytes), type=Note)
            async with asyncio.timeout(REMOVE_DEADLINE_S):
                there = await self._remove(found)
        except FileNotFoundError:
            return
        except (KvorumError, OSError, ValueError, msgspec.MsgspecError, TimeoutError) as error:
            why = str(error) or f"its storage did not answer within {REMOVE_DEADLINE_S:g} s"
            (tell or log.error)(f"'{note}' tells of something half-made that can't be removed now: {why}")
            return
        if there:
            (tell or log.info)(f"removed '{found.volume or found.file}', which was half-made")
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
