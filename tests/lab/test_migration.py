"""A guest moves between real nodes; what stands against it leaves it running here and nothing there."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED, address

from kvorum.lab.image import build

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)
GUEST_OS = ("--memory", "256", "--serial0", "socket", "--net0", "virtio,bridge=vmbr0")


@pytest.fixture
def move(cluster: Cluster) -> Callable[..., str]:
    """Migrates while the guest runs, and must succeed."""

    def migrated(source: str, vmid: int, target: str, *options: str) -> str:
        pid = cluster.pid(source, vmid)
        text = cluster.say(source, "qm", "migrate", str(vmid), target, "--online", "1", *options)
        assert re.search(r"migration finished .*downtime \d+ ms", text)
        assert cluster.owner(vmid) == [target]
        assert cluster.status(target, vmid) == "running"
        assert not cluster.lives(source, pid)
        assert qmp_status(cluster, target, vmid) == "running"
        return text

    return migrated


def qmp_status(cluster: Cluster, node: str, vmid: int) -> object:
    """What QEMU says of its guest."""
    shown = cluster.get(node, f"/nodes/{node}/qemu/{vmid}/status/current")
    assert isinstance(shown, dict)
    return shown["qmpstatus"]


def stays(cluster: Cluster, vmid: int, pid: int, target: str, *, source: str = "n1") -> None:
    """The guest runs at the source by the same process, unlocked, and nothing of it is at the target."""
    assert cluster.lives(source, pid)
    assert cluster.owner(vmid) == [source]
    assert qmp_status(cluster, source, vmid) == "running"
    assert "lock" not in cluster.say(source, "qm", "config", str(vmid))
    assert cluster.traces(target, vmid) == []


def fill(cluster: Cluster, vmid: int, mib: int = 64) -> None:
    """Give the guest's local disk content, so that copying it takes its time."""
    disk = f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-0.qcow2"
    cluster.say("n1", "qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {mib}M", disk)


def peers(cluster: Cluster, node: str, pid: int) -> set[str]:
    """The addresses that a guest's QEMU is connected to."""
    lines = cluster.say(node, "ss", "-Htnp", "state", "established").splitlines()
    return {line.split()[3].rpartition(":")[0] for line in lines if f"pid={pid}," in line}


@contextmanager
def second_network(cluster: Cluster) -> Iterator[None]:
    """The cluster's option says that migrations take link 1's network."""
    cluster.say("n1", "pvesh", "set", "/cluster/options", "--migration", "secure,network=198.18.11.0/24")
    yield
    cluster.say("n1", "pvesh", "set", "/cluster/options", "--delete", "migration")


def test_there_and_back_on_a_shared_disk(cluster: Cluster, guest: Maker, move: Callable[..., str]) -> None:
    vmid = guest("n1", "--scsi0", f"{SHARED}:0.01,format=qcow2", "--net0", "virtio,bridge=vmbr0")
    cluster.say("n1", "qm", "start", str(vmid))
    for source, target in (("n1", "n2"), ("n2", "n3"), ("n3", "n1")):
        move(source, vmid, target)
        assert cluster.traces(source, vmid) == []


def test_a_local_disk_goes_along_only_when_asked(
    cluster: Cluster, guest: Maker, move: Callable[..., str]
) -> None:
    vmid = guest("n1", "--scsi0", "local:0.0625,format=qcow2", "--scsi1", f"{SHARED}:0.01")
    fill(cluster, vmid)
    spare = f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-5.raw"
    cluster.say("n1", "pvesm", "alloc", "local", str(vmid), f"vm-{vmid}-disk-5.raw", "4M")
    cluster.say("n1", "qemu-io", "-f", "raw", "-c", "write -P 5 0 4M", spare)
    cluster.say("n1", "qm", "rescan", "--vmid", str(vmid))
    cluster.say("n1", "qm", "start", str(vmid))
    pid = cluster.pid("n1", vmid)
    refused = cluster.fails("n1", "qm", "migrate", str(vmid), "n2", "--online", "1")
    assert "--with-local-disks" in refused
    stays(cluster, vmid, pid, "n2")
    move("n1", vmid, "n2", "--with-local-disks", "1")
    assert cluster.traces("n1", vmid) == []
    assert f"unused0: local:{vmid}/vm-{vmid}-disk-5.raw" in cluster.say("n2", "qm", "config", str(vmid))
    assert "verification failed" not in cluster.say(
        "n2", "qemu-io", "-f", "raw", "-c", "read -P 5 0 4M", spare
    )
    cluster.say("n2", "qm", "stop", str(vmid))
    disk = f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-0.qcow2"
    read = cluster.say("n2", "qemu-io", "-f", "qcow2", "-c", "read -P 7 0 64M", disk)
    assert "verification failed" not in read


