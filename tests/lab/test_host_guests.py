"""Guests go down before their host and come up with it: in order, cleanly, and only with quorum."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from test_migration import GUEST_OS, boot, wait_count

from kvorum.lab import LabError

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(300)


def tasks(cluster: Cluster, node: str, kind: str) -> list[dict[str, object]]:
    """The tasks of a kind that ended on a node, the newest first."""
    found = cluster.get(node, f"/nodes/{node}/tasks")
    assert isinstance(found, list)
    return [task for task in found if task["type"] == kind]


def said(cluster: Cluster, node: str, kind: str) -> list[str]:
    """What the newest task of a kind said."""
    upid = str(tasks(cluster, node, kind)[0]["upid"])
    rows = cluster.get(node, f"/nodes/{node}/tasks/{upid}/log")
    assert isinstance(rows, list)
    return [str(row["t"]) for row in rows]


def rebooted(cluster: Cluster, node: str) -> None:
    """Have a node reboot as the API does it, and wait until it is back."""
    cluster.say(node, "touch", "/run/before")
    cluster.say(node, "pvesh", "create", f"/nodes/{node}/status", "--command", "reboot")
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with suppress(LabError):
            if cluster.run(node, "test", "-e", "/run/before").returncode == 1:
                return cluster.settled()
        time.sleep(0.2)  # a machine that is off has no event for us
    pytest.fail(f"{node} did not come back from its reboot within 90 s")


def test_guests_go_down_and_come_up_with_their_host(cluster: Cluster, guest: Maker) -> None:
    first = guest("n1", *GUEST_OS, "--onboot", "1", "--startup", "order=1")
    deaf = guest("n1", "--onboot", "1", "--startup", "order=2,down=1")
    other = guest("n1", "--startup", "order=3,down=1")
    boot(cluster, first)
    for vmid in (deaf, other):
        cluster.say("n1", "qm", "start", str(vmid))
    shown = cluster.say("n1", "systemctl", "show", f"{first}.scope", "--property", "Before")
    assert "pve-guests.service" in shown

    rebooted(cluster, "n1")
    assert said(cluster, "n1", "stopall") == [
        f"Stopping VM {other} (timeout = 1 seconds)",
        f"Stopping VM {deaf} (timeout = 1 seconds)",
        f"Stopping VM {first} (timeout = 180 seconds)",
        "TASK OK",
    ]
    journal = cluster.say("n1", "journalctl", "--no-pager", "-u", "pvedaemon", "-o", "cat")
    assert f"VM {first}: ended: guest-shutdown" in journal, "the guest had switched itself off"
    cluster.until("n1", f"qm status {deaf} | grep -q running", timeout_s=60)
    assert said(cluster, "n1", "startall") == [f"Starting VM {first}", f"Starting VM {deaf}", "TASK OK"]
    assert cluster.status("n1", other) == "stopped"
    wait_count(cluster, "n1", first)
    cluster.say("n1", "qm", "set", str(first), "--onboot", "0")

    # The power goes, and when it is back nobody else is there: nothing starts until there is quorum.
    cluster.lab.partition("n1|n2,n3")
    cluster.lab.cut("n1")
    cluster.lab.power("n1")
    cluster.without_quorum("n1")
    cluster.until("n1", "systemctl is-active --quiet pve-guests.service")
    script = "pvesh get /nodes/n1/tasks --source active --output-format json | grep -q startall"
    cluster.until("n1", script)
    assert cluster.status("n1", deaf) == "stopped"
    cluster.lab.heal()
    cluster.settled()
    cluster.until("n1", f"qm status {deaf} | grep -q running", timeout_s=60)
    cluster.until("n1", f"! {script}")
    lines = said(cluster, "n1", "startall")
    assert lines[0].startswith("waiting for quorum, 60 minutes at most; ") and "there is quorum" in lines
    assert lines[-2:] == [f"Starting VM {deaf}", "TASK OK"]
    assert cluster.status("n1", first) == "stopped"
