"""Is the history of one register linearizable? After Wing & Gong (1993) with Lowe's memory of visited states.

An operation that was never answered, or whose outcome is unknown, may have taken effect at any time after it
was asked, or never. One that was refused had no effect and is left out by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


class Undecided(Exception):
    """The history has too many operations at the same time."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on the register; times in seconds, ``end`` is ``None`` when nobody knows."""

    kind: Literal["write", "read", "swap", "failed swap"]
    start: float
    end: float | None
    value: str | None = None
    """What was written, or what a read saw (``None``: nothing was there)."""
    expected: str | None = None
    """What a swap wanted to find; a failed swap found something else."""


def _effect(operation: Operation, state: str | None) -> tuple[bool, str | None]:
    """Whether the operation may happen in this state, and the state after it."""
    match operation.kind:
        case "write":
            return True, operation.value
        case "read":
            return state == operation.value, state
        case "swap":
            return state == operation.expected, operation.value
        case "failed swap":
            return state != operation.expected, state


def linearizable(history: Iterable[Operation], final: str | None, limit: int = 5_000) -> bool:
    """Whether some order explains all answers and ends with ``final``.

    Raises ``Undecided`` after ``limit`` visited states: then nothing is shown.
    """
    operations = _relevant(sorted(history, key=lambda op: op.start), final)
    answered = sum(1 << i for i, op in enumerate(operations) if op.end is not None)
    everything = (1 << len(operations)) - 1
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, None)]
    while stack:
        done, state = stack.pop()
        if done & answered == answered and state == final:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > limit:
            raise Undecided(f"{len(operations)} operations are too many to decide")
        left = everything & ~done
        # Whatever is next began before any operation that is still to come had ended.
        bound = min((op.end for i, op in enumerate(operations) if left >> i & 1 and op.end is not None),
                    default=float("inf"))  # fmt: skip
        following: list[tuple[float, int, str | None]] = []
        for i, operation in enumerate(operations):
            if operation.start > bound:
                break
            if left >> i & 1:
                possible, after = _effect(operation, state)
                if possible:
                    end = operation.end if operation.end is not None else float("inf")
                    following.append((end, i, after))
        # What must end first is tried first.
        following.sort(key=lambda one: (-one[0], one[1]))
        stack += [(done | 1 << i, after) for _, i, after in following]
    return False


def _relevant(operations: Sequence[Operation], final: str | None) -> Sequence[Operation]:
    """Without what may never have happened and nobody saw; a failed swap may have seen anything."""
    if any(op.kind == "failed swap" for op in operations):
        return operations
    seen = {final, *(op.value for op in operations if op.kind == "read")}
    seen |= {op.expected for op in operations if op.kind == "swap"}
    return [op for op in operations if op.end is not None or op.value in seen]