@pytest.mark.parametrize("storage", ["local", SHARED])
def test_a_stopped_guest_moves_with_its_disks(cluster: Cluster, guest: Maker, storage: str) -> None:
    vmid = guest("n1", "--scsi0", f"{storage}:0.0625,format=qcow2")
    place = "/var/lib/vz" if storage == "local" else "/mnt/shared"
    disk = f"{place}/images/{vmid}/vm-{vmid}-disk-0.qcow2"
    cluster.say("n1", "qemu-io", "-f", "qcow2", "-c", "write -P 9 0 8M", disk)
    cluster.say("n1", "qm", "migrate", str(vmid), "n3")
    assert cluster.owner(vmid) == ["n3"]
    assert cluster.traces("n1", vmid) == []
    read = cluster.say("n3", "qemu-io", "-f", "qcow2", "-c", "read -P 9 0 8M", disk)
    assert "verification failed" not in read
    cluster.say("n3", "qm", "start", str(vmid))
    assert cluster.status("n3", vmid) == "running"


def no_bridge(cluster: Cluster, vmid: int) -> tuple[str, ...]:
    cluster.say("n1", "ip", "link", "add", "vmbr78", "type", "bridge")
    cluster.say("n1", "qm", "set", str(vmid), "--net0", "virtio,bridge=vmbr78")
    return ("vmbr78", "n2")


def no_room(cluster: Cluster, vmid: int) -> tuple[str, ...]:
    cluster.say("n1", "qm", "set", str(vmid), "--scsi1", "local:900000,format=qcow2")
    return ("no room", "local", "900000.01 GiB needed", "n2")


def no_storage(cluster: Cluster, vmid: int) -> tuple[str, ...]:
    options = ("--path", "/srv/own", "--nodes", "n1", "--content", "images")
    if cluster.run("n1", "pvesm", "status", "--storage", "own").stdout.count("own") == 0:
        cluster.say("n1", "pvesm", "add", "dir", "own", *options)
    cluster.say("n1", "qm", "set", str(vmid), "--scsi1", "own:0.01,format=qcow2")
    return ("own", "not available on node 'n2'")


def not_mounted(cluster: Cluster, vmid: int) -> tuple[str, ...]:
    cluster.say("n1", "qm", "set", str(vmid), "--scsi1", f"{SHARED}:0.01,format=qcow2")
    cluster.say("n2", "umount", "--lazy", "/mnt/shared")
    return (SHARED, "n2")


@pytest.mark.parametrize("lack", [no_bridge, no_room, no_storage, not_mounted], ids=lambda f: f.__name__)
def test_a_target_that_lacks_something_says_so_and_keeps_nothing(
    cluster: Cluster, guest: Maker, lack: Callable[[Cluster, int], tuple[str, ...]]
) -> None:
    vmid = guest("n1", "--scsi0", "local:0.01,format=qcow2")
    said = lack(cluster, vmid)
    try:
        cluster.say("n1", "qm", "start", str(vmid))
        pid = cluster.pid("n1", vmid)
        migrate = ("qm", "migrate", str(vmid), "n2", "--online", "1", "--with-local-disks", "1")
        text = cluster.fails("n1", *migrate)
        assert all(word in text for word in said), text
        stays(cluster, vmid, pid, "n2")
    finally:
        cluster.run("n1", "qm", "stop", str(vmid))
        cluster.run("n1", "ip", "link", "del", "vmbr78")
        if lack is not_mounted:
            cluster.lab.cut("n2")  # a mount of the lab's own: only a boot brings it back
            cluster.lab.power("n2")


