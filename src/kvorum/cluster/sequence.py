"""A change of several steps that is either carried through or undone: who decides, and who carries it out.

Invariant: at every moment the journal names each step that may have had an effect. Up to the plan's commit
point a failure (or a daemon that died) leads to undoing all begun steps, the last first; from it on the rest
is done again until it is finished. Steps and their undoing are idempotent: either may have been interrupted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

from kvorum.core import durable
from kvorum.core.errors import KvorumError


class SequenceFailed(KvorumError):
    """A step failed and what was begun has been undone; the sentence names the step and the cause."""


class Unfinished(KvorumError):
    """A step after the commit point failed: the journal stays, and the daemon goes on until it is done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Named steps in their order; from ``commit`` on nothing is undone any more."""

    kind: str
    steps: tuple[str, ...]
    commit: str


@dataclass(frozen=True, slots=True)
class State:
    """How far a plan is. ``begun`` holds every step that may have had an effect, in order."""

    begun: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out this step."""

    step: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo this step."""

    step: str


@dataclass(frozen=True, slots=True)
class Done:
    """All steps are finished, or (with ``failure``) all begun ones are undone."""

    failure: str = ""


Action: TypeAlias = Do | Undo | Done


def decide(plan: Plan, state: State) -> Action:
    """What to do next."""
    if state.failure:
        left = [step for step in state.begun if step not in state.undone]
        return Undo(left[-1]) if left else Done(state.failure)
    left = [step for step in plan.steps if step not in state.finished]
    return Do(left[0]) if left else Done()


def committed(plan: Plan, state: State) -> bool:
    """Whether the step before the commit point is finished, so that only forward leads out."""
    before = plan.steps[: plan.steps.index(plan.commit)]
    return not state.failure and all(step in state.finished for step in before)


def interrupted(plan: Plan, state: State, reason: str) -> State:
    """The state to go on from after the daemon died, or a step failed: forward once committed, else back."""
    return state if committed(plan, state) or state.failure else replace(state, failure=reason)


@dataclass(frozen=True, slots=True)
class Step:
    """How one step is carried out and undone."""

    do: Callable[[], Awaitable[None]]
    undo: Callable[[], Awaitable[None]] | None = None


class Journal:
    """The state on disk, so that a daemon's end in the middle leaves nothing half-made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[str, State, dict[str, str]] | None:
        """The unfinished plan's kind, its state and what its steps noted; ``None`` when there is none."""
        try:
            raw = json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise KvorumError(f"{self._path} can't be read ({error}): look at it, then remove it") from None
        state = raw["state"]
        return (
            raw["kind"],
            State(tuple(state["begun"]), tuple(state["finished"]), tuple(state["undone"]), state["failure"]),
            dict(raw["notes"]),
        )

    def there(self) -> bool:
        """Whether a plan is under way, or what is left of one."""
        return self._path.exists()

    def save(self, kind: str, state: State, notes: Mapping[str, str]) -> None:
        """Write the state and make it last."""
        text = json.dumps({"kind": kind, "state": asdict(state), "notes": dict(notes)})
        durable.write(self._path, text.encode(), 0o600)  # a key may stand in it

    def clear(self) -> None:
        """Nothing is under way any more."""
        durable.remove(self._path)


async def carry_out(
    plan: Plan,
    steps: Mapping[str, Step],
    journal: Journal,
    notes: dict[str, str],
    log: Callable[[str], None],
    state: State | None = None,
) -> None:
    """Carry a plan through from ``state``; raises ``SequenceFailed`` once it is undone.

    Cancelled before the commit point, it undoes what was begun, then lets the cancellation go on. A failure
    after the commit point is raised as ``Unfinished``, and the journal stays: whoever called goes on there.
    """
    state = state or State()
    cancelled: asyncio.CancelledError | None = None
    left = ""
    while True:
        action = decide(plan, state)
        match action:
            case Do(name):
                if name not in state.begun:
                    state = replace(state, begun=(*state.begun, name))
                journal.save(plan.kind, state, notes)
                log(name)
                try:
                    await steps[name].do()
                except asyncio.CancelledError as error:
                    if committed(plan, state):
                        raise
                    cancelled, state = error, replace(state, failure=f"{name}: stopped by the user")
                except Exception as error:
                    if committed(plan, state):
                        raise Unfinished(
                            f"{name}: {error}; this can't be set back any more, and is tried again by itself "
                            "until it is done"
                        ) from error
                    state = replace(state, failure=f"{name}: {error}")
                else:
                    state = replace(state, finished=(*state.finished, name))
                journal.save(plan.kind, state, notes)
            case Undo(name):
                left = await _undo(name, steps[name], log) or left
                state = replace(state, undone=(*state.undone, name))
                journal.save(plan.kind, state, notes)
            case Done(failure):
                journal.clear()
                if cancelled is not None:
                    raise cancelled
                if failure:
                    raise SequenceFailed(f"{failure}; {left or 'everything was set back as it was'}")
                return


async def _undo(name: str, step: Step, log: Callable[[str], None]) -> str:
    """Undo one step; what can't be undone is said (and returned) and does not keep the others from it."""
    if step.undo is None:
        return ""
    log(f"undo: {name}")
    try:
        await asyncio.shield(step.undo())
    except Exception as error:
        log(f"undo: {name}: {error}")
        return f"not all was set back: {error}"
    return ""
