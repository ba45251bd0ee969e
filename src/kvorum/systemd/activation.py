"""Sockets that systemd has opened and hands over with the start (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

FIRST = 3


def inherited(environment: Mapping[str, str] = os.environ, pid: int | None = None) -> list[socket.socket]:
    """The listening sockets that are meant for this process, none where nobody hands any over."""
    if environment.get("LISTEN_PID") != str(pid or os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    sockets = []
    for number in range(FIRST, FIRST + (int(count) if count.isdigit() else 0)):
        os.set_inheritable(number, False)
        sockets.append(socket.socket(fileno=number))
    return sockets
