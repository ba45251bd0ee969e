"""The tests' two lanes: both are shown, the worse one counts, and a signal to end reaches both."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
_RUN = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import lanes
shells = iter(sys.argv[3:])
lanes._start = lambda arguments, report: subprocess.Popen(["sh", "-c", next(shells)], stdout=report)
sys.exit(lanes.main(["tests/lab"], Path(sys.argv[2])))
"""


def run(place: Path, first: str, second: str) -> subprocess.Popen[str]:
    """The two lanes, each a shell script in place of its pytest."""
    argv = [sys.executable, "-c", _RUN, str(HERE), str(place / "log"), first, second]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("first", "second", "whole"), [(0, 0, 0), (1, 0, 1), (0, 2, 2), (5, 0, 5)])
def test_the_status_is_zero_only_if_both_are(tmp_path: Path, first: int, second: int, whole: int) -> None:
    with run(tmp_path, f"exit {first}", f"exit {second}") as both:
        said, _ = both.communicate(timeout=60)
    assert both.returncode == whole
    assert f"the first lane ended with {first}, the second with {second}" in said.splitlines()[-2]


def test_the_last_line_sums_both_up_as_pytest_does(tmp_path: Path) -> None:
    suite = """echo '<testsuite tests="{}" failures="{}" errors="0" skipped="1"/>' > {}"""
    shells = (
        suite.format(5, 0, tmp_path / "first-lane.xml"),
        suite.format(4, 1, tmp_path / "second-lane.xml"),
    )
    with run(tmp_path, *shells) as both:
        said, _ = both.communicate(timeout=60)
    assert " 1 failed, 6 passed, 2 skipped in " in said.splitlines()[-1]
    with run(tmp_path, shells[0], "exit 2") as both:
        said, _ = both.communicate(timeout=60)
    assert " 4 passed, 1 skipped, a lane did not come to its end in " in said.splitlines()[-1]


def test_the_second_report_follows_the_first_and_is_whole(tmp_path: Path) -> None:
    with run(tmp_path, "echo first; exec sleep 0.3", "echo second; sleep 0.6; echo end") as both:
        said, _ = both.communicate(timeout=60)
    lines = [line for line in said.splitlines() if line and line[0] not in "-="]
    assert lines == ["first", "second", "end"]


def test_a_signal_to_end_reaches_both(tmp_path: Path) -> None:
    lane = "trap 'echo its labs are down; exit 3' TERM; {}; while :; do sleep 0.05; done"
    ready = tmp_path / "ready"
    first = lane.format(f"until test -e {ready}; do sleep 0.05; done; echo begun")
    with run(tmp_path, first, lane.format(f": > {ready}")) as both:
        assert both.stdout is not None
        assert both.stdout.readline() == "begun\n"
        both.send_signal(signal.SIGTERM)
        said, _ = both.communicate(timeout=60)
    assert both.returncode == 3
    assert said.count("its labs are down") == 2
