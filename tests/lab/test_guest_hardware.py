"""Firmware, TPM, CPUs and memory of guests on real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED
from test_migration import GUEST_OS, boot, wait_count

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(300)
UEFI = ("--machine", "q35", "--bios", "ovmf")


def beside(cluster: Cluster, node: str, vmid: int) -> list[str]:
    """The programs in the guest's scope that run under its uid."""
    listed = cluster.say(node, "systemctl", "show", f"{vmid}.scope", "--property", "ControlGroup", "--value")
    script = f"for p in $(cat /sys/fs/cgroup{listed.strip()}/cgroup.procs); do ps -o uid=,comm= -p $p; done"
    rows = [row.split() for row in cluster.say(node, "sh", "-c", script).splitlines()]
    return sorted(name for uid, name in rows if int(uid) == 0x7000_0000 + vmid)


def digest(cluster: Cluster, node: str, vmid: int, key: str) -> str:
    """A checksum of what lies in one of the guest's local volumes, zeros at its end aside."""
    lines = cluster.say(node, "qm", "config", str(vmid)).splitlines()
    volume = dict(line.split(": ", 1) for line in lines)[key].partition(",")[0]
    path = f"/var/lib/vz/images/{volume.partition(':')[2]}"
    script = """
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    print(hashlib.sha256(file.read().rstrip(bytes(1))).hexdigest())
"""
    return cluster.say(node, "python3", "-c", script, path)


def test_a_uefi_guest_with_tpm_rng_and_watchdog_counts_and_migrates(cluster: Cluster, guest: Maker) -> None:
    vmid = guest(
        "n1", *GUEST_OS, *UEFI, "--efidisk0", f"{SHARED}:1,efitype=4m",
        "--tpmstate0", f"{SHARED}:1,version=v2.0", "--rng0", "source=/dev/urandom",
        "--watchdog", "model=i6300esb,action=reset", "--agent", "1",
    )  # fmt: skip
    boot(cluster, vmid)
    assert beside(cluster, "n1", vmid) == ["qemu-system-x86", "swtpm"]
    before = wait_count(cluster, "n1", vmid)
    cluster.say("n1", "qm", "migrate", str(vmid), "n2", "--online", "1", timeout_s=180)
    assert wait_count(cluster, "n2", vmid) > before
    assert beside(cluster, "n2", vmid) == ["qemu-system-x86", "swtpm"]
    cluster.say("n1", "sh", "-c", f"! pgrep -u {0x7000_0000 + vmid}")
    shown = cluster.say("n2", "qm", "monitor", str(vmid), "info tpm")
    assert "tpm-tis" in shown and "emulator" in shown


def test_what_firmware_and_tpm_keep_goes_along(cluster: Cluster, guest: Maker) -> None:
    vmid = guest(
        "n1", *UEFI, "--memory", "128", "--efidisk0", "local:1,efitype=4m,pre-enrolled-keys=1",
        "--tpmstate0", "local:1,version=v2.0",
    )  # fmt: skip
    new = {key: digest(cluster, "n1", vmid, key) for key in ("efidisk0", "tpmstate0")}
    cluster.say("n1", "qm", "start", str(vmid))
    cluster.say("n1", "qm", "migrate", str(vmid), "n2", "--online", "1", "--with-local-disks", "1")
    assert cluster.traces("n1", vmid) == []
    cluster.say("n2", "qm", "stop", str(vmid))
    kept = {key: digest(cluster, "n2", vmid, key) for key in new}
    assert kept["tpmstate0"] != new["tpmstate0"], "the TPM has its seeds, which came with the memory"
    cluster.say("n2", "qm", "migrate", str(vmid), "n3")
    assert {key: digest(cluster, "n3", vmid, key) for key in kept} == kept
    cluster.say("n3", "qm", "start", str(vmid))
    assert cluster.status("n3", vmid) == "running"


@pytest.fixture
def bt(cluster: Cluster) -> Iterator[str]:
    """n1's btrfs, as a storage."""
    cluster.say("n1", "pvesm", "add", "btrfs", "bt", "--path", "/mnt/btrfs", "--content", "images")
    yield "bt"
    cluster.say("n1", "pvesm", "remove", "bt")


def test_firmware_and_tpm_go_back_with_the_guest(cluster: Cluster, bt: str, guest: Maker) -> None:
    vmid = guest("n1", *UEFI, "--memory", "128", "--efidisk0", f"{bt}:1,efitype=4m",
                 "--tpmstate0", f"{bt}:1,version=v2.0")  # fmt: skip
    number, images = str(vmid), f"/mnt/btrfs/images/{vmid}"
    cluster.say("n1", "qm", "start", number)
    cluster.say("n1", "qm", "snapshot", number, "one", "--vmstate", "1")
    cluster.say("n1", "qm", "snapshot", number, "two")
    refused = cluster.fails("n1", "qm", "disk", "move", number, "tpmstate0", "local")
    assert "can't move the TPM's state while VM" in refused
    cluster.say("n1", "qm", "stop", number)
    cluster.say("n1", "qm", "snapshot", number, "three")
    sums = ("sh", "-c", f"sha256sum {images}/vm-{vmid}-disk-?/disk.raw")
    then = cluster.say("n1", *sums)
    assert then.count("disk.raw") == 2
    each = f"for f in {images}/vm-{vmid}-disk-?/disk.raw"
    spoil = f"{each}; do echo x | dd of=$f conv=notrunc status=none; done"
    cluster.say("n1", "sh", "-c", spoil)
    assert cluster.say("n1", *sums) != then
    cluster.say("n1", "qm", "rollback", number, "three")
    assert cluster.say("n1", *sums) == then

    cluster.say("n1", "qm", "rollback", number, "one")
    assert beside(cluster, "n1", vmid) == ["qemu-system-x86", "swtpm"]
    assert "running" in cluster.say("n1", "qm", "monitor", number, "info status")
    cluster.say("n1", "qm", "rollback", number, "two", "--start", "1")
    assert "emulator" in cluster.say("n1", "qm", "monitor", number, "info tpm")


