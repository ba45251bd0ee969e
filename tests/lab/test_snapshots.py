"""A real guest is kept and goes back: its count goes on from where it was, its disks hold what they held."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED
from test_migration import GUEST_OS, boot, qmp_status, wait_count

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)


def inside(cluster: Cluster, vmid: int, disk: str) -> set[str]:
    """The snapshots that an image on n1 holds."""
    shown = cluster.say("n1", "qemu-img", "info", "-U", "--output=json", f"/mnt/shared/images/{vmid}/{disk}")
    return {each["name"] for each in json.loads(shown).get("snapshots", [])}


def in_guest(cluster: Cluster, vmid: int, script: str) -> str:
    """Run a shell's script in the guest; what it says."""
    ran = cluster.say("n1", "qm", "guest", "exec", str(vmid), "--", "/bin/busybox", "sh", "-c", script)
    told = json.loads(ran)
    assert told["exitcode"] == 0, told
    return str(told.get("out-data", ""))


def test_a_guest_suspended_to_disk_goes_on_from_there(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", *GUEST_OS)
    boot(cluster, vmid)
    number, images = str(vmid), f"/var/lib/vz/images/{vmid}"
    before = wait_count(cluster, "n1", vmid)
    said = cluster.say("n1", "qm", "suspend", number, "--todisk", "1", "--statestorage", "local")
    assert re.search(r"memory saved in [\d.]+ s", said), said
    print(said)
    assert cluster.status("n1", vmid) == "stopped"
    config = dict(line.split(": ", 1) for line in cluster.say("n1", "qm", "config", number).splitlines())
    assert config["lock"] == "suspended" and config["runningmachine"].startswith("pc-i440fx-")
    volume = config["vmstate"].rpartition("/")[2]
    assert re.fullmatch(rf"vm-{vmid}-state-suspend-\d{{4}}-\d\d-\d\d\.raw", volume)
    assert cluster.say("n1", "ls", images).split() == [volume]
    row = f"pvesh get /cluster/resources --output-format json | grep -o '[^{{]*qemu/{vmid}[^}}]*'"
    cluster.until("n2", f"{row} | grep -q suspended")
    for command in (("set", number, "--memory", "64"), ("snapshot", number, "x"), ("migrate", number, "n2")):
        assert "VM is locked (suspended)" in cluster.fails("n1", "qm", *command)

    said = cluster.say("n1", "qm", "resume", number)
    again = wait_count(cluster, "n1", vmid)
    assert before < again <= before + 60, "it goes on where it was"
    assert wait_count(cluster, "n1", vmid) > again
    left = cluster.say("n1", "qm", "config", number)
    assert not re.search("^(lock|vmstate|running)", left, re.MULTILINE), left
    assert cluster.say("n1", "sh", "-c", f"ls {images} 2>/dev/null || true").split() == []

    cluster.say("n1", "qm", "suspend", number, "--todisk", "1", "--statestorage", "local")
    cluster.say("n1", "qm", "unlock", number)
    assert cluster.say("n1", "sh", "-c", f"ls {images} 2>/dev/null || true").split() == []
    cluster.say("n1", "qm", "start", number)
    cluster.say("n1", "qm", "suspend", number, "--todisk", "1", "--statestorage", "local")
    cluster.say("n1", "qm", "destroy", number)
    cluster.until("n1", f"! ls -d {images} 2>/dev/null")


def test_a_running_guest_goes_back_with_its_memory_and_without(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", *GUEST_OS, "--agent", "1", "--virtio1", f"{SHARED}:0.01,format=qcow2,iothread=1")
    boot(cluster, vmid)
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    base, number = f"/nodes/n1/qemu/{vmid}/snapshot", str(vmid)
    write = "echo %s | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null"
    read = "dd if=/dev/vdb bs=1 count=5 2>/dev/null"
    in_guest(cluster, vmid, write % "first")
    pid = cluster.pid("n1", vmid)

    before = wait_count(cluster, "n1", vmid)
    said = cluster.say("n1", "qm", "snapshot", number, "one", "--vmstate", "1", "--description", "all of it")
    after = wait_count(cluster, "n1", vmid)
    assert re.search(r"memory saved in [\d.]+ s, the guest stood still for \d+ ms", said), said
    print(said)
    assert cluster.pid("n1", vmid) == pid and qmp_status(cluster, "n1", vmid) == "running"
    in_guest(cluster, vmid, write % "second")
    said = cluster.say("n1", "qm", "snapshot", number, "two")
    assert "not frozen" not in said
    in_guest(cluster, vmid, write % "third")
    assert inside(cluster, vmid, f"vm-{vmid}-disk-0.qcow2") == {"one", "two"}

    rows = cluster.get("n2", base)
    assert isinstance(rows, list)
    assert [(r["name"], r.get("parent"), r.get("vmstate")) for r in rows] == [
        ("one", None, 1), ("two", "one", 0), ("current", "two", None),
    ]  # fmt: skip
    assert cluster.say("n1", "qm", "listsnapshot", number).splitlines()[0].split() == [
        "`->", "one", "all", "of", "it",
    ]  # fmt: skip

    later = wait_count(cluster, "n1", vmid)
    said = cluster.say("n1", "qm", "rollback", number, "one")
    print(said)
    again = wait_count(cluster, "n1", vmid)
    assert before < again < later and again <= after + 25, (before, after, later, again)
    assert cluster.pid("n1", vmid) != pid and qmp_status(cluster, "n1", vmid) == "running"
    assert in_guest(cluster, vmid, read) == "first", "what is in the guest's cache is of that time too"
    assert wait_count(cluster, "n1", vmid) > again

    cluster.say("n1", "qm", "rollback", number, "two", "--start", "1")
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    assert in_guest(cluster, vmid, read) == "secon"
    cluster.say("n1", "qm", "migrate", number, "n2", "--online", "1")
    cluster.say("n2", "qm", "migrate", number, "n1", "--online", "1")

    cluster.say("n1", "qm", "delsnapshot", number, "one")
    assert inside(cluster, vmid, f"vm-{vmid}-disk-0.qcow2") == {"two"}
    assert "state" not in cluster.say("n1", "ls", f"/mnt/shared/images/{vmid}")
    assert "parent" not in cluster.say("n1", "pvesh", "get", f"{base}/two/config")
    cluster.say("n1", "qm", "stop", number)
    cluster.say("n1", "qm", "destroy", number)
    cluster.until("n1", f"! ls -d /mnt/shared/images/{vmid} 2>/dev/null")
