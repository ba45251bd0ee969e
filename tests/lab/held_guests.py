"""pvedaemon as it is, but that it can be held at each write and each command of a change of a guest.

Runs in a lab node in place of the daemon's own start (``held.hold_daemons``). Every point that a change comes
to is noted in /run/walk/passed, with its number when it comes there more than once: a rehearsal makes the
list of the points at which a change can be cut.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # the daemon runs isolated

from held_daemon import PLACE, reach

from kvorum.guests.copies import clone, running
from kvorum.guests.manager import GuestManager
from kvorum.guests.move import mirror, move
from kvorum.guests.snapshots import memory, snapshots
from kvorum.guests.snapshots.disks import Disks
from kvorum.guests.suspend import suspension
from kvorum.guests.unfinished import Undertaking, Unfinished
from kvorum.storage import disk_files, images
from kvorum.store import Delete, Rename, Write
from kvorum.store.client import StoreClient

WRITES: Sequence[tuple[Any, str, str]] = (
    (Undertaking, "write", "the note is written"),
    (Unfinished, "_settle", "what is noted is settled"),
    (images, "create", "an image is made"),
    (images, "overlay", "an image is made on a base"),
    (images, "make_snapshot", "an image keeps a snapshot"),
    (images, "apply_snapshot", "an image goes back"),
    (images, "delete_snapshot", "an image loses a snapshot"),
    (disk_files, "rename", "an image is renamed"),
    (disk_files, "remove", "an image is removed"),
    (clone, "convert", "a disk is copied"),
    (move, "convert", "a disk is copied"),
    (clone, "make_last", "the copy is on disk"),
    (move, "make_last", "the copy is on disk"),
    (snapshots, "make_last", "the memory is on disk"),
    (suspension, "make_last", "the memory is on disk"),
    (suspension, "begin_qemu", "QEMU waits for the memory"),
    (running, "mirror_disks", "the copies are in step"),
    (running, "finish_disks", "the copies are of one instant"),
    (mirror, "_until_ready", "the mirror has read all"),
    (mirror, "bring_into_step", "the mirror is in step"),
    (mirror, "complete", "the guest goes over"),
    (memory.Saving, "until_still", "the memory is saved and the guest stands still"),
    (memory.Saving, "finish", "the last of the memory is saved"),
    (memory, "load", "the memory is loaded"),
    (Disks, "take", "the disks keep it"),
    (GuestManager, "end", "QEMU ends"),
)


def passed(point: str) -> None:
    """Note the point, and stand still here if it was asked for; whoever is not asked for goes on."""
    if not PLACE.is_dir():
        return
    with (PLACE / "passed").open("a+") as file:
        file.seek(0)
        before = sum(line.rpartition(" #")[0] == point for line in file.read().splitlines())
        named = f"{point} #{before + 1}"
        file.write(f"{named}\n")
    reach(named)


def around(owner: Any, name: str, words: str) -> None:
    """Make a function reach a point before and one after it."""
    real: Callable[..., Any] = getattr(owner, name)

    def blocking(*arguments: Any, **options: Any) -> Any:
        passed(f"before {words}")
        answer = real(*arguments, **options)
        passed(f"after {words}")
        return answer

    async def waiting(*arguments: Any, **options: Any) -> Any:
        passed(f"before {words}")
        if name == "convert":
            options["progress"] = _in_the_middle(options["progress"])
        answer = await real(*arguments, **options)
        passed(f"after {words}")
        return answer

    setattr(owner, name, waiting if asyncio.iscoroutinefunction(real) else blocking)


def _in_the_middle(told: Callable[[float], None]) -> Callable[[float], None]:
    """A copy's progress, with a point once some of it is there."""
    seen: list[float] = []

    def progress(fraction: float) -> None:
        if 0.1 < fraction < 1 and not seen:
            seen.append(fraction)
            passed("before a disk is copied whole")
        told(fraction)

    return progress


_transact = StoreClient.transact


async def transact(self: StoreClient, operations: Any, *args: Any, **named: Any) -> int:
    """The store's, with the points of a change of a guest's configuration."""
    paths = {one.path for one in operations if isinstance(one, Write | Delete)}
    paths |= {one.source for one in operations if isinstance(one, Rename)}
    if not any("/qemu-server/" in path for path in paths):
        return await _transact(self, operations, *args, **named)
    passed("before the configuration is written")
    answer = await _transact(self, operations, *args, **named)
    passed("after the configuration is written")
    return answer


if __name__ == "__main__":
    StoreClient.transact = transact  # type: ignore[method-assign]
    for owner, name, words in WRITES:
        around(owner, name, words)
    runpy.run_module("kvorum.server.pvedaemon", run_name="__main__", alter_sys=True)
