"""Guests on an installed node: their ends are noticed, wrong input is refused by place and reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cores: many", ["'cores'", "1 to 4096"]),
        ("bois: seabios", ["'bois'", "such as bios"]),
        ("bios: coreboot", ["'bios'", "seabios", "ovmf"]),
        ("net0: vritio,bridge=vmbr0", ["'net0'", "vritio", "virtio"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_a_wrong_line_in_the_file_is_named_with_what_is_allowed(
    cluster: Cluster, guest: Maker, line: str, said: list[str]
) -> None:
    vmid = guest("n1")
    path = f"/etc/pve/nodes/n1/qemu-server/{vmid}.conf"
    before = cluster.say("n1", "cat", path)
    cluster.say("n1", "sh", "-c", f"echo '{line}' >> {path}")
    try:
        text = cluster.fails("n1", "qm", "start", str(vmid))
        number = before.count("\n") + 1
        assert f"qemu-server/{vmid}.conf line {number}" in text
        assert all(word in text for word in said), text
        assert str(vmid) in cluster.say("n1", "qm", "list")
        assert cluster.traces("n1", vmid) == []
    finally:
        cluster.lab.exec("n1", ["tee", path], input=before, check=True)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("dir: broken\n\tpath\n", ["storage.cfg line", "'path'"]),
        ("dir: broken\n\tpath /mnt/x\n\tpaht /y\n", ["storage.cfg line", "'paht'", "'path'"]),
        ("dri: broken\n\tpath /mnt/x\n", ["storage.cfg line", "'dri'", "supported: btrfs, dir, zfspool"]),
    ],
)
def test_a_wrong_storage_is_named_and_the_others_work(
    cluster: Cluster, storage: str, said: list[str]
) -> None:
    before = cluster.say("n1", "cat", "/etc/pve/storage.cfg")
    cluster.lab.exec("n1", ["tee", "-a", "/etc/pve/storage.cfg"], input=f"\n{storage}", check=True)
    try:
        text = cluster.fails("n1", "pvesm", "alloc", "broken", "8999", "", "1G")
        assert all(word in text for word in said), text
        assert "active" in cluster.say("n1", "pvesm", "status", "--storage", "local")
    finally:
        cluster.lab.exec("n1", ["tee", "/etc/pve/storage.cfg"], input=before, check=True)


@pytest.mark.parametrize("source", ["/etc/os-release", "/etc", "/nowhere", "/dev/null"])
def test_what_is_no_disk_image_is_refused_before_anything_is_written(
    cluster: Cluster, guest: Maker, source: str
) -> None:
    vmid = guest("n1")
    before = cluster.say("n1", "cat", f"/etc/pve/qemu-server/{vmid}.conf")
    text = cluster.fails("n1", "qm", "importdisk", str(vmid), source, "local")
    assert source in text
    assert cluster.traces("n1", vmid) == []
    assert cluster.say("n1", "cat", f"/etc/pve/qemu-server/{vmid}.conf") == before


def test_an_image_that_names_other_files_is_refused(cluster: Cluster, guest: Maker) -> None:
    """A backing file would let an image read any file of the node's."""
    vmid = guest("n1")
    image = "/root/trojan.qcow2"
    cluster.say("n1", "qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", image)
    assert "builds on another file ('/etc/shadow')" in cluster.fails(
        "n1", "qm", "importdisk", str(vmid), image, "local"
    )
    assert cluster.traces("n1", vmid) == []


def test_a_missing_bridge_is_said_and_nothing_stays(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--net0", "virtio,bridge=vmbr77")
    assert "vmbr77" in cluster.fails("n1", "qm", "start", str(vmid))
    assert cluster.status("n1", vmid) == "stopped"
    assert cluster.traces("n1", vmid) == []


_CRASH = """
import json, os, signal, socket, sys, time
vmid, number, words = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
pid = int(open(f"/run/qemu-server/{vmid}.pid").read())
with socket.socket(socket.AF_UNIX) as stream:
    stream.settimeout(20)
    stream.connect("/run/kvorum/pvedaemon.sock")
    stream.sendall(b"GET /api2/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    lines = stream.makefile(encoding="utf-8")
    while not lines.readline().startswith("event: hello"):
        pass
    if words:
        with open(f"/proc/{pid}/fd/2", "a") as output:
            output.write(words)
    os.kill(pid, number)
    died = time.time()
    for line in lines:
        if line.startswith("data: ") and f'"qemu/{vmid}"' in line and '"stopped"' in line:
            break
    print(died, time.time() - died)
"""


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (9, "", "died by SIGKILL, as by the kernel when memory is short; it said nothing"),
        (6, "block.c:77: it is not so\n", "died by SIGABRT; its last output: block.c:77: it is not so"),
    ],
    ids=["killed", "aborted"],
)
def test_a_crash_is_noticed_within_a_second_and_told_with_its_last_output(
    cluster: Cluster, guest: Maker, number: int, words: str, told: str
) -> None:
    vmid = guest("n1", "--scsi0", "local:0.01", "--net0", "virtio,bridge=vmbr0")
    logged_s, event_s = [], []
    while not logged_s or logged_s[-1] > 1.0 or event_s[-1] > 2.0:  # rows: once a second (events.md)
        assert len(logged_s) < 3, f"late three times, so not for a busy host: {logged_s}, {event_s}"
        cluster.say("n1", "qm", "start", str(vmid))
        pid = cluster.pid("n1", vmid)
        assert f"tap{vmid}i0" in cluster.say("n1", "ls", "/sys/class/net/vmbr0/brif")
        assert cluster.say("n1", "cat", f"/sys/class/net/tap{vmid}i0/address").startswith("fe:")
        seen = cluster.say("n1", "python3", "-c", _CRASH, str(vmid), str(number), words)
        died, later_s = map(float, seen.split())
        line = f"VM {vmid}: QEMU (pid {pid}) {told}"
        journal = cluster.say("n1", "journalctl", "--no-pager", "-u", "pvedaemon", "-o", "json", "-n", "200")
        entries = [json.loads(text) for text in journal.splitlines()]
        logged = [int(each["__REALTIME_TIMESTAMP"]) / 1e6 for each in entries if line in str(each["MESSAGE"])]
        assert len(logged) == 1, journal
        logged_s.append(logged[0] - died)
        event_s.append(later_s)
    cluster.until("n2", f"pvesh get /cluster/log --output-format json | grep -qF '{line}'")
    assert cluster.traces("n1", vmid) == [f"/var/lib/vz/images/{vmid}"]
    cluster.say("n1", "qm", "start", str(vmid))
    assert cluster.status("n1", vmid) == "running"


def test_a_lock_left_behind_is_named_and_taken_away_by_unlock(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1")
    cluster.say("n1", "sh", "-c", f"echo 'lock: backup' >> /etc/pve/qemu-server/{vmid}.conf")
    assert "VM is locked (backup)" in cluster.fails("n1", "qm", "start", str(vmid))
    cluster.say("n1", "qm", "unlock", str(vmid))
    cluster.say("n1", "qm", "start", str(vmid))
