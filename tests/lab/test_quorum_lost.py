"""A minority changes nothing and says so; its running guests go on (mission W13)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

_OPEN = (
    "import os,sys\ntry: os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\nexcept OSError as e: print(e.errno)"
)


@pytest.mark.timeout(180)
def test_a_minority_is_read_only_and_its_guest_goes_on(cluster: Cluster, guest: Maker) -> None:
    vmid, idle = guest("n3", "--scsi0", "local:0.01"), guest("n3")
    cluster.say("n3", "qm", "start", str(vmid))
    pid = cluster.pid("n3", vmid)
    cluster.lab.partition("n1,n2|n3")
    cluster.without_quorum("n3")

    for name in ("/etc/pve/new", f"/etc/pve/qemu-server/{vmid}.conf", "/etc/pve/storage.cfg"):
        assert cluster.say("n3", "python3", "-c", _OPEN, name).strip() == str(errno.EROFS), os.strerror(
            errno.EROFS
        )
    assert "memory: 64" in cluster.say("n3", "cat", f"/etc/pve/qemu-server/{vmid}.conf")
    for command in (("start", str(idle)), ("stop", str(vmid)), ("set", str(idle), "--memory", "128"),
                    ("migrate", str(vmid), "n1", "--online", "1"), ("destroy", str(idle))):  # fmt: skip
        assert "no quorum" in cluster.fails("n3", "qm", *command), command
    assert cluster.status("n3", vmid) == "running"
    assert cluster.lives("n3", pid)

    cluster.settled(("n1", "n2"))
    cluster.say("n1", "sh", "-c", "echo majority > /etc/pve/majority")
    cluster.lab.heal()
    cluster.settled()
    assert cluster.say("n3", "cat", "/etc/pve/majority") == "majority\n"
    cluster.say("n3", "rm", "/etc/pve/majority")
    cluster.say("n3", "qm", "stop", str(vmid))
    assert not cluster.lives("n3", pid)
