"""A storage that is really full: its guests stand still, lose nothing, and go on once there is room.

A clone or a snapshot that finds no room ends with a sentence and leaves nothing half-made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from test_migration import GUEST_OS, boot, qmp_status, wait_count

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(300)
TINY = "/mnt/tiny"


@pytest.fixture(scope="module")
def tiny(formed: Cluster) -> Iterator[Cluster]:
    """A cluster with a storage of 12 MiB on n1."""
    formed.say("n1", "sh", "-c", f"mkdir -p {TINY} && mount -t tmpfs -o size=12m none {TINY}")
    formed.say("n1", "pvesm", "add", "dir", "tiny", "--path", TINY, "--nodes", "n1", "--content", "images")
    yield formed
    formed.say("n1", "pvesm", "remove", "tiny")
    formed.say("n1", "umount", TINY)


def images(cluster: Cluster) -> list[str]:
    """All images on the small storage."""
    return cluster.say("n1", "find", TINY, "-type", "f", "-printf", "%f\n").split()


def in_guest(cluster: Cluster, vmid: int, script: str, *options: str) -> dict[str, object]:
    """Run a shell's script in the guest; what its agent tells of it."""
    argv = ("qm", "guest", "exec", str(vmid), *options, "--", "/bin/busybox", "sh", "-c", script)
    told: dict[str, object] = json.loads(cluster.say("n1", *argv))
    return told


def test_a_guest_whose_storage_is_full_stands_still_and_loses_nothing(tiny: Cluster, guest: Maker) -> None:
    vmid = guest("n1", *GUEST_OS, "--agent", "1", "--virtio1", "tiny:0.046875,format=qcow2")
    number = str(vmid)
    boot(tiny, vmid)
    tiny.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    data = "yes 'every line is kept' | dd bs=1M count=20 iflag=fullblock 2>/dev/null"
    wanted = in_guest(tiny, vmid, f"{data} | md5sum")["out-data"]
    # Past the ring that the guest itself writes its numbers to, on every disk.
    write = f"{data} | dd of=/dev/vdb bs=64k seek=256 conv=fsync 2>&1"
    writing = in_guest(tiny, vmid, write, "--synchronous", "0")["pid"]
    status = f"pvesh get /nodes/n1/qemu/{vmid}/status/current --output-format json"
    tiny.until("n1", f"{status} | grep -q '\"io-error\"'", 60)
    shown = json.loads(tiny.say("n1", "sh", "-c", status))
    assert shown["status"] == "running" and shown["kvorum-trouble"] == (
        f"no room at virtio1 ('tiny:{vmid}/vm-{vmid}-disk-0.qcow2'); make room on its storage, "
        f"then qm resume {vmid}"
    )
    assert f"VM {vmid} stands still: no room at virtio1" in tiny.say("n1", "journalctl", "-u", "pvedaemon")

    kept = images(tiny)
    clone = ("qm", "clone", number, "8499", "--full", "1", "--storage", "tiny", "--format", "raw")
    refused(tiny, vmid, clone, kept)
    assert qmp_status(tiny, "n1", vmid) == "io-error"
    tiny.say("n1", "systemctl", "restart", "pvedaemon")
    assert json.loads(tiny.say("n1", "sh", "-c", status))["kvorum-trouble"].startswith("no room at virtio1")
    tiny.say("n1", "mount", "-o", "remount,size=64m", TINY)
    tiny.say("n1", "qm", "resume", number)
    assert qmp_status(tiny, "n1", vmid) == "running"
    assert "kvorum-trouble" not in tiny.say("n1", "sh", "-c", status)
    tiny.until("n1", f"qm guest exec-status {vmid} {writing} | grep -q exitcode", 90)
    read = "dd if=/dev/vdb bs=1M skip=16 count=20 2>/dev/null | md5sum"
    assert in_guest(tiny, vmid, read)["out-data"] == wanted

    tiny.say("n1", "mount", "-o", "remount,size=28m", TINY)
    tiny.say("n1", "qm", "set", number, "--vmstatestorage", "tiny")
    pid, before = tiny.pid("n1", vmid), wait_count(tiny, "n1", vmid)
    for command in (
        ("qm", "snapshot", number, "full", "--vmstate", "1"),
        clone,
        ("qm", "disk", "move", number, "virtio0", "tiny", "--format", "raw"),
    ):
        refused(tiny, vmid, command, kept)
        assert tiny.pid("n1", vmid) == pid and qmp_status(tiny, "n1", vmid) == "running"
    assert wait_count(tiny, "n1", vmid) > before
    tiny.say("n1", "qm", "stop", number)
    tiny.say("n1", "qemu-img", "check", f"{TINY}/images/{vmid}/vm-{vmid}-disk-0.qcow2")


def refused(cluster: Cluster, vmid: int, command: tuple[str, ...], kept: list[str]) -> None:
    """A command that finds no room says so, and nothing half-made stays."""
    said = cluster.fails("n1", *command)
    assert "No space left on device" in said or "no room" in said, said
    assert images(cluster) == kept and cluster.owner(8499) == []
    shown = cluster.say("n1", "qm", "config", str(vmid))
    assert "lock:" not in shown and "[full]" not in shown and "snapstate" not in shown
