"""Runs the tests in two lanes beside each other, as ``make test`` does: most of them wait for nodes, not for
the processor.

The first lane has what needs no nodes (unit, sim) and then the tests that share one lab of three; the second
has labs of the tests' own, rings of corosync, guests without a node, and the page. Both look at all tests and
a marker says whose each is, so that none is lost between them.

The first lane's report is shown as it comes, the second's when the first has ended (until then look into
build/second-lane.log). The status is 0 only if both lanes' is. A signal to end is passed on, and each lane
takes its labs down first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

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
        first = _start([f"-m=not {SECOND}", *folders], None)
        running.append(first)
        second = _start([f"-m={SECOND}", *folders], report)
        running.append(second)
        if told:  # while they were started
            end(signal.SIGTERM, None)
        status = first.wait()
        print(f"\n--- the first lane ended with {status}; the second says:\n", flush=True)
        other = _show(report, second)
    took_s = time.monotonic() - begun
    print(f"--- {took_s:.0f} s; the first lane ended with {status}, the second with {other}", flush=True)
    return status or other


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
