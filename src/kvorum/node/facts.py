"""What the kernel says of this node, read from /proc through psutil: no subprocess, no blocking device."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

import kvorum
from kvorum.node.record import NodeRecord


class Sampler:
    """Takes samples of this node; CPU use is counted between two of them."""

    def __init__(self) -> None:
        self._times = psutil.cpu_times()
        self.record = self.sample()

    def sample(self) -> NodeRecord:
        """Measure now and remember the result as ``record``."""
        times = psutil.cpu_times()
        memory = psutil.virtual_memory()
        root = os.statvfs("/")
        self.record = NodeRecord(
            cpu=cpu_fraction(_busy_and_total(self._times), _busy_and_total(times)),
            maxcpu=psutil.cpu_count() or 1,
            mem=memory.total - memory.available,
            maxmem=memory.total,
            disk=(root.f_blocks - root.f_bfree) * root.f_frsize,
            maxdisk=root.f_blocks * root.f_frsize,
            uptime=uptime_s(),
            version=kvorum.__version__,
        )
        self._times = times
        return self.record


def cpu_fraction(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The share of busy time between two (busy, total) counts in seconds; 0 when no time has passed."""
    total = after[1] - before[1]
    return min(1.0, max(0.0, (after[0] - before[0]) / total)) if total > 0 else 0.0


def uptime_s() -> int:
    """Seconds since the node booted; in a container since its init started."""
    try:
        return max(0, int(time.time() - psutil.Process(1).create_time()))
    except psutil.Error:
        return int(time.time() - psutil.boot_time())


def status(record: NodeRecord) -> dict[str, object]:
    """The answer of ``GET /nodes/{node}/status``, around the last sample."""
    memory, swap, root, uname = psutil.virtual_memory(), psutil.swap_memory(), os.statvfs("/"), os.uname()
    size, free, available = (n * root.f_frsize for n in (root.f_blocks, root.f_bfree, root.f_bavail))
    threads = psutil.cpu_count() or 1
    return {
        "cpu": record.cpu,
        "wait": 0,
        "uptime": record.uptime,
        "loadavg": [f"{load:.2f}" for load in os.getloadavg()],
        "kversion": f"{uname.sysname} {uname.release} {uname.version}",
        "current-kernel": {
            "sysname": uname.sysname,
            "release": uname.release,
            "version": uname.version,
            "machine": uname.machine,
        },
        "boot-info": {"mode": "efi" if Path("/sys/firmware/efi").exists() else "legacy-bios"},
        "cpuinfo": {
            "cpus": threads,
            "cores": psutil.cpu_count(logical=False) or threads,
            "sockets": _sockets(),
            "model": _cpu_model(),
        },
        "memory": {
            "total": memory.total,
            "used": memory.total - memory.available,
            "free": memory.free,
            "available": memory.available,
        },
        "swap": {"total": swap.total, "used": swap.used, "free": swap.free},
        "rootfs": {"total": size, "used": size - free, "free": free, "avail": available},
        "pveversion": f"kvorum/{record.version}",
        "kvorum": {"accelerator": record.accelerator},
    }


def _busy_and_total(times: psutil._ntuples.scputimes) -> tuple[float, float]:
    """Busy and total seconds of all cores; guests are part of user time, waiting for disks is idle."""
    total = times.user + times.nice + times.system + times.idle + times.iowait + times.irq + times.softirq
    total += times.steal
    return total - times.idle - times.iowait, total


def _cpuinfo(key: str) -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    lines = (line.partition(":") for line in text.splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == key]


def _cpu_model() -> str:
    models = _cpuinfo("model name")
    return models[0] if models else platform.processor() or platform.machine()


def _sockets() -> int:
    return len(set(_cpuinfo("physical id"))) or 1
