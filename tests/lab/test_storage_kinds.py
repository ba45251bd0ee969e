"""The kinds of storage on real file systems: a directory, btrfs, and ZFS in user space, which has no zvols.

What every kind owes is asked in tests/unit/storage/test_kinds.py; here are the real programs and calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from test_migration import GUEST_OS, boot, wait_count
from test_move_disk import path_of
from test_snapshots import in_guest

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

KINDS = ("local", "bt", "zp")


@pytest.fixture(scope="module")
def kinds(formed: Cluster) -> Iterator[Cluster]:
    """A cluster whose nodes have a storage of each kind."""
    content = ("--content", "images,iso,backup,import")
    formed.say("n1", "pvesm", "add", "btrfs", "bt", "--path", "/mnt/btrfs", *content)
    formed.say("n1", "pvesm", "add", "zfspool", "zp", "--pool", "tank", "--sparse", "1")
    yield formed
    for name in ("bt", "zp"):
        formed.say("n1", "pvesm", "remove", name)


def left(cluster: Cluster, node: str, vmid: int) -> list[str]:
    """What of a guest's disks is on a node, on any storage."""
    script = (
        f"ls -d /var/lib/vz/images/{vmid}/* /mnt/btrfs/images/{vmid} /mnt/btrfs/images/{vmid}/* "
        f"/tank/*-{vmid}-* 2>/dev/null; zfs list -H -o name -t filesystem,snapshot | grep -e '-{vmid}-'; true"
    )
    return cluster.say(node, "sh", "-c", script).split()


