"""The samples that go into the databases, from what was measured and published. Pure but for /proc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from kvorum.guests import GuestRecord
from kvorum.node.record import NodeRecord
from kvorum.storage import StorageRecord

Sample = Mapping[str, float | int | None]

_PRESSURE = Path("/proc/pressure")
_REAL = ("eth", "en", "wl", "ib", "usb")
"""How the names of hardware interfaces begin: traffic through bridges and taps is not counted twice."""


def node_sample(record: NodeRecord) -> Sample:
    """What this node's database is told."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    counters = psutil.net_io_counters(pernic=True)
    real = [each for name, each in counters.items() if name.startswith(_REAL)]
    return {
        "loadavg": psutil.getloadavg()[0],
        "maxcpu": record.maxcpu,
        "cpu": record.cpu,
        "iowait": record.wait,
        "memtotal": memory.total,
        "memused": record.mem,
        "memavailable": memory.available,
        "swaptotal": swap.total,
        "swapused": swap.used,
        "roottotal": record.maxdisk,
        "rootused": record.disk,
        "netin": sum(each.bytes_recv for each in real),
        "netout": sum(each.bytes_sent for each in real),
        **pressure(),
    }


def pressure(place: Path = _PRESSURE) -> Sample:
    """Pressure stall information (PSI, the kernel's accounting/psi): per cent of the last ten seconds."""
    found: dict[str, float | int | None] = {}
    for what in ("cpu", "io", "memory"):
        try:
            lines = (place / what).read_text().splitlines()
        except OSError:
            continue  # a kernel without PSI
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "some" or (kind == "full" and what != "cpu"):
                found[f"pressure{what}{kind}"] = float(rest.partition("avg10=")[2].partition(" ")[0])
    return found


def guest_sample(record: GuestRecord) -> Sample:
    """What a guest's database is told."""
    running = record.status == "running"
    return {
        "maxcpu": record.cpus,
        "cpu": record.cpu if running else None,
        "maxmem": record.maxmem,
        "mem": record.mem if running else None,
        "maxdisk": record.maxdisk,
        "disk": record.disk,
        "netin": record.netin if running else None,
        "netout": record.netout if running else None,
        "diskread": record.diskread if running else None,
        "diskwrite": record.diskwrite if running else None,
    }


def storage_sample(record: StorageRecord) -> Sample:
    """What a storage's database is told; unknown while it does not answer."""
    if not record.available:
        return {"total": None, "used": None}
    return {"total": record.maxdisk, "used": record.disk}


def line(schema: str, name: str, at: int, sample: Sample, columns: tuple[str, ...]) -> str:
    """One line of /etc/pve/.rrd: ``SCHEMA/NAME:TIME:VALUE:…``, ``U`` for what is unknown."""
    values = ("U" if sample.get(column) is None else f"{sample[column]:.10g}" for column in columns)
    return f"{schema}/{name}:{at}:{':'.join(values)}"
