"""How a row is measured: the two floors first, then the thing itself, and what it cost the daemons here."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from baseline import Echo, Floor, timed_ms

from kvorum.core.paths import Paths

PATHS = Paths.system()
WRITERS = 16
UNITS = ("pve-cluster", "corosync")


class Rows:
    """Measures one row after the other; ``rows`` has them all, in raw samples."""

    def __init__(self, floor: Floor, echo: Echo, count: int) -> None:
        self._floor, self._echo, self.count = floor, echo, count
        self._pids = {unit: main_pid(unit) for unit in UNITS}
        self.rows: dict[str, dict[str, object]] = {}

    def measure(
        self,
        name: str,
        act: Callable[[int], object],
        *,
        count: int = 0,
        before_each: Callable[[int], object] | None = None,
    ) -> None:
        """A row of ``count`` samples; ``before_each`` is not in the times, and then no cost is told."""
        samples = count or self.count
        with self._row(name, samples) as row:
            if before_each is None:
                row["ms"] = timed_ms(act, samples)
            else:
                row["ms"] = _timed_between_ms(before_each, act, samples)
        if before_each is not None:
            del self.rows[name]["of_each"]

    async def measure_async(self, name: str, act: Callable[[int], Awaitable[object]]) -> None:
        """The same for what is awaited."""
        took = []
        with self._row(name, self.count) as row:
            for number in range(self.count):
                begin = time.perf_counter()
                await act(number)
                took.append((time.perf_counter() - begin) * 1000)
            row["ms"] = took

    def crowd(self, name: str, run: Callable[[int], list[float]]) -> None:
        """A row of 16 writers at once; each of them writes ``run``'s argument times."""
        each = max(1, self.count // 2)
        with self._row(name, each * WRITERS) as row:
            begin = time.perf_counter()
            row["ms"] = run(each)
            row["per_second"] = each * WRITERS / (time.perf_counter() - begin)

    @contextmanager
    def _row(self, name: str, samples: int) -> Iterator[dict[str, object]]:
        row: dict[str, object] = {
            "fdatasync_ms": timed_ms(self._floor.sync, min(samples, self.count)),
            "message_ms": timed_ms(self._echo.message, min(samples, self.count)),
        }
        before = self._used()
        yield row
        row["of_each"] = {
            unit: {
                "cpu_ms": (now[0] - before[unit][0]) / samples / 1e6,
                "waiting_for_cpu_ms": (now[1] - before[unit][1]) / samples / 1e6,
                "turns": (now[2] - before[unit][2]) / samples,
            }
            for unit, now in self._used().items()
        }
        self.rows[name] = row

    def _used(self) -> dict[str, list[int]]:
        """Nanoseconds on a CPU, nanoseconds waiting for one, and turns so far (proc_pid_schedstat)."""
        return {unit: _schedstat(pid) for unit, pid in self._pids.items()}


def _timed_between_ms(
    before_each: Callable[[int], object], act: Callable[[int], object], count: int
) -> list[float]:
    took = []
    for number in range(count):
        before_each(number)
        begin = time.perf_counter()
        act(number)
        took.append((time.perf_counter() - begin) * 1000)
    return took


def _schedstat(pid: int) -> list[int]:
    threads = [(task / "schedstat").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [sum(map(int, column)) for column in zip(*threads, strict=True)]


@contextmanager
def measuring(count: int) -> Iterator[Rows]:
    """Rows of so many samples, with the floors on pve-cluster's own disk."""
    with ExitStack() as stack:
        floor = Floor(PATHS.database.parent)
        stack.callback(floor.close)
        echo = Echo()
        stack.callback(echo.close)
        yield Rows(floor, echo, count)


def main_pid(unit: str) -> int:
    """A unit's main process."""
    asked = ["systemctl", "show", "--property=MainPID", "--value", unit]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=10).stdout)


def pss_mib() -> float:
    """pve-cluster's memory, of shared pages its part (proc_pid_smaps_rollup)."""
    rollup = Path(f"/proc/{main_pid('pve-cluster')}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