def test_variables_in_qcow2_are_in_the_snapshot_and_a_raw_tpm_is_refused(
    cluster: Cluster, guest: Maker
) -> None:
    vmid = guest("n1", *UEFI, "--memory", "128", "--efidisk0", "local:1,efitype=4m,format=qcow2")
    number = str(vmid)
    cluster.say("n1", "qm", "start", number)
    cluster.say("n1", "qm", "snapshot", number, "one", "--vmstate", "1")
    image = f"/var/lib/vz/images/{vmid}/vm-{vmid}-disk-0.qcow2"
    assert " one " in cluster.say("n1", "qemu-img", "snapshot", "-U", "-l", image)
    cluster.say("n1", "qm", "rollback", number, "one")
    assert "running" in cluster.say("n1", "qm", "monitor", number, "info status")
    cluster.say("n1", "qm", "delsnapshot", number, "one")
    assert " one " not in cluster.say("n1", "qemu-img", "snapshot", "-U", "-l", image)
    cluster.say("n1", "qm", "stop", number)
    cluster.say("n1", "qm", "set", number, "--tpmstate0", "local:1,version=v2.0")
    refused = cluster.fails("n1", "qm", "snapshot", number, "two")
    assert "swtpm writes raw volumes only" in refused and "such as btrfs or zfspool" in refused


def test_cpus_and_memory_are_plugged_and_go_along(cluster: Cluster, guest: Maker) -> None:
    vmid = guest(
        "n1", *GUEST_OS[2:], "--memory", "1024", "--hotplug", "cpu,memory,disk,network",
        "--sockets", "2", "--vcpus", "1", "--agent", "1", "--cpulimit", "1.5",
    )  # fmt: skip
    boot(cluster, vmid)
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=60)
    blocks = seen(cluster, "n1", vmid, "get-memory-blocks")
    cluster.say("n1", "qm", "set", str(vmid), "--vcpus", "2", "--memory", "1536")
    assert cpus(cluster, "n1", vmid) == 2
    assert seen(cluster, "n1", vmid, "get-memory-blocks", more_than=blocks) == blocks * 3 // 2
    assert "new" not in cluster.say("n1", "qm", "pending", str(vmid))

    assert limits(cluster, "n1", vmid) == (1_500_000, 100)
    cluster.say("n1", "qm", "set", str(vmid), "--cpulimit", "0.5", "--cpuunits", "77")
    assert limits(cluster, "n1", vmid) == (500_000, 77)
    carried = "cpu" in cluster.say("n1", "cat", "/sys/fs/cgroup/cgroup.controllers").split()
    status = cluster.get("n1", f"/nodes/n1/qemu/{vmid}/status/current")
    assert isinstance(status, dict)
    assert ("kvorum-limits" in status) == (not carried)

    cluster.say("n1", "qm", "migrate", str(vmid), "n2", "--online", "1", timeout_s=180)
    assert cpus(cluster, "n2", vmid) == 2
    assert seen(cluster, "n2", vmid, "get-memory-blocks") == blocks * 3 // 2
    assert "without KVM" in cluster.fails("n2", "qm", "set", str(vmid), "--vcpus", "1")
    assert "cur vcpus: 2\nnew vcpus: 1\n" in cluster.say("n2", "qm", "pending", str(vmid))


def limits(cluster: Cluster, node: str, vmid: int) -> tuple[int, ...]:
    """What the guest's scope is held to: microseconds of a CPU each second, and its weight."""
    unit = f"/org/freedesktop/systemd1/unit/_{ord(str(vmid)[0]):x}{str(vmid)[1:]}_2escope"
    ask = ("busctl", "get-property", "org.freedesktop.systemd1", unit, "org.freedesktop.systemd1.Scope")
    shown = cluster.say(node, *ask, "CPUQuotaPerSecUSec", "CPUWeight")
    return tuple(int(word) for word in shown.split() if word.isdigit())


def cpus(cluster: Cluster, node: str, vmid: int) -> int:
    """How many CPUs the guest's QEMU has. Its system takes a new one only under a hypervisor it knows."""
    return cluster.say(node, "qm", "monitor", str(vmid), "info cpus").count("CPU #")


def seen(cluster: Cluster, node: str, vmid: int, what: str, *, more_than: int = 0) -> int:
    """How many pieces of memory the guest's system has, by its agent, once they are more than before."""
    script = f"test $(qm guest cmd {vmid} {what} | grep -c phys-index) -gt {more_than}"
    cluster.until(node, script, timeout_s=60)
    return len(json.loads(cluster.say(node, "qm", "guest", "cmd", str(vmid), what)))
