"""Disks go to other storages while their guest runs, to other guests, and are found again: for real."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker


def path_of(volume: str) -> str:
    """Where a volume is."""
    storage, _, name = volume.partition(":")
    return {
        "local": f"/var/lib/vz/images/{name}",
        "bt": f"/mnt/btrfs/images/{name.removesuffix('.raw')}/disk.raw",
        "zp": f"/tank/{name}/disk.raw",
    }[storage]


@pytest.fixture(scope="module")
def moves(formed: Cluster) -> Iterator[Cluster]:
    """A cluster with btrfs, ZFS, and a storage of 8 MiB on n1."""
    formed.say("n1", "pvesm", "add", "btrfs", "bt", "--path", "/mnt/btrfs", "--content", "images")
    formed.say("n1", "pvesm", "add", "zfspool", "zp", "--pool", "tank", "--sparse", "1")
    formed.say("n1", "sh", "-c", "mkdir -p /mnt/small && mount -t tmpfs -o size=8m none /mnt/small")
    formed.say("n1", "pvesm", "add", "dir", "small", "--path", "/mnt/small", "--nodes", "n1",
               "--content", "images")  # fmt: skip
    yield formed
    for name in ("bt", "zp", "small"):
        formed.say("n1", "pvesm", "remove", name)
    formed.say("n1", "umount", "/mnt/small")


def volumes(cluster: Cluster, vmid: int) -> set[str]:
    """All volumes of a guest on n1, as the storages list them."""
    found = set()
    for name in ("local", "bt", "zp", "small"):
        shown = cluster.say("n1", "pvesm", "list", name, "--vmid", str(vmid)).splitlines()[1:]
        found |= {line.split()[0] for line in shown}
    return found


def named(cluster: Cluster, vmid: int) -> set[str]:
    """All volumes that a guest's configuration names."""
    lines = cluster.say("n1", "qm", "config", str(vmid)).splitlines()
    drives = [line.partition(": ")[2].partition(",")[0] for line in lines if f"-{vmid}-disk-" in line]
    return set(drives)


def fill(cluster: Cluster, vmid: int, mib: int) -> str:
    """Random data at the beginning of the guest's disk on ``local``; their checksum."""
    path = f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-0.raw"
    script = f"dd if=/dev/urandom of={path} bs=1M count={mib} conv=notrunc status=none; sha256sum <{path}"
    return cluster.say("n1", "sh", "-c", script)


def checksum(cluster: Cluster, volume: str) -> str:
    return cluster.say("n1", "sh", "-c", f"sha256sum < {path_of(volume)}")


