"""Runs the tests in two lanes beside each other, as ``make test`` does: most of them wait for nodes, not for
the processor.

The first lane has what needs no nodes (unit, sim) and then the tests that share one lab of three; the second
has labs of the tests' own, rings of corosync, guests without a node, and the page. Both look at all tests and
a marker says whose each is, so that none is lost between them.

The first lane's report is shown as it comes, the second's when the first has ended (until then look into
build/second-lane.log). The last line sums both up in pytest's form. The status is 0 only if both lanes' is. A
signal to end is passed on, and each lane takes its labs down first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO
from xml.etree import ElementTree

SECOND = "second_lane"
"""The marker of what the second lane runs; tests/conftest.py sets it."""


def main(folders: Sequence[str], log: Path) -> int:
    """Run the tests below ``folders``, the second lane's report to ``log``; a status that isn't 0, if any."""
    begun = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    told = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        for lane in running:
            lane.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to the lanes too
    log.parent.mkdir(exist_ok=True)
    with log.open("w+b") as report:
        results = [log.with_name(f"{lane}-lane.xml") for lane in ("first", "second")]
        for result in results:
            result.unlink(missing_ok=True)
        first = _start([f"--junitxml={results[0]}", f"-m=not {SECOND}", *folders], None)
        running.append(first)
        second = _start([f"--junitxml={results[1]}", f"-m={SECOND}", *folders], report)
        running.append(second)
        if told:  # while they were started
            end(signal.SIGTERM, None)
        status = first.wait()
        print(f"\n--- the first lane ended with {status}; the second says:\n", flush=True)
        other = _show(report, second)
    took_s = time.monotonic() - begun
    print(f"--- the first lane ended with {status}, the second with {other}; together:", flush=True)
    print(_summary([_counts(result) for result in results], took_s), flush=True)
    return status or other


def _counts(result: Path) -> Counter[str]:
    """How many tests of a lane came to what; nothing when it did not come to its end."""
    try:
        suites = list(ElementTree.parse(result).iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return Counter()
    told = {"failed": "failures", "error": "errors", "skipped": "skipped", "tests": "tests"}
    counts = Counter({each: sum(int(s.get(name, "0")) for s in suites) for each, name in told.items()})
    counts["passed"] = counts["tests"] - counts["failed"] - counts["error"] - counts["skipped"]
    return counts


def _summary(lanes: Sequence[Counter[str]], took_s: float) -> str:
    """Both lanes' counts in the form of pytest's last line."""
    counts = sum(lanes, Counter())
    parts = [f"{counts[each]} {each}" for each in ("failed", "passed", "skipped", "error") if counts[each]]
    parts += ["a lane did not come to its end"] if not all(lanes) else []
    minutes, seconds = divmod(int(took_s), 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return f" {', '.join(parts) or 'no tests ran'} in {took_s:.2f}s ({clock}) ".center(80, "=")


def _start(arguments: Sequence[str], report: IO[bytes] | None) -> subprocess.Popen[bytes]:
    pytest = str(Path(sys.executable).with_name("pytest"))
    argv = [pytest, "--durations=40", "--durations-min=8", *arguments]
    said = subprocess.STDOUT if report else None
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=report, stderr=said)


def _show(report: IO[bytes], lane: subprocess.Popen[bytes]) -> int:
    """Show a lane's report, also what it has yet to say, and return its status."""
    shown = 0
    while True:
        status = lane.poll()
        if more := os.pread(report.fileno(), 1 << 20, shown):
            shown += len(more)
            sys.stdout.buffer.write(more)
            sys.stdout.buffer.flush()
        elif status is not None:
            return status
        else:
            time.sleep(0.2)  # a file that grows has no event for us


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parents[1] / "build" / "second-lane.log"))
