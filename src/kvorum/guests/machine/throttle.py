"""A disk's limits, as QEMU's ``block_set_io_throttle`` takes them: pure."""

from __future__ import annotations

from kvorum.guests.config import Disk
from kvorum.guests.config.devices import THROTTLES

_MEGABYTE = 1 << 20
_ALWAYS = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")


def limits(disk: Disk) -> dict[str, int]:
    """Bytes and operations a second, bursts, and how long they may last in seconds; 0 is no limit.

    ``mbps`` is in MiB/s, as the settings say it.
    """
    found = dict.fromkeys(_ALWAYS, 0)
    for name in THROTTLES & disk.options.keys():
        value = float(disk.options[name])
        if name.endswith(("_rd_length", "_wr_length")):  # the other word for the same
            name = name.replace("_length", "_max_length")
        if name.startswith("mbps"):
            found[f"bps{name.removeprefix('mbps')}"] = int(value * _MEGABYTE)
        elif value or name in _ALWAYS:
            found[name] = int(value)
    return found


def limited(disk: Disk) -> bool:
    """Whether there is any limit."""
    return any(limits(disk).values())