def test_a_running_guest_s_disk_goes_through_all_kinds(moves: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--scsihw", "virtio-scsi-single", "--scsi0", "local:0.02,iothread=1")
    before = fill(moves, vmid, 8)
    moves.say("n1", "qm", "start", str(vmid))
    pid = moves.pid("n1", vmid)
    for storage in ("bt", "zp", "local"):
        said = moves.say("n1", "qm", "disk", "move", str(vmid), "scsi0", storage, "--delete", "1")
        assert "the copy is in step" in said
        assert volumes(moves, vmid) == named(moves, vmid) and len(named(moves, vmid)) == 1
        assert f"scsi0: {storage}:" in moves.say("n1", "qm", "config", str(vmid))
    assert moves.lives("n1", pid) and moves.status("n1", vmid) == "running"
    moves.say("n1", "qm", "move-disk", str(vmid), "scsi0", "local", "--format", "qcow2")
    assert f"unused0: local:{vmid}/vm-{vmid}-disk-0.raw" in moves.say("n1", "qm", "config", str(vmid))
    moves.say("n1", "qm", "resize", str(vmid), "scsi0", "32M")
    moves.say("n1", "qm", "stop", str(vmid))
    assert checksum(moves, f"local:{vmid}/vm-{vmid}-disk-0.raw") == before
    for storage in ("zp", "bt"):
        moves.say("n1", "qm", "disk", "move", str(vmid), "scsi0", storage, "--delete", "1")
    assert named(moves, vmid) == volumes(moves, vmid) == {
        f"bt:{vmid}/vm-{vmid}-disk-0.raw", f"local:{vmid}/vm-{vmid}-disk-0.raw",
    }  # fmt: skip
    one, other = (
        moves.say("n1", "sh", "-c", f"head -c 8M {path_of(volume)} | sha256sum")
        for volume in (f"bt:{vmid}/vm-{vmid}-disk-0.raw", f"local:{vmid}/vm-{vmid}-disk-0.raw")
    )
    assert one == other
    moves.say("n1", "qm", "start", str(vmid))


def test_a_target_that_gets_full_in_the_middle_leaves_the_guest_running(moves: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--scsihw", "virtio-scsi-pci", "--scsi0", "local:0.03")
    before = fill(moves, vmid, 24)
    for running in (False, True):
        if running:
            moves.say("n1", "qm", "start", str(vmid))
        text = moves.fails("n1", "qm", "disk", "move", str(vmid), "scsi0", "small")
        assert "No space left on device" in text, text
        assert volumes(moves, vmid) == named(moves, vmid) == {f"local:{vmid}/vm-{vmid}-disk-0.raw"}
        assert moves.say("n1", "sh", "-c", "find /mnt/small -type f") == ""
    assert moves.status("n1", vmid) == "running"
    moves.say("n1", "qm", "disk", "move", str(vmid), "scsi0", "bt", "--delete", "1")
    moves.say("n1", "qm", "stop", str(vmid))
    assert checksum(moves, f"bt:{vmid}/vm-{vmid}-disk-0.raw") == before


def test_killed_or_stopped_in_the_middle_the_guest_is_whole_and_nothing_stays(
    moves: Cluster, guest: Maker
) -> None:
    vmid = guest("n1", "--scsihw", "virtio-scsi-pci", "--scsi0", "local:0.03")
    fill(moves, vmid, 30)
    moves.say("n1", "qm", "start", str(vmid))
    for storage, end in (("zp", "kill"), ("bt", "stop")):
        argv = ("qm", "disk", "move", str(vmid), "scsi0", storage, "--bwlimit", "2048")
        with moves.following("n1", *argv) as moving:
            moving.until("transferred")
            if end == "kill":
                moves.say("n1", "systemctl", "reset-failed", "pvedaemon")
                moves.say("n1", "systemctl", "kill", "--signal", "KILL", "--kill-whom", "main", "pvedaemon")
                moves.until("n1", f"pvesh get /nodes/n1/qemu/{vmid}/status/current >/dev/null 2>&1")
            else:
                asked = ("pvesh", "get", "/nodes/n1/tasks", "--source", "active", "--vmid", str(vmid))
                (task,) = json.loads(moves.say("n1", *asked, "--output-format", "json"))
                moves.say("n1", "pvesh", "delete", f"/nodes/n1/tasks/{task['upid']}")
        moves.until("n1", f'test -z "$(pvesm list {storage} --vmid {vmid} | tail -n +2)"')
        assert volumes(moves, vmid) == named(moves, vmid) == {f"local:{vmid}/vm-{vmid}-disk-0.raw"}
        assert moves.status("n1", vmid) == "running"
    begun = time.monotonic()
    moves.say("n1", "qm", "disk", "move", str(vmid), "scsi0", "zp", "--delete", "1")
    assert time.monotonic() - begun < 60
    assert volumes(moves, vmid) == named(moves, vmid) == {f"zp:vm-{vmid}-disk-0"}


def test_a_disk_is_given_to_another_guest_and_what_nobody_names_is_found(
    moves: Cluster, guest: Maker
) -> None:
    one = guest("n1", "--scsi0", "zp:0.01", "--scsi1", "bt:0.01")
    other = guest("n1", "--scsi0", "zp:0.01")
    for key in ("scsi0", "scsi1"):
        moves.say("n1", "qm", "disk", "move", str(one), key, "--target-vmid", str(other),
                  "--target-disk", f"sata{key[-1]}")  # fmt: skip
    assert named(moves, one) == volumes(moves, one) == set()
    expected = {f"zp:vm-{other}-disk-0", f"zp:vm-{other}-disk-1", f"bt:{other}/vm-{other}-disk-0.raw"}
    assert named(moves, other) == volumes(moves, other) == expected
    moves.say("n1", "qm", "start", str(other))
    assert "runs on sata1; detach it first" in moves.fails(
        "n1", "qm", "disk", "move", str(other), "sata1", "--target-vmid", str(one)
    )
    moves.say("n1", "pvesm", "alloc", "bt", str(one), "", "1M")
    moves.say("n1", "pvesm", "alloc", "zp", str(one), "", "1M")
    moves.say("n1", "pvesm", "alloc", "zp", "8998", "", "1M")
    left = moves.say("n1", "qm", "disk", "leftovers")
    assert left.count(f"of VM {one}, which does not name it") == 2, left
    assert "'zp:vm-8998-disk-0' is of VM 8998, which does not exist" in left
    said = moves.say("n1", "qm", "disk", "cleanup", "--orphans", "1")
    assert "removed 'zp:vm-8998-disk-0'" in said and len(volumes(moves, one)) == 2
    assert volumes(moves, 8998) == set()
    dry = moves.say("n1", "qm", "disk", "rescan", "--vmid", str(one), "--dryrun", "1")
    assert dry.count("found") == 2 and named(moves, one) == set()
    moves.say("n1", "qm", "rescan")
    assert named(moves, one) == volumes(moves, one) and len(named(moves, one)) == 2
