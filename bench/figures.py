"""What the benches have in common: medians, and the one JSON object that each prints."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The median, rounded to a thousandth."""
    return round(statistics.median(values), 3)


def ratio(ours: float, baseline: float) -> float | None:
    """Ours as a multiple of the baseline; nothing when the baseline is nothing."""
    return round(ours / baseline, 3) if baseline else None


def show(bench: str, **figures: object) -> None:
    """Print the bench's one JSON object."""
    print(json.dumps({"bench": bench, **figures}))
