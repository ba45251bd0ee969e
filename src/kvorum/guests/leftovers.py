"""What changes of guests have left on this node and nobody has removed yet: listed, and cleaned up at a word.

What was begun and not finished is noted, and goes by itself: at the daemon's start, when there is quorum,
each minute (``Settler``). A user sees here what waits and why; and what nothing tells of: volumes that no
guest has, and locks that no task holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.manager import GuestManager
from kvorum.guests.move.rescan import all_volumes, is_named
from kvorum.guests.registry import config_path, owners
from kvorum.guests.settling import Settler
from kvorum.guests.suspend.state import SUSPENDED
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import TaskLog
from kvorum.storage import HalfMade, Storages, Volume

Say = Callable[[str], None]
_WAITS = "it goes by itself when there is quorum and its storage answers, or now: qm disk cleanup"


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was left."""

    kind: str
    """``noted``: goes by itself; ``orphan``: a volume of a guest that does not exist; ``unnamed``: one that
    its guest does not name; ``lock``: nothing holds it."""
    vmid: int = 0
    """The guest's id; 0: no guest's."""
    volume: str = ""
    """The volume, or the file; empty: none."""
    why: str
    """A sentence: what it is of, and what to do."""


class Leftovers:
    """What was left on this node."""

    def __init__(
        self,
        manager: GuestManager,
        storages: Storages,
        unfinished: Unfinished,
        half_made: HalfMade,
        settlers: Sequence[Settler],
    ) -> None:
        self._manager = manager
        self._storages = storages
        self._unfinished = unfinished
        self._half_made = half_made
        self._settlers = settlers

    async def found(self) -> list[Leftover]:
        """All there is, the noted first. A storage that does not answer is passed over."""
        return await self._found(lambda text: None)

    async def clean(self, log: TaskLog, *, orphans: bool = False) -> None:
        """Settle what is noted, now; with ``orphans`` remove the volumes of guests that don't exist, too.

        What can't be removed is a warning. All else is only told.
        """
        self._manager.check_quorum()
        await self._half_made.settle(log.line)
        for settler in self._settlers:
            await settler.settle_earlier(log)
        for left in await self._found(log.warn):
            if left.kind == "orphan" and orphans:
                await self._remove(left, log)
            else:
                log.line(left.why)

    async def _remove(self, orphan: Leftover, log: TaskLog) -> None:
        async with self._manager.exclusive(orphan.vmid, "removal of what was left"):
            if self._manager.registry.owner(orphan.vmid) is not None:
                return  # it has just been created
            try:
                volume = VolumeId.parse(orphan.volume)
                if await self._storages.of(volume).free(volume):
                    log.line(f"removed '{orphan.volume}', of VM {orphan.vmid}, which does not exist")
            except KvorumError as error:
                log.warn(f"'{orphan.volume}' can't be removed: {error}")

    async def _found(self, passed_over: Say) -> list[Leftover]:
        left = await self._noted()
        known = {each.volume for each in left} | {each.volume for each in self._half_made.under_way}
        known |= {volume for each in self._unfinished.under_way for volume in each.volumes}
        volumes = await all_volumes(self._storages, self._manager.store, passed_over)
        store = self._manager.store
        homes = owners(store.guests())
        here = [store.read(config_path(store.node, v)) for v, node in homes.items() if node == store.node]
        named = "\n".join(file.text for file in here if file is not None)
        local = {entry.id for entry in self._storages.config().entries if not entry.shared}
        busy = {vmid for vmid in homes if self._manager.held(vmid) or self._manager.running(vmid) is not None}
        left += strays(
            volumes, {v: node == store.node for v, node in homes.items()}, named, local, known, busy
        )
        return left + self._locks()

    async def _noted(self) -> list[Leftover]:
        """What is noted and not under way: it is settled by itself, and here is what waits."""
        left = []
        for _, made in await self._half_made.noted():
            if isinstance(made, str):
                left.append(Leftover(kind="noted", why=made))
                continue
            name = made.volume or made.file
            left.append(Leftover(kind="noted", volume=name, why=f"'{name}' was half-made: {_WAITS}"))
        for _, note in await self._unfinished.noted():
            if isinstance(note, str):
                left.append(Leftover(kind="noted", why=note))
                continue
            why = f"{note.purpose} of VM {note.vmid} is not settled: {_WAITS}"
            volumes = [*note.volumes, *(old for old, _ in note.handed)] or [""]
            left += [Leftover(kind="noted", vmid=note.vmid, volume=name, why=why) for name in volumes]
        return left

    def _locks(self) -> list[Leftover]:
        """Guests whose configuration says that something holds them, while no task here does.

        A guest that lies suspended on disk waits for its start; nothing was left there.
        """
        found = []
        for vmid in self._manager.registry.vmids():
            try:
                lock = self._manager.registry.config(vmid).lock
            except KvorumError:
                continue
            if lock and lock != SUSPENDED and not self._manager.held(vmid):
                why = f"VM {vmid} is locked ({lock}), and nothing here holds it: qm unlock {vmid}"
                found.append(Leftover(kind="lock", vmid=vmid, why=why))
        return found


def strays(
    volumes: Iterable[Volume],
    guests: Mapping[int, bool],
    named: str,
    local: Collection[str],
    known: Collection[str],
    busy: Collection[int],
) -> list[Leftover]:
    """The volumes that no guest has, those left out that something tells of (``known``). Pure.

    ``guests`` are all guests of the cluster and whether each is here, ``named`` what the configurations of
    those here say, ``local`` the storages that are this node's alone. A guest that is ``busy`` may have what
    its configuration does not name yet.
    """
    found = []
    for volume in sorted(volumes, key=lambda each: each.volid):
        vmid, volid = volume.vmid, volume.volid
        if not vmid or volid in known or vmid in busy or is_named(named, volid):
            continue
        kind, mend = "unnamed", f"qm disk rescan --vmid {vmid}"
        if vmid not in guests:
            kind, whose = "orphan", "which does not exist"
            mend = f"pvesm free {volid}, or all such by qm disk cleanup --orphans 1"
        elif guests[vmid]:
            whose = "which does not name it"
        elif volid.partition(":")[0] in local:
            whose, mend = "which is on another node", f"pvesm free {volid}"
        else:
            continue  # its own node tells
        why = f"'{volid}' is of VM {vmid}, {whose}: {mend}"
        found.append(Leftover(kind=kind, vmid=vmid, volume=volid, why=why))
    return found
