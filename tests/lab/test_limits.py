"""What docs/limits.md says only some machines can show: shown where it can be, else skipped with why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvorum.lab.cgroup import hierarchy

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

    from kvorum.lab import Lab

_PROBE = """
import asyncio
from kvorum.guests.machine import accelerator
print(asyncio.run(accelerator.probe("qemu-system-x86_64")).reason)
"""


def test_a_guest_runs_on_kvm_where_the_probe_says_that_it_works(cluster: Cluster, guest: Maker) -> None:
    if reason := cluster.say("n1", "/usr/lib/kvorum/bin/python", "-c", _PROBE).strip():
        pytest.skip(reason)
    vmid = guest("n1", "--scsi0", "local:0.01,format=qcow2")
    cluster.say("n1", "qm", "start", str(vmid))
    pid = cluster.pid("n1", vmid)
    assert "kvm" in cluster.say("n1", "cat", f"/proc/{pid}/cmdline").split("-accel\0")[1].split("\0")[0]


def test_a_nodes_scopes_are_limited_where_the_hosts_groups_have_the_controllers(lab: Lab) -> None:
    mounted = hierarchy(Path("/proc/self/mountinfo").read_text())
    assert mounted is not None
    if "memory" not in (mounted / "cgroup.controllers").read_text().split():
        pytest.skip("the memory controller belongs to version 1 control groups on this host")
    read = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max"
    argv = ["systemd-run", "--quiet", "--scope", "-p", "MemoryMax=64M", "sh", "-c", read]
    assert lab.exec("n1", argv, check=True).stdout == f"{64 << 20}\n"
