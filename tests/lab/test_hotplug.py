"""A running guest takes disks and cards and lets them go, waits with the rest, and migrates as it is then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED
from test_migration import GUEST_OS, boot, wait_count

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)


def settings(cluster: Cluster, node: str, vmid: int) -> dict[str, str]:
    lines = cluster.say(node, "qm", "config", str(vmid), "--current", "1").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_a_guest_with_what_was_plugged_lets_it_go_and_migrates(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--scsihw", "virtio-scsi-pci", *GUEST_OS)
    boot(cluster, vmid)
    pid = cluster.pid("n1", vmid)

    def set_(node: str, *options: str) -> None:
        cluster.say(node, "qm", "set", str(vmid), *options)

    set_(
        "n1",
        "--scsi1",
        f"{SHARED}:0.01",
        "--virtio1",
        f"{SHARED}:0.01,iothread=1",
        "--net1",
        "virtio,bridge=vmbr0",
    )
    threads = ("qm", "monitor", str(vmid), "info iothreads")
    assert "iothread-virtio1" in cluster.say("n1", *threads)
    tap = f"/sys/class/net/tap{vmid}i1/master"
    assert cluster.say("n1", "readlink", tap).strip().endswith("vmbr0")
    before = wait_count(cluster, "n1", vmid)
    cluster.say("n1", "qm", "migrate", str(vmid), "n2", "--online", "1", timeout_s=180)
    assert wait_count(cluster, "n2", vmid) > before
    pid = cluster.pid("n2", vmid)
    assert "iothread-virtio1" in cluster.say("n2", *threads)

    set_("n2", "--delete", "net1,scsi1,virtio1")
    now = settings(cluster, "n2", vmid)
    assert not {"net1", "scsi1", "virtio1"} & now.keys()
    assert {"unused0", "unused1"} <= now.keys(), "volumes are kept until they are destroyed by name"
    cluster.say("n2", "test", "!", "-e", tap)
    assert "iothread" not in cluster.say("n2", *threads)

    set_("n2", "--memory", "320", "--name", "later")
    assert settings(cluster, "n2", vmid)["memory"] == "256"
    shown = cluster.say("n2", "qm", "pending", str(vmid))
    assert "cur memory: 256\nnew memory: 320\n" in shown
    assert "cur name: later\n" in shown
    assert cluster.pid("n2", vmid) == pid
    cluster.say("n2", "qm", "reboot", str(vmid), "--timeout", "60")
    assert settings(cluster, "n2", vmid)["memory"] == "320"
    assert "new" not in cluster.say("n2", "qm", "pending", str(vmid))
    assert cluster.pid("n2", vmid) != pid
    assert wait_count(cluster, "n2", vmid) > before, "the guest goes on from its own disk"
