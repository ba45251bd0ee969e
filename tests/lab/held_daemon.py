"""pvedaemon as it is, but that it stands still at one point of a change when a test has asked for it.

Runs in a lab node in place of the daemon's own start (``held.hold_daemons``). The point is named in
/run/walk/point, which goes with the power; the two FIFOs beside it tell the test that it is reached, and the
daemon that it may go on. A step's points are ``before STEP`` (it is in the journal as begun) and ``after
STEP`` (it has had its effect, and the journal does not know yet).
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kvorum.cluster.following import CorosyncConfiguration
from kvorum.cluster.host import Host
from kvorum.cluster.relink.under_way import FILE
from kvorum.cluster.sequence import Journal, State
from kvorum.store import Write
from kvorum.store.client import StoreClient

PLACE = Path("/run/walk")


def reach(point: str) -> None:
    """Stand still here if it was asked for: whoever calls is the daemon's loop, or a thread of its."""
    asked = PLACE / "point"
    try:
        if asked.read_text() != point:
            return
    except FileNotFoundError:
        return
    asked.unlink()
    (PLACE / "held").write_text(point)
    (PLACE / "go").read_text()


def around(owner: type, name: str, before: str, after: str) -> None:
    """Make a method reach two points."""
    done: Callable[..., Any] = getattr(owner, name)

    def held(self: Any, *args: Any, **named: Any) -> Any:
        reach(before)
        answer = done(self, *args, **named)
        reach(after)
        return answer

    setattr(owner, name, held)


_save = Journal.save
_reload = CorosyncConfiguration._reload
_transact = StoreClient.transact


def save(self: Journal, kind: str, state: State, notes: Mapping[str, str]) -> None:
    """The journal's, with the points of the step that it is about."""
    doing = state.begun[len(state.finished) :] if not state.failure else ()
    if not doing and not state.failure and state.finished:
        reach(f"after {state.finished[-1]}")
    _save(self, kind, state, notes)
    if doing:
        reach(f"before {doing[-1]}")


async def transact(self: StoreClient, operations: Any, *args: Any, **named: Any) -> int:
    """The store's, with the points of a change of corosync.conf."""
    written = {one.path for one in operations if isinstance(one, Write)}
    if "corosync.conf" not in written:
        return await _transact(self, operations, *args, **named)
    anew = FILE not in written and self.read(FILE) is not None
    what = "it is listed anew" if anew else "the store has it"
    reach(f"before {what}")
    answer = await _transact(self, operations, *args, **named)
    reach(f"after {what}")
    return answer


async def reload(self: CorosyncConfiguration) -> None:
    """The follower's, which need not reload where another node just did, with the points of a new version."""
    new = self._trial is not None
    if new:
        reach("before corosync reloads")
    await _reload(self)
    if new:
        reach("after corosync reloads")


if __name__ == "__main__":
    Journal.save = save  # type: ignore[method-assign]
    StoreClient.transact = transact  # type: ignore[method-assign]
    around(Host, "write_configuration", "before it is on disk", "after it is on disk")
    CorosyncConfiguration._reload = reload  # type: ignore[method-assign]
    runpy.run_module("kvorum.server.pvedaemon", run_name="__main__", alter_sys=True)
