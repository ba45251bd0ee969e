"""The order of a migration's steps, and what is undone when one fails. Pure.

The commit point is the configuration's move in the store: one compare-and-set transaction that needs the very
version the source has locked. The invariants that ``step`` keeps, at every failure:

1. The target's guest is let run only after the commit is acknowledged.
2. The source's guest runs again only when the commit certainly did not happen and will not.
3. What is unknown is settled first (a transaction competes for the same version), however long it takes.
4. After the commit nothing is undone: the target owns the guest.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace


class Do(enum.Enum):
    """What the shell is asked to do; the value is the sentence for the log."""

    CHECK = "checking the target"
    LOCK = "locking the configuration"
    PREPARE = "preparing the target"
    MIRROR = "copying the disks while the guest runs"
    COPY = "copying the disks"
    SEND = "sending the memory"
    FINISH_DISKS = "bringing the disks to the same instant"
    FINISH_MEMORY = "sending the last of the memory"
    COMMIT = "handing the configuration over"
    SETTLE = "finding out whether the configuration was handed over"
    RESUME_TARGET = "letting the guest go on at the target"
    STOP_SOURCE = "ending the guest's process here"
    FREE_DISKS = "removing the disks here"
    # undoing
    CANCEL_MEMORY = "calling back the memory"
    CANCEL_DISKS = "giving up the copies of the disks"
    ABORT_TARGET = "cleaning up at the target"
    RESUME_SOURCE = "letting the guest go on here"
    UNLOCK = "unlocking the configuration"


class Outcome(enum.Enum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    """It did not happen, or it did and its undo step takes it back."""
    UNKNOWN = "unknown"
    """Only a commit can end so: it may have happened."""


_UNDO: dict[Do, tuple[Do, ...]] = {
    Do.LOCK: (Do.UNLOCK,),
    Do.PREPARE: (Do.ABORT_TARGET,),
    Do.MIRROR: (Do.CANCEL_DISKS,),
    Do.SEND: (Do.CANCEL_MEMORY, Do.RESUME_SOURCE),
}
_UNDO_ORDER = (Do.CANCEL_MEMORY, Do.CANCEL_DISKS, Do.ABORT_TARGET, Do.RESUME_SOURCE, Do.UNLOCK)
POINT_OF_HASTE = Do.FINISH_DISKS
"""From here on the guest stands still: cancelling waits until the next decision."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a migration is. ``ahead`` begins with the step under way."""

    ahead: tuple[Do, ...]
    begun: tuple[Do, ...] = ()
    committed: bool = False
    backing_out: bool = False
    reason: str = ""
    """Why it backs out."""

    @property
    def current(self) -> Do | None:
        """The step under way; ``None`` at the end."""
        return self.ahead[0] if self.ahead else None


def begin(*, online: bool, local_disks: bool) -> State:
    """The steps of one migration."""
    steps: list[Do] = [Do.CHECK, Do.LOCK]
    if online:
        steps.append(Do.PREPARE)
        steps += [Do.MIRROR] if local_disks else []
        steps.append(Do.SEND)
        steps += [Do.FINISH_DISKS] if local_disks else []
        steps += [Do.FINISH_MEMORY, Do.COMMIT, Do.RESUME_TARGET, Do.STOP_SOURCE]
    else:
        steps += [Do.PREPARE, Do.COPY, Do.COMMIT, Do.RESUME_TARGET] if local_disks else [Do.COMMIT]
    steps += [Do.FREE_DISKS] if local_disks else []
    return State(tuple(steps))


def step(state: State, outcome: Outcome, reason: str = "") -> State:
    """The state after the step under way has ended."""
    current = state.current
    assert current is not None, "a migration that has ended has no step"
    assert outcome is not Outcome.UNKNOWN or current in (Do.COMMIT, Do.SETTLE), current
    begun = (*state.begun, current)
    ahead = state.ahead[1:]
    if state.backing_out or state.committed:
        return replace(state, ahead=ahead, begun=begun)
    if current is Do.COMMIT and outcome is Outcome.UNKNOWN:
        return replace(state, ahead=(Do.SETTLE, *ahead), begun=begun, reason=reason)
    if current is Do.SETTLE and outcome is Outcome.UNKNOWN:
        return state
    if outcome is Outcome.DONE:
        return replace(state, ahead=ahead, begun=begun, committed=current in (Do.COMMIT, Do.SETTLE))
    return State(_back_out(begun), begun, False, True, reason or state.reason)


def _back_out(begun: Sequence[Do]) -> tuple[Do, ...]:
    """What takes back the steps that were begun, in an order that keeps the invariants."""
    wanted = {undo for do in begun for undo in _UNDO.get(do, ())}
    return tuple(do for do in _UNDO_ORDER if do in wanted)
