"""What has been begun for guests and may not be whole: noted on disk before it is made.

Each undertaking that makes or removes volumes ends in one write to the store, and that write decides: a
volume that a guest's configuration names is kept, one that none names is removed. So one rule cleans up after
success (a destroyed guest's volumes), failure, a stop by the user, and a daemon that was killed. What can't
be settled now (no quorum, a dead storage) stays noted and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from kvorum.core import durable, notes
from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.settling import Settler
from kvorum.interface import TaskLog
from kvorum.storage import Storages

log = logging.getLogger(__name__)

FREE_DEADLINE_S = 30.0
CREATE_LOCK = "create"
Restore = Callable[[int, list[VolumeId]], Awaitable[None]]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on disk. Append-only: a later version must read it."""

    vmid: int
    purpose: str
    volumes: tuple[str, ...] = ()
    """Volumes that may have been made, or are to be removed."""
    handed: tuple[tuple[str, str], ...] = ()
    """Volumes that are this guest's, under the second name, once its configuration names that."""
    created: bool = False
    """The guest itself is being created, or cloned: while its configuration is locked so, it is no guest."""


class Undertaking:
    """One change under way. ``reserving`` is what storages are given to tell which volumes they make."""

    def __init__(self, file: Path, note: Note) -> None:
        self.file = file
        self.note = note

    @property
    def noted(self) -> bool:
        """Whether there is anything to settle."""
        return bool(self.note.volumes or self.note.handed) or self.note.created

    def reserving(self, volume: VolumeId | None) -> None:
        """Note a volume before it is made; ``None`` takes the last one back: it was there already. Blocks."""
        known = self.note.volumes
        volumes = known[:-1] if volume is None else (*known, str(volume))
        self.write(msgspec.structs.replace(self.note, volumes=volumes))

    def write(self, note: Note) -> None:
        """Replace the note, and make it last. Blocks; raises ``GuestError`` when this node's disk is full."""
        try:
            durable.write(self.file, msgspec.json.encode(note))
        except OSError as error:
            raise GuestError(
                f"VM {note.vmid}: {note.purpose} can't be noted in '{self.file.parent}', and is not begun "
                f"without: {error.strerror}"
            ) from error
        self.note = note