def test_each_kind_says_its_room_and_one_that_can_not_be_used_says_why(kinds: Cluster) -> None:
    kinds.say("n1", "pvesm", "add", "zfspool", "nopool", "--pool", "void")
    kinds.say("n1", "pvesm", "add", "btrfs", "nobtrfs", "--path", "/var/lib/vz")
    try:
        shown = kinds.run("n1", "pvesm", "status")
        rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines()}
        for name in KINDS:
            assert rows[name][2] == "active" and int(rows[name][3]) > 1 << 20, rows[name]
        assert (rows["nopool"][2], rows["nobtrfs"][2]) == ("inactive", "inactive")
        assert "there is no ZFS pool 'void' on this node" in shown.stderr
        assert "'/var/lib/vz' is not on btrfs" in shown.stderr
        assert "no ZFS pool 'void'" in kinds.fails("n1", "pvesm", "alloc", "nopool", "8900", "", "1M")
    finally:
        for name in ("nopool", "nobtrfs"):
            kinds.say("n1", "pvesm", "remove", name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("zfspool", "wrong"), "'pool'"),
        (("zfspool", "wrong", "--pool", "tank", "--blocksize", "3k"), "a power of two"),
        (("btrfs", "wrong", "--path", "mnt"), "a path that begins with '/'"),
        (("zfspool", "wrong", "--pool", "tank", "--content", "iso"), "a zfspool storage holds no 'iso'"),
        (("zfs-pool", "wrong"), "btrfs, dir, zfspool"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(
    kinds: Cluster, given: tuple[str, ...], said: str
) -> None:
    assert said in kinds.fails("n1", "pvesm", "add", *given)


def test_a_guest_runs_on_all_kinds_its_disks_grow_and_go_with_it(kinds: Cluster, guest: Maker) -> None:
    drives = [word for n, name in enumerate(KINDS) for word in (f"--scsi{n}", f"{name}:0.01")]
    vmid = guest("n1", *drives)
    names = {
        "bt": f"bt:{vmid}/vm-{vmid}-disk-0.raw",
        "zp": f"zp:vm-{vmid}-disk-0",
    }
    for name, volume in names.items():
        shown = kinds.say("n1", "pvesm", "list", name, "--vmid", str(vmid)).split()
        assert volume in shown
    for path in (f"/mnt/btrfs/images/{vmid}/vm-{vmid}-disk-0/disk.raw", f"/tank/vm-{vmid}-disk-0/disk.raw"):
        kinds.say("n1", "test", "-f", path)
    kinds.say("n1", "btrfs", "subvolume", "show", f"/mnt/btrfs/images/{vmid}/vm-{vmid}-disk-0")
    kinds.say("n1", "qm", "start", str(vmid))
    for n, name in enumerate(KINDS):
        kinds.say("n1", "qm", "disk", "resize", str(vmid), f"scsi{n}", "16M")
        assert f"{16 << 20}" in kinds.say("n1", "pvesm", "list", name, "--vmid", str(vmid))
    kinds.say("n1", "qm", "stop", str(vmid))
    for n in range(3):
        kinds.say("n1", "qm", "disk", "resize", str(vmid), f"scsi{n}", "+1M")
        assert f"scsi{n}: " in kinds.say("n1", "qm", "config", str(vmid))
    assert left(kinds, "n1", vmid)
    kinds.say("n1", "qm", "destroy", str(vmid))
    assert left(kinds, "n1", vmid) == []


def test_a_running_guest_takes_its_disks_from_any_kind_to_any_other(kinds: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--scsi0", "bt:0.01", "--scsi1", "zp:0.01", "--scsi2", "local:0.01,format=qcow2")
    kinds.say("n1", "qm", "start", str(vmid))
    storages = "bt:zp,zp:local,local:bt"
    kinds.say("n1", "qm", "migrate", str(vmid), "n2", "--online", "--with-local-disks",
              "--targetstorage", storages)  # fmt: skip
    shown = kinds.say("n2", "qm", "config", str(vmid))
    for line in (f"scsi0: zp:vm-{vmid}-disk-0", f"scsi1: local:{vmid}/vm-", f"scsi2: bt:{vmid}/vm-"):
        assert line in shown, shown
    assert kinds.status("n2", vmid) == "running"
    assert left(kinds, "n1", vmid) == []
    kinds.say("n2", "qm", "stop", str(vmid))
    kinds.say("n2", "qm", "migrate", str(vmid), "n1", "--targetstorage", "bt")
    assert kinds.say("n1", "qm", "config", str(vmid)).count(": bt:") == 3
    assert left(kinds, "n2", vmid) == []


def test_a_reserved_disk_takes_its_space_at_once_and_a_sparse_one_does_not(kinds: Cluster) -> None:
    kinds.say("n1", "pvesm", "add", "zfspool", "thick", "--pool", "tank", "--blocksize", "16k")
    try:
        for name, number in (("thick", 0), ("zp", 1)):
            kinds.say("n1", "pvesm", "alloc", name, "8901", "", "64M")
            dataset = f"tank/vm-8901-disk-{number}"
            reserved = kinds.say("n1", "zfs", "get", "-Hp", "-o", "value", "refreservation", dataset)
            assert int(reserved) == (64 << 20 if name == "thick" else 0)
        size = kinds.say("n1", "zfs", "get", "-Hp", "-o", "value", "recordsize", "tank/vm-8901-disk-0")
        assert int(size) == 16 << 10
        text = kinds.fails("n1", "pvesm", "alloc", "thick", "8901", "", "100G")
        assert "out of space" in text
    finally:
        for number in (0, 1):
            kinds.say("n1", "pvesm", "free", f"zp:vm-8901-disk-{number}")
        kinds.say("n1", "pvesm", "remove", "thick")
    assert left(kinds, "n1", 8901) == []


def test_raw_images_share_their_blocks_on_btrfs(kinds: Cluster, guest: Maker) -> None:
    vmid = guest("n1")
    source, clone = "/mnt/btrfs/source.raw", "8492"
    made = f"dd if=/dev/urandom of={source} bs=1M count=32 status=none && truncate -s 48M {source}"
    marked = f"printf '\\125\\252' | dd of={source} bs=1 seek=510 conv=notrunc,fsync status=none"
    kinds.say("n1", "sh", "-c", f"{made} && {marked}")
    try:
        kinds.say("n1", "qm", "disk", "import", str(vmid), source, "bt", "--target-disk", "scsi0")
        kinds.say("n1", "qm", "clone", str(vmid), clone, "--full", "1")
        for each in (str(vmid), clone):
            disk = f"/mnt/btrfs/images/{each}/vm-{each}-disk-0/disk.raw"
            kinds.say("n1", "cmp", source, disk)
            shown = kinds.say("n1", "btrfs", "filesystem", "du", "--raw", disk).splitlines()[1]
            assert shown.split()[:2] == [str(32 << 20), "0"], shown
    finally:
        kinds.remove(int(clone))
        kinds.say("n1", "rm", "-f", source)


@pytest.mark.timeout(300)
def test_a_real_guest_is_kept_goes_back_and_is_cloned_on_btrfs_and_zfs(kinds: Cluster, guest: Maker) -> None:
    vmid = guest("n1", *GUEST_OS, "--agent", "1", "--virtio1", "bt:0.01", "--virtio2", "zp:0.01")
    number, clones = str(vmid), ("8490", "8491")
    boot(kinds, vmid)

    def write(word: str) -> None:
        in_guest(kinds, vmid, f"for d in b c; do echo {word} | dd of=/dev/vd$d conv=notrunc,fsync; done")

    def read(of: int) -> str:
        kinds.until("n1", f"qm guest cmd {of} ping", timeout_s=90)
        return in_guest(kinds, of, "for d in b c; do dd if=/dev/vd$d bs=6 count=1 2>/dev/null; done")

    def on_disk(of: int) -> str:
        volumes = (f"bt:{of}/vm-{of}-disk-0.raw", f"zp:vm-{of}-disk-0")
        return kinds.say("n1", "sh", "-c", "".join(f"head -c 6 {path_of(name)};" for name in volumes))

    try:
        kinds.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
        write("first")
        kinds.say("n1", "qm", "snapshot", number, "one", "--vmstate", "1")
        write("later")
        kinds.say("n1", "qm", "snapshot", number, "two")
        write("never")
        assert "delete these first: two" in kinds.fails("n1", "qm", "rollback", number, "one")
        kinds.say("n1", "qm", "rollback", number, "two")
        assert on_disk(vmid) == "later\nlater\n"
        kinds.say("n1", "qm", "delsnapshot", number, "two")
        kinds.say("n1", "qm", "rollback", number, "one")
        assert wait_count(kinds, "n1", vmid) > 0 and read(vmid) == "first\nfirst\n"
        kinds.say("n1", "qm", "clone", number, clones[0], "--full", "1")
        assert on_disk(int(clones[0])) == "first\nfirst\n"
        kinds.say("n1", "qm", "stop", number)
        kinds.say("n1", "qm", "delsnapshot", number, "one")
        kinds.say("n1", "qm", "template", number)
        kinds.say("n1", "qm", "clone", number, clones[1])
        kinds.say("n1", "qm", "start", clones[1])
        assert read(int(clones[1])) == "first\nfirst\n"
        assert "rests on" in kinds.fails("n1", "qm", "destroy", number)
    finally:
        for clone in clones:
            kinds.remove(int(clone))
    kinds.say("n1", "qm", "destroy", number)
    for each in (vmid, *map(int, clones)):
        kinds.until("n1", f"! ls -d /mnt/btrfs/images/{each} /tank/*-{each}-* 2>/dev/null", 30)
        assert left(kinds, "n1", each) == []
