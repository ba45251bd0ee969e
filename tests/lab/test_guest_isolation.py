"""What a broken-out guest could reach: QEMU has a uid, scope and filter of its own, and no other's files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

# Runs with another guest's identity; prints what it could open.
_TRY = """
import glob, os, socket, sys
uid, own = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(uid); os.setuid(uid)
for pattern in sys.argv[3:]:
    for path in glob.glob(pattern) or [pattern]:
        for flags in (os.O_RDONLY, os.O_WRONLY):
            try:
                os.close(os.open(path, flags)); print(path)
            except OSError as error:
                if error.errno == 6:  # a socket: open can't, connect could
                    with socket.socket(socket.AF_UNIX) as it:
                        try:
                            it.connect(path); print(path)
                        except PermissionError:
                            pass
"""


def test_qemu_has_a_uid_of_its_own_no_capabilities_a_filter_and_a_scope(
    cluster: Cluster, guest: Maker
) -> None:
    vmid = guest("n1", "--scsi0", "local:0.01,format=qcow2", "--net0", "virtio,bridge=vmbr0")
    cluster.say("n1", "qm", "start", str(vmid))
    pid = cluster.pid("n1", vmid)
    status = cluster.say("n1", "cat", f"/proc/{pid}/status")
    uid = 0x70000000 + vmid
    assert re.search(rf"^Uid:(\s+{uid}){{4}}$", status, re.M)
    assert re.search(rf"^Gid:(\s+{uid}){{4}}$", status, re.M)
    for name in ("CapPrm", "CapEff", "CapAmb"):
        assert re.search(rf"^{name}:\s+0+$", status, re.M), name
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    for task in cluster.say("n1", "sh", "-c", f"cat /proc/{pid}/task/*/status").split("Name:")[1:]:
        assert re.search(r"^Seccomp:\s+2$", task, re.M), task
    assert f"qemu.slice/{vmid}.scope" in cluster.say("n1", "cat", f"/proc/{pid}/cgroup")
    shown = cluster.say("n1", "systemctl", "status", "--no-pager", f"{vmid}.scope")
    assert "active (running)" in shown and str(pid) in shown
    cluster.say("n1", "qm", "stop", str(vmid))
    assert cluster.traces("n1", vmid) == [f"/var/lib/vz/images/{vmid}"]


def test_a_guest_cannot_reach_another_guests_or_the_nodes_files(cluster: Cluster, guest: Maker) -> None:
    settings = ("--scsi0", "local:0.01,format=qcow2", "--serial0", "socket", "--agent", "1")
    one, other = guest("n1", *settings), guest("n1", *settings, "--scsi1", "shared:0.01")
    for vmid in (one, other):
        cluster.say("n1", "qm", "start", str(vmid))
    uid, pid = 0x70000000 + one, cluster.pid("n1", other)
    disks = [f"{place}/{other}/vm-{other}-disk-{n}.qcow2" for place, n in (("/var/lib/vz/images", 0),)]
    assert cluster.run("n1", "test", "-e", disks[0]).returncode == 0
    shared = f"/mnt/shared/images/{other}"
    secrets = ["/etc/shadow", "/etc/pve/priv/authkey.key", "/var/lib/pve-cluster/config.db",
               "/run/kvorum/store.sock", "/run/kvorum/pvedaemon.sock", "/etc/corosync/authkey",
               f"/etc/pve/qemu-server/{other}.conf"]  # fmt: skip
    theirs = [
        *disks, *cluster.say("n1", "sh", "-c", f"ls {shared}/*").split(),
        *(f"/run/qemu-server/{other}.{name}" for name in ("qmp", "mon", "serial0", "qga", "json", "log")),
        f"/proc/{pid}/mem", f"/proc/{pid}/environ", *secrets,
    ]  # fmt: skip
    names = [path for path in theirs if path != f"/proc/{pid}/mem"]
    there = cluster.run("n1", "sh", "-c", f"ls -d {' '.join(names)}")
    assert there.returncode == 0, there.stderr
    assert cluster.say("n1", "python3", "-c", _TRY, str(uid), str(one), *theirs) == ""
    own = f"/var/lib/vz/images/{one}/vm-{one}-disk-0.qcow2"
    opened = cluster.say("n1", "python3", "-c", _TRY, str(uid), str(one), own)
    assert opened.split() == [own, own], "the probe can't tell: a guest reads and writes its own disk"
