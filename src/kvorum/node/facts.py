"""What the kernel says of this node, read from /proc through psutil: no subprocess, no blocking device."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

import kvorum
from kvorum.node.record import NodeRecord

_EFI = Path("/sys/firmware/efi")
_SECURE_BOOT = _EFI / "efivars" / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


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
            wait=cpu_fraction(_waiting_and_total(self._times), _waiting_and_total(times)),
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
        "wait": record.wait,
        "ksm": {"shared": _ksm_bytes()},
        "uptime": record.uptime,
        "loadavg": [f"{load:.2f}" for load in os.getloadavg()],
        "kversion": f"{uname.sysname} {uname.release} {uname.version}",
        "current-kernel": {
            "sysname": uname.sysname,
            "release": uname.release,
            "version": uname.version,
            "machine": uname.machine,
        },
        "boot-info": _boot(),
        "cpuinfo": {
            "cpus": threads,
            "cores": psutil.cpu_count(logical=False) or threads,
            "sockets": _sockets(),
            "model": _cpu_model(),
            "mhz": _first("cpu MHz"),
            "flags": _first("flags"),
            "hvm": "1" if {"vmx", "svm"} & set(_first("flags").split()) else "0",
            "user_hz": os.sysconf("SC_CLK_TCK"),
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


def _waiting_and_total(times: psutil._ntuples.scputimes) -> tuple[float, float]:
    return times.iowait, _busy_and_total(times)[1]


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


def _first(key: str) -> str:
    return next(iter(_cpuinfo(key)), "")


def _cpu_model() -> str:
    return _first("model name") or platform.processor() or platform.machine()


def _ksm_bytes() -> int:
    """Memory that kernel same-page merging spares; 0 where the kernel has none."""
    try:
        return int(Path("/sys/kernel/mm/ksm/pages_sharing").read_text()) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _boot() -> dict[str, object]:
    """How the node booted; the last byte of the EFI variable says whether Secure Boot was on."""
    if not _EFI.exists():
        return {"mode": "legacy-bios"}
    try:
        return {"mode": "efi", "secureboot": _SECURE_BOOT.read_bytes()[-1:] == b"\x01"}
    except OSError:
        return {"mode": "efi"}


def _sockets() -> int:
    return len(set(_cpuinfo("physical id"))) or 1
