"""Ends what waits for /etc/pve when the store's daemon is killed: ``python -I -S last_will.py PLACE``.

The daemon tells the kernel what it must no longer cache in a thread, and the kernel may keep that thread
until a request is answered that holds the same directory. Killed just then the daemon can't end: its thread
waits for the request, the request for the daemon, and the kernel gives requests up only when the daemon has
ended (seen in ten minutes of kills). So a process of its own waits, knows nothing of the store, and is sent
SIGTERM by the kernel when the thread ends that started it (PR_SET_PDEATHSIG); it has the kernel give up all
requests then. A line on its input says instead that the file system was unmounted in order.

It needs no package, so that it takes little memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1
_MNT_FORCE = 1
"""umount2(2): requests under way are given up, whether or not it can be unmounted then."""


def end_requests(place: str) -> None:
    """Give up all requests on the file system at ``place``; whoever waits gets ECONNABORTED."""
    ctypes.CDLL(None).umount2(os.fsencode(place), _MNT_FORCE)


def main(place: str) -> None:
    """Wait for the daemon's end, or for the line that says there is nothing to do."""

    def carry_out(_signal: int, _frame: FrameType | None) -> None:
        end_requests(place)
        os._exit(0)

    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, carry_out)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1])