class Unfinished(Settler):
    """The undertakings of this node's guests: those under way here, and those that an earlier daemon left."""

    settles = "what was not finished"

    def __init__(self, manager: GuestManager, storages: Storages, directory: Path) -> None:
        notes.forget_drafts(directory)
        super().__init__(manager)
        self._storages = storages
        self._directory = directory
        self._under_way: dict[Path, Undertaking] = {}
        self._before_removing: list[Restore] = []
        self._told: set[Path] = set()
        """What could not be settled and was said so once."""

    def before_removing(self, restore: Restore) -> None:
        """Have what a QEMU still uses let go first: told the guest and the volumes noted, it raises
        ``KvorumError`` while none of them may be removed."""
        self._before_removing.append(restore)

    @contextlib.asynccontextmanager
    async def undertaking(
        self,
        vmid: int,
        purpose: str,
        *,
        volumes: Iterable[VolumeId] = (),
        handed: Iterable[tuple[VolumeId, VolumeId]] = (),
        created: bool = False,
        log: TaskLog | None = None,
    ) -> AsyncIterator[Undertaking]:
        """Hold what is made, or to be removed (``volumes``), or the guest's from then on (``handed``: old and
        new name), to what the store says when the block is left.

        The caller holds the guest (``GuestManager.exclusive``), and ends with the write that decides. What is
        removed is said in ``log``, and what can't be removed now is a warning there.
        """
        file = self._directory / f"{vmid}-{secrets.token_hex(8)}{notes.SUFFIX}"
        note = Note(
            vmid=vmid,
            purpose=purpose,
            volumes=tuple(map(str, volumes)),
            handed=tuple((str(old), str(new)) for old, new in handed),
            created=created,
        )
        under_way = Undertaking(file, note)
        said = log or DaemonLog()
        self._under_way[file] = under_way
        try:
            if under_way.noted:
                await asyncio.to_thread(under_way.write, note)
            try:
                yield under_way
            except BaseException:
                if under_way.noted:
                    await self._settle(file, under_way.note, said, decided=False)
                raise
            if under_way.noted:
                await self._settle(file, under_way.note, said, decided=True)
        finally:
            del self._under_way[file]

    @property
    def under_way(self) -> list[Note]:
        """What tasks of this daemon are at now."""
        return [each.note for each in self._under_way.values()]

    async def noted(self) -> list[tuple[Path, Note | str]]:
        """What an earlier daemon, or a failure of before, has left: the file, and its note or why it can't be
        read.
        """
        return await asyncio.to_thread(notes.read, self._directory, Note, frozenset(self._under_way))

    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Settle what an earlier daemon, or a failure of before, has left; while there is quorum."""
        for file, note in await self.noted():
            task_log = said or DaemonLog(file in self._told)
            if isinstance(note, str):
                task_log.warn(note)
                self._told.add(file)
                continue
            try:
                async with self._manager.exclusive(note.vmid, f"clean up after {note.purpose}"):
                    await self._settle(file, note, task_log, decided=False)
            except KvorumError as error:
                (said.warn if said is not None else log.info)(str(error))
                self._left.set()

    async def _settle(self, file: Path, note: Note, said: TaskLog, *, decided: bool) -> None:
        """Make everything as the store has it; what can't be done now stays noted. ``decided`` says that
        the deciding write is acknowledged."""
        left = await self._carry_out(note, said, decided)
        if left is None:
            await asyncio.to_thread(durable.remove, file)
            self._told.discard(file)
            return
        self._told.add(file)
        self._left.set()
        if left != note:
            await asyncio.to_thread(Undertaking(file, note).write, left)

    async def _carry_out(self, note: Note, said: TaskLog, decided: bool) -> Note | None:
        """Do what ``_settle`` says; the note of what is left, ``None`` when nothing is."""
        what = f"VM {note.vmid}: {note.purpose}"
        try:
            if not decided:
                # Acknowledged after all that was sent before it: what is not here now never will be.
                await self._store.transact((), who="root@pam")
                for restore in self._before_removing:
                    await restore(note.vmid, [VolumeId.parse(name) for name in note.volumes])
            if note.created and await self._remove_configuration(note.vmid):
                said.line(f"{what} was not finished; the configuration is removed")
        except KvorumError as error:
            said.warn(f"{what}: cleaning up has to wait: {error}")
            return note
        waiting = [pair for pair in note.handed if not await self._hand_over(what, note.vmid, *pair, said)]
        left = []
        for name in note.volumes:
            if self._owned(VolumeId.parse(name)):
                continue
            try:
                kind = self._storages.of(VolumeId.parse(name))
                async with asyncio.timeout(FREE_DEADLINE_S):
                    if await kind.free(VolumeId.parse(name)):
                        said.line(f"{what}: removed '{name}'")
            except (KvorumError, TimeoutError) as error:
                why = str(error) or f"its storage did not answer within {FREE_DEADLINE_S:g} s"
                said.warn(f"{what}: could not remove '{name}': {why}; it is tried again every minute")
                left.append(name)
        if not (left or waiting):
            return None
        return msgspec.structs.replace(note, volumes=tuple(left), handed=tuple(waiting), created=False)

    async def _hand_over(self, what: str, vmid: int, old: str, new: str, said: TaskLog) -> bool:
        """Give the guest a volume as its configuration names it; whether there is no more to do."""
        if not self._owned(VolumeId.parse(new)):
            return True
        try:
            volume = VolumeId.parse(old)
            async with asyncio.timeout(FREE_DEADLINE_S):
                await self._storages.of(volume).hand_over(volume, vmid, _rest(new, vmid))
        except (KvorumError, TimeoutError) as error:
            why = str(error) or f"its storage did not answer within {FREE_DEADLINE_S:g} s"
            said.warn(f"{what}: '{old}' is not '{new}' yet: {why}; it is tried again every minute")
            return False
        said.line(f"{what}: '{old}' is '{new}' now")
        return True

    async def _remove_configuration(self, vmid: int) -> bool:
        """Remove the configuration of a guest that was not created to its end."""
        registry = self._manager.registry
        file = self._store.read(registry.path(vmid))
        if file is None or not re.search(r"^lock:\s*(create|clone)\s*$", file.text, re.MULTILINE):
            return False
        await registry.remove(vmid, "root@pam")
        return True

    def _owned(self, volume: VolumeId) -> bool:
        """Whether a guest's configuration names a volume: here, or where nodes share it, anywhere."""
        entries = {entry.id: entry for entry in self._storages.config().entries}
        entry = entries.get(volume.storage)
        shared = entry is not None and entry.shared
        named = re.compile(rf"(?<![\w.-]){re.escape(str(volume))}(?![\w.-])")
        for node in self._store.names("nodes") if shared else (self._store.node,):
            for name in self._store.names(f"nodes/{node}/qemu-server"):
                file = self._store.read(f"nodes/{node}/qemu-server/{name}")
                if file is not None and named.search(file.text):
                    return True
        return False


def _rest(volume: str, vmid: int) -> str:
    """What of a volume's name stands behind its guest's id: ``disk-3``."""
    return volume.rpartition(f"-{vmid}-")[2].partition(".")[0]


class DaemonLog:
    """For what no task's log is written about any more. What was said of a note is not said again."""

    def __init__(self, told: bool = False) -> None:
        self._told = told

    def line(self, text: str) -> None:
        log.info("%s", text)

    def warn(self, text: str) -> None:
        if not self._told:
            log.warning("%s", text)

    def progress(self, fraction: float, text: str = "") -> None:
        return
