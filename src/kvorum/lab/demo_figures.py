"""What the demonstration measures, computed from what was seen. Pure.

A guest that moves writes to the serial sockets of several nodes in turn; what was read, put in order of its
time (one kernel, so one monotonic clock), is one stream again, also where a line began at one node and ended
at another.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_COUNT = re.compile(rb"(?:^|\n)count (\d+)(?=\r?\n)")
_DOWNTIME = re.compile(r"downtime[: ]+(\d+(?:\.\d+)?) ?ms")


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """Bytes read from a node's serial socket at a moment (seconds, CLOCK_MONOTONIC)."""

    at_s: float
    content: bytes


@dataclass(frozen=True, slots=True)
class Audit:
    """Whether a sequence of counts is whole."""

    first: int
    last: int
    lost: tuple[int, ...]
    repeated: tuple[int, ...]
    disordered: bool

    @property
    def whole(self) -> bool:
        """Every number once and in order."""
        return not self.lost and not self.repeated and not self.disordered


@dataclass(frozen=True, slots=True)
class Leg:
    """One migration: duration in seconds, downtime as QEMU measured it, the longest silence of the echoes."""

    source: str
    target: str
    duration_s: float
    downtime_ms: float | None
    longest_gap_ms: float
    counts_lost: int
    counts_repeated: int
    error: str = ""

    @property
    def good(self) -> bool:
        """Nothing failed and nothing was lost."""
        return not self.error and not self.counts_lost and not self.counts_repeated


def counts(chunks: Iterable[Chunk]) -> list[int]:
    """The numbers counted on the serial console, in the order they were written; half lines don't count."""
    stream = b"".join(chunk.content for chunk in sorted(chunks))
    return [int(match[1]) for match in _COUNT.finditer(stream)]


def audit(numbers: Sequence[int]) -> Audit:
    """What is missing, doubled or out of order; raises ``ValueError`` when nothing was counted."""
    if not numbers:
        raise ValueError(
            "the guest's serial console showed no count: was it connected, and did the guest boot?"
        )
    times = Counter(numbers)
    first, last = min(times), max(times)
    return Audit(
        first,
        last,
        tuple(n for n in range(first, last + 1) if n not in times),
        tuple(sorted(n for n, seen in times.items() if seen > 1)),
        any(after < before for before, after in itertools.pairwise(numbers)),
    )


def longest_gap_s(arrivals: Sequence[float], begin_s: float, end_s: float) -> float:
    """The longest time in the window in which no echo came; the window's edges count as echoes."""
    inside = sorted(at for at in arrivals if begin_s <= at <= end_s)
    marks = [begin_s, *inside, end_s]
    return max(after - before for before, after in itertools.pairwise(marks))


def downtime_ms(log: str) -> float | None:
    """The downtime that a migration's log tells last, in milliseconds; nothing when it tells none."""
    found = _DOWNTIME.findall(log)
    return float(found[-1]) if found else None


def round_trip(nodes: Sequence[str]) -> list[tuple[str, str]]:
    """From the first node to every other in turn, and back: (source, target) pairs."""
    return list(zip(nodes, [*nodes[1:], nodes[0]], strict=True)) if len(nodes) > 1 else []
