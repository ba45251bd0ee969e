"""What a node tells all others about its guests every few seconds, under the key ``guests``.

The value is MessagePack of a list of ``GuestRecord``; ``read_records`` decodes what all nodes have published.
Numbers come from /proc, so that collecting costs no QMP round trip.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from kvorum.store import Store

KEY = "guests"
INTERVAL_S = 1.2
"""Nobody's page may show a row that is older than 2 s: what is left is for a busy machine."""
TTL_S = 15.0

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class GuestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One guest as its node sees it. Bytes, seconds; ``cpu`` is the share of its own CPUs in use, 0 to 1."""

    vmid: int
    name: str
    status: str
    """``running`` or ``stopped``."""
    qmpstatus: str = "stopped"
    """QEMU's own word: running, paused, inmigrate, …"""
    cpu: float = 0.0
    cpus: int = 1
    mem: int = 0
    maxmem: int = 0
    maxdisk: int = 0
    disk: int = 0
    uptime: int = 0
    pid: int = 0
    diskread: int = 0
    diskwrite: int = 0
    netin: int = 0
    netout: int = 0
    template: bool = False
    lock: str = ""
    tags: str = ""
    machine: str = ""
    accelerator: str = ""
    version: str = ""


def read_records(store: Store, only: str = "") -> Mapping[str, list[GuestRecord]]:
    """What each node last told about its guests, or the node ``only``; who tells nonsense is left out."""
    result: dict[str, list[GuestRecord]] = {}
    for node, value in store.published(KEY).items():
        if only not in ("", node):
            continue
        try:
            result[node] = msgspec.msgpack.decode(value, type=list[GuestRecord])
        except msgspec.MsgspecError:
            continue
    return result


class ProcessUsage(msgspec.Struct, frozen=True):
    """What a process has used."""

    cpu_s: float
    resident_bytes: int
    read_bytes: int
    write_bytes: int
    at: float


def usage(pid: int) -> ProcessUsage | None:
    """Read a process's counters from /proc (proc(5)); ``None`` when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    io = {"read_bytes": 0, "write_bytes": 0}
    try:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            key, _, value = line.partition(": ")
            if key in io:
                io[key] = int(value)
    except OSError:
        pass  # another uid's counters, and we are no root
    ticks = int(fields[11]) + int(fields[12])
    return ProcessUsage(
        ticks / _TICKS, int(fields[21]) * _PAGE, io["read_bytes"], io["write_bytes"], time.monotonic()
    )


class Traffic(msgspec.Struct, frozen=True):
    """Bytes that a guest has received and sent over all its cards since it was started here."""

    received: int = 0
    sent: int = 0


def traffic(taps: Iterable[str], net: Path = Path("/sys/class/net")) -> Traffic:
    """Add up the counters of a guest's taps (sysfs-class-net-statistics): what the host receives there, the
    guest has sent. A card without a tap counts nothing.
    """
    received = sent = 0
    for tap in taps:
        try:
            received += int((net / tap / "statistics/tx_bytes").read_text())
            sent += int((net / tap / "statistics/rx_bytes").read_text())
        except (OSError, ValueError):
            continue
    return Traffic(received, sent)


def cpu_share(before: ProcessUsage | None, now: ProcessUsage, cpus: int) -> float:
    """The share of a guest's CPUs used between two readings, 0 to 1."""
    if before is None or now.at <= before.at:
        return 0.0
    return max(0.0, min(1.0, (now.cpu_s - before.cpu_s) / (now.at - before.at) / cpus))
