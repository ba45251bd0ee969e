"""A guest's agent asked from its node, and a guest switched off by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from test_migration import GUEST_OS, boot

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)


def test_the_agent_answers_runs_programs_and_switches_the_guest_off(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", *GUEST_OS, "--agent", "1")
    boot(cluster, vmid)
    base = f"/nodes/n1/qemu/{vmid}/agent"
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    facts = json.loads(cluster.say("n1", "qm", "guest", "cmd", str(vmid), "get-vcpus"))
    assert facts[0]["online"] == 1
    ran = json.loads(
        cluster.say("n1", "qm", "guest", "exec", str(vmid), "--", "/bin/busybox", "echo", "hello there")
    )
    assert (ran["exitcode"], ran["out-data"]) == (0, "hello there\n")
    cluster.run("n1", "pvesh", "create", f"{base}/file-write", "--file", "/tmp/note", "--content", "kept")
    asked = ("pvesh", "get", f"{base}/file-read", "--file", "/tmp/note", "--output-format", "json")
    assert json.loads(cluster.say("n2", *asked)) == {"content": "kept", "bytes-read": 4}
    assert "refused" in cluster.fails("n1", "pvesh", "get", f"{base}/file-read", "--file", "/nowhere")

    cluster.say("n1", "qm", "suspend", str(vmid))
    cluster.say("n1", "qm", "resume", str(vmid))
    assert "VM status: running" in cluster.say("n1", "qm", "monitor", str(vmid), "info", "status")
    cluster.say("n1", "qm", "shutdown", str(vmid), "--timeout", "60")
    assert cluster.status("n1", vmid) == "stopped"
