"""Tell systemd how a daemon is doing (sd_notify(3)); does nothing where nobody listens."""

from __future__ import annotations

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` or ``STATUS=waiting for quorum`` to ``$NOTIFY_SOCKET``."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    ) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return  # a manager that has gone away is no reason to stop working


async def stay_alive() -> None:
    """Tell systemd's watchdog that this event loop turns, for as long as it does (sd_watchdog_enabled(3)).

    Runs until cancelled; does nothing where no watchdog is set for this process.
    """
    wanted = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not wanted.isdigit():
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(wanted) / 1e6 / 4)
