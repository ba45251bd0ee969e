"""What the benches have in common: medians and percentiles, and the one JSON object that each prints."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The median, rounded to a thousandth."""
    return round(statistics.median(values), 3)


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 of a hundred do not exceed, rounded to a thousandth."""
    return round(sorted(values)[math.ceil(len(values) * 0.99) - 1], 3)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"median": median(values), "p99": p99(values)}


def ratio(ours: float, baseline: float) -> float | None:
    """Ours as a multiple of the baseline; nothing when the baseline is nothing."""
    return round(ours / baseline, 3) if baseline else None


def show(bench: str, **figures: object) -> None:
    """Print the bench's one JSON object."""
    print(json.dumps({"bench": bench, **figures}))
