"""``qm wait``: the end of a guest's process, waited for in the kernel."""

from __future__ import annotations

import os
import select

from kvorum.cli.client import Client, quote
from kvorum.cli.failures import CommandFailure, UsageFailure
from kvorum.cli.main import local_node, places


def until_stopped(vmid: str, timeout: str = "") -> str:
    """Return when the guest does not run here; ``CommandFailure`` when it still does after ``timeout``.

    Raises ``CallRefused`` when there is no such guest.
    """
    for name, value in (("vmid", vmid), ("timeout", timeout or "0")):
        if not value.isdigit():
            raise UsageFailure(f"400 Parameter verification failed.\n{name}: '{value}' is no whole number")
    client = Client(places().daemon_socket)
    status = client.call("GET", f"/nodes/{quote(local_node())}/qemu/{vmid}/status/current")
    pid = status.get("pid") if isinstance(status, dict) else None
    if not isinstance(pid, int) or pid <= 0:
        return ""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return ""
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(int(timeout) * 1000 if timeout else None):
            raise CommandFailure(f"VM {vmid} still runs after {timeout} s")
    finally:
        os.close(process)
    return ""
