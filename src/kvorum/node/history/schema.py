"""What a round-robin database holds: its columns, how they count, and how far each timeframe goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEP_S = 60
HEARTBEAT_S = 120
"""Seconds without a value until it counts as unknown."""


@dataclass(frozen=True, slots=True)
class Timeframe:
    """One view of the past: ``rows`` values, each of ``steps`` steps."""

    steps: int
    rows: int

    @property
    def resolution_s(self) -> int:
        """Seconds that one value stands for."""
        return self.steps * STEP_S


TIMEFRAMES = {
    "hour": Timeframe(1, 70),
    "day": Timeframe(30, 70),
    "week": Timeframe(180, 70),
    "month": Timeframe(720, 70),
    "year": Timeframe(10080, 70),
    "decade": Timeframe(10080, 570),
}
CONSOLIDATIONS = ("AVERAGE", "MAX")


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of database: its folder's name, its gauges, and its counters (told as a rate per second)."""

    name: str
    gauges: tuple[str, ...]
    counters: tuple[str, ...] = ()
    years: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns in the order of the file."""
        return (*self.gauges, *self.counters)

    def arguments(self) -> Sequence[str]:
        """What rrdcreate(1) is told."""
        sources = [f"DS:{name}:GAUGE:{HEARTBEAT_S}:0:U" for name in self.gauges]
        sources += [f"DS:{name}:DERIVE:{HEARTBEAT_S}:0:U" for name in self.counters]
        frames = [
            frame for name, frame in TIMEFRAMES.items() if name != ("decade" if self.years < 10 else "year")
        ]
        archives = [
            f"RRA:{function}:0.5:{frame.steps}:{frame.rows}"
            for function in CONSOLIDATIONS
            for frame in frames
        ]
        return [*sources, *archives]


_PRESSURE = (
    "pressurecpusome",
    "pressureiosome",
    "pressureiofull",
    "pressurememorysome",
    "pressurememoryfull",
)
NODE = Schema(
    "pve-node-9.0",
    (
        *("loadavg", "maxcpu", "cpu", "iowait", "memtotal", "memused", "memavailable"),
        *("swaptotal", "swapused", "roottotal", "rootused", *_PRESSURE),
    ),
    ("netin", "netout"),
    years=10,
)
GUEST = Schema(
    "pve-vm-9.0",
    ("maxcpu", "cpu", "maxmem", "mem", "maxdisk", "disk"),
    ("netin", "netout", "diskread", "diskwrite"),
)
STORAGE = Schema("pve-storage-9.0", ("total", "used"))
