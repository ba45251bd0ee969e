"""Thin disks: what a guest gives back (TRIM) is free on the storage again, and zeros take no room."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED
from test_migration import GUEST_OS, boot

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)
MIB = 1 << 20
BUSYBOX = "/bin/busybox"


def test_what_a_guest_gives_back_is_free_on_the_storage(cluster: Cluster, guest: Maker) -> None:
    vmid = guest(
        "n1", *GUEST_OS, "--agent", "1",
        "--virtio1", f"{SHARED}:0.1,format=qcow2,discard=on",
        "--virtio2", "local:0.1,format=raw,discard=on",
        "--virtio3", f"{SHARED}:0.1,format=qcow2",
    )  # fmt: skip
    boot(cluster, vmid)
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    disks = {
        "vdb": f"/mnt/shared/images/{vmid}/vm-{vmid}-disk-0.qcow2",
        "vdc": f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-0.raw",
        "vdd": f"/mnt/shared/images/{vmid}/vm-{vmid}-disk-1.qcow2",
    }

    def taken() -> dict[str, int]:
        told = cluster.say("n1", "stat", "--format", "%b", *disks.values()).split()
        return {name: int(blocks) * 512 for name, blocks in zip(disks, told, strict=True)}

    before = taken()
    for name in disks:
        where = (f"of=/dev/{name}", "bs=1M", "seek=32", "count=24", "conv=fsync")
        _inside(cluster, vmid, BUSYBOX, "dd", "if=/dev/urandom", *where)
    full = taken()
    assert all(full[name] >= before[name] + 24 * MIB for name in disks), (before, full)

    _inside(cluster, vmid, BUSYBOX, "blkdiscard", "-o", str(32 * MIB), "-l", str(24 * MIB), "/dev/vdb")
    _inside(cluster, vmid, BUSYBOX, "dd", "if=/dev/zero", "of=/dev/vdc", "bs=1M", "seek=32", "count=24",
            "conv=fsync")  # fmt: skip
    _inside(cluster, vmid, BUSYBOX, "blkdiscard", "-o", str(32 * MIB), "-l", str(24 * MIB), "/dev/vdd")
    after = taken()
    for name in ("vdb", "vdc"):
        assert after[name] <= full[name] - 20 * MIB, (name, full, after)
    assert after["vdd"] >= full["vdd"], "without discard=on nothing comes back"


def _inside(cluster: Cluster, vmid: int, *argv: str) -> None:
    """A program in the guest that must do."""
    ran = json.loads(cluster.say("n1", "qm", "guest", "exec", str(vmid), "--", *argv))
    assert ran.get("exitcode") == 0, (argv, ran)
