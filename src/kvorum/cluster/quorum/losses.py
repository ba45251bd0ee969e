"""Every smallest set of voters whose loss costs quorum, or whose return brings it back. Pure.

Voters that count alike are one kind, so that "any 16 of 32" is one answer and not 600 million. Fewer voters
never have more votes (``holds`` only ever turns one way), so a set that holds a smaller one is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kvorum.cluster.quorum.shape import DEVICE, Shape, Voter, holds

LOOKS_MOST = 20_000
"""Combinations that are looked at; where many nodes have different votes, what was found by then is told."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Any ``count`` of these voters."""

    count: int
    names: tuple[str, ...]


Sets: TypeAlias = tuple[tuple[Choice, ...], ...]
"""Alternatives; in each, all choices together."""


def losses(shape: Shape) -> Sets:
    """What may not fail together: each smallest set of what is here whose loss at once costs quorum.

    Empty without quorum.
    """
    if not holds(shape, shape.here, device=shape.device_here):
        return ()

    def lost(gone: frozenset[str]) -> bool:
        return not holds(shape, shape.here - gone, device=shape.device_here and DEVICE not in gone)

    return _smallest(_kinds(shape, present=True), lost)


def returns(shape: Shape) -> Sets:
    """What brings quorum back: each smallest set of what is not here that would be enough with those who are.

    Empty with quorum, and where nothing helps.
    """
    if holds(shape, shape.here, device=shape.device_here):
        return ()

    def enough(back: frozenset[str]) -> bool:
        return holds(shape, shape.here | (back - {DEVICE}), device=shape.device_here or DEVICE in back)

    return _smallest(_kinds(shape, present=False), enough)


def _kinds(shape: Shape, *, present: bool) -> list[tuple[str, ...]]:
    """The voters that are here (or not), those that count alike together; the weightier first."""
    nodes = [node for node in shape.nodes if node.present is present]
    kinds: dict[tuple[int, bool], list[str]] = {}
    for node in nodes:
        kinds.setdefault((-node.votes, _breaks_ties(shape, node)), []).append(node.name)
    found = [tuple(kinds[key]) for key in sorted(kinds)]
    device = shape.device is not None and shape.device.present is present
    return [*found, (DEVICE,)] if device else found


def _breaks_ties(shape: Shape, node: Voter) -> bool:
    return shape.rules.auto_tie_breaker and node is shape.nodes[0]


def _smallest(kinds: Sequence[tuple[str, ...]], hit: Callable[[frozenset[str]], bool]) -> Sets:
    found: list[tuple[int, ...]] = []
    looks = 0
    for size in range(1, sum(map(len, kinds)) + 1):
        fresh = False
        for counts in _counts([len(kind) for kind in kinds], size):
            looks += 1
            if looks > LOOKS_MOST:
                return _spelled(kinds, found or [_heaviest(kinds, hit)])
            if any(all(c >= f for c, f in zip(counts, smaller, strict=True)) for smaller in found):
                continue
            fresh = True
            if hit(frozenset(n for kind, count in zip(kinds, counts, strict=True) for n in kind[:count])):
                found.append(counts)
        if not fresh:
            break
    return _spelled(kinds, found)


def _spelled(kinds: Sequence[tuple[str, ...]], found: Sequence[tuple[int, ...]]) -> Sets:
    return tuple(
        tuple(Choice(count, kind) for kind, count in zip(kinds, counts, strict=True) if count)
        for counts in found
    )


def _heaviest(kinds: Sequence[tuple[str, ...]], hit: Callable[[frozenset[str]], bool]) -> tuple[int, ...]:
    """One set of the fewest voters: the weightiest, until it is enough."""
    counts = [0] * len(kinds)
    taken: set[str] = set()
    for index, name in ((index, name) for index, kind in enumerate(kinds) for name in kind):
        if hit(frozenset(taken)):
            break
        taken.add(name)
        counts[index] += 1
    return tuple(counts)


def _counts(sizes: Sequence[int], total: int) -> Iterator[tuple[int, ...]]:
    """Every way to take ``total`` of kinds of these sizes."""
    if not sizes:
        if total == 0:
            yield ()
        return
    rest = sum(sizes[1:])
    for count in range(min(sizes[0], total), max(0, total - rest) - 1, -1):
        for others in _counts(sizes[1:], total - count):
            yield (count, *others)
