"""Walk many seeds of the store's simulation and print one JSON object: seeds, writes, failures, time.

    .venv/bin/python bench/soak_store.py --seeds 100000 --first 0

Exit status 1 when a seed failed; each failing seed is named with its sentence and replays with
``--first SEED --seeds 1``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "sim"))
SHAPES = (
    {},
    {},
    {"size": 2, "qdevice": True, "steps": 600},
    {"size": 4, "qdevice": True, "steps": 600},
    {"size": 2, "steps": 700},
    {"size": 3, "steps": 700},
)
FAILURES_SHOWN = 20


def walk(seed: int) -> tuple[int, Counter[str], str]:
    """One seed; returns what happened in it, and the sentence of its failure or nothing."""
    import store_world

    try:
        return seed, store_world.run(seed, **SHAPES[seed % len(SHAPES)]).counts, ""
    except Exception as error:
        return seed, Counter(), f"{type(error).__name__}: {error}"


def main() -> int:
    """Walk the seeds on the given number of processes and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    started, counts, failures = time.monotonic(), Counter[str](), {}
    seeds = range(options.first, options.first + options.seeds)
    with multiprocessing.Pool(options.processes) as pool:
        for seed, seen, failure in pool.imap_unordered(walk, seeds, chunksize=20):
            counts += seen
            if failure:
                failures[seed] = failure
                print(f"seed {seed} (shape {SHAPES[seed % len(SHAPES)]}): {failure}", file=sys.stderr)
    shown = {
        "seeds": options.seeds,
        "first": options.first,
        "seconds": round(time.monotonic() - started, 1),
        "processes": options.processes,
        "failures": len(failures),
        "failing_seeds": dict(sorted(failures.items())[:FAILURES_SHOWN]),
        "counts": dict(sorted(counts.items())),
    }
    print(json.dumps(shown, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