def test_a_target_that_is_off_is_refused_at_once(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1", "--scsi0", f"{SHARED}:0.01")
    cluster.say("n1", "qm", "start", str(vmid))
    pid = cluster.pid("n1", vmid)
    cluster.lab.cut("n3")
    cluster.settled(("n1", "n2"))
    began = time.monotonic()
    assert "n3" in cluster.fails("n1", "qm", "migrate", str(vmid), "n3", "--online", "1")
    assert time.monotonic() - began < 5
    cluster.lab.power("n3")
    cluster.settled()
    stays(cluster, vmid, pid, "n3")


@pytest.mark.parametrize(
    ("phase", "rate"), [("disks: transferred", "1024"), ("migration active", "2048")], ids=["disks", "memory"]
)
def test_a_target_that_dies_in_the_middle_leaves_it_running_here(
    cluster: Cluster, guest: Maker, phase: str, rate: str
) -> None:
    local = phase.startswith("disks")
    if local:
        vmid = guest("n1", "--scsi0", "local:0.0625,format=qcow2")
        fill(cluster, vmid)
        cluster.say("n1", "qm", "start", str(vmid))
    else:
        vmid = guest("n1", *GUEST_OS)
        boot(cluster, vmid)
    pid = cluster.pid("n1", vmid)
    command = (
        "qm",
        "migrate",
        str(vmid),
        "n2",
        "--online",
        "1",
        "--with-local-disks",
        "1",
        "--bwlimit",
        rate,
    )
    with second_network(cluster), cluster.following("n1", *command) as migration:
        migration.until(phase)
        assert peers(cluster, "n1", pid) == {address(cluster.lab, "n2", 1)}
        cluster.lab.cut("n2")
        assert migration.end() != 0
    assert "n2" in migration.text or "target" in migration.text, migration.text
    assert qmp_status(cluster, "n1", vmid) == "running"
    assert cluster.lives("n1", pid)
    cluster.lab.power("n2")
    cluster.settled()
    cluster.until("n2", f"! ls /var/lib/vz/images/{vmid} /var/lib/kvorum/incoming/{vmid}.json 2>/dev/null")
    stays(cluster, vmid, pid, "n2")
    command = command[:-2]
    cluster.say("n1", *command)
    assert qmp_status(cluster, "n2", vmid) == "running"
    if not local:
        wait_count(cluster, "n2", vmid)


def boot(cluster: Cluster, vmid: int) -> None:
    """Start a guest from the test image, and wait until it counts: its memory is full of something then."""
    shutil.copyfile(build(), cluster.lab.places.shared / "pulse.qcow2")
    target = ("--format", "qcow2", "--target-disk", "virtio0")
    cluster.say("n1", "qm", "importdisk", str(vmid), "/mnt/shared/pulse.qcow2", SHARED, *target)
    cluster.say("n1", "qm", "set", str(vmid), "--boot", "order=virtio0")
    cluster.say("n1", "qm", "start", str(vmid))
    wait_count(cluster, "n1", vmid)


def wait_count(cluster: Cluster, node: str, vmid: int) -> int:
    """The next number that the guest says on its serial console; two minutes at most."""
    script = f"""
import re, socket
text = b""
with socket.socket(socket.AF_UNIX) as serial:
    serial.settimeout(100)
    serial.connect("/run/qemu-server/{vmid}.serial0")
    while not (found := re.search(rb"count (\\d+)\\r?\\n", text)):
        part = serial.recv(4096)
        assert part, "the console closed"
        text += part
print(int(found[1]))
"""
    return int(cluster.say(node, "python3", "-c", script, timeout_s=120))


@pytest.mark.parametrize("unit", ["pvedaemon", "pve-cluster"])
@pytest.mark.parametrize("where", ["n1", "n2"], ids=["source", "target"])
def test_a_daemon_killed_in_the_middle_costs_at_most_the_migration(
    cluster: Cluster, guest: Maker, unit: str, where: str
) -> None:
    """The guest runs on one side, whole; nothing of it is at the other; and it can be moved again."""
    vmid = guest("n1", "--scsi0", "local:0.0625,format=qcow2")
    fill(cluster, vmid)
    cluster.say("n1", "qm", "start", str(vmid))
    pid = cluster.pid("n1", vmid)
    command = ("qm", "migrate", str(vmid), "n2", "--online", "1", "--with-local-disks", "1")
    asked = ("--bwlimit", "8192", "--migration_network", "198.18.11.0/24")
    with cluster.following("n1", *command, *asked) as migration:
        migration.until("disks: transferred")
        assert peers(cluster, "n1", pid) == {address(cluster.lab, "n2", 1)}
        cluster.say(where, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit)
        migration.end()
    cluster.settled()
    cluster.until("n1", f"! grep -q lock /etc/pve/nodes/*/qemu-server/{vmid}.conf", 60)
    (owner,) = cluster.owner(vmid)
    other = "n2" if owner == "n1" else "n1"
    cluster.until(other, f"! ls /var/lib/vz/images/{vmid} /run/qemu-server/{vmid}.pid 2>/dev/null", 60)
    assert qmp_status(cluster, owner, vmid) == "running"
    assert cluster.traces(other, vmid) == []
    if owner == "n1":
        assert cluster.lives("n1", pid)
        cluster.say("n1", *command)
        assert qmp_status(cluster, "n2", vmid) == "running"
        assert cluster.traces("n1", vmid) == []
