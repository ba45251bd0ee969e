"""Our daemons die at any moment, or are replaced: running guests do not notice and are taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

DAEMONS = ("pve-cluster", "pvedaemon", "pveproxy")


# QEMU's process is there: from now on the daemon dies after the given time.
_KILL_AT_START = """
import os, subprocess, sys, time
uid, daemon = 0x70000000 + int(sys.argv[1]), "systemctl kill -s KILL --kill-whom=main pvedaemon"
pid = int(subprocess.check_output("systemctl show -P MainPID pvedaemon".split()))
before = set(os.listdir("/proc"))
starting = subprocess.Popen(["qm", "start", sys.argv[1]], stdout=-3, stderr=-3)
def begun():
    for name in set(os.listdir("/proc")) - before:
        try:
            if open(f"/proc/{name}/comm").read().startswith("qemu"):
                return True
        except OSError:
            pass
while starting.poll() is None and not begun():
    pass
time.sleep(float(sys.argv[2]))
os.kill(pid, 9)
starting.wait(60)
again = f"[ $(systemctl show -P MainPID pvedaemon) != {pid} ] && systemctl -q is-active pvedaemon"
subprocess.run(["timeout", "30", "sh", "-c", f"until {again}; do sleep .05; done"], check=True)
"""


def kill(cluster: Cluster, node: str, *units: str) -> None:
    """-9, at once; systemd starts them again by itself."""
    cluster.say(node, "systemctl", "reset-failed", *units)  # else systemd waits longer each time
    for unit in units:
        cluster.say(node, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit)


def main_pid(cluster: Cluster, node: str, unit: str) -> str:
    return cluster.say(node, "systemctl", "show", "--value", "--property=MainPID", unit).strip()


def qemus(cluster: Cluster, node: str, vmid: int) -> list[str]:
    """The guest's processes, whether anybody knows them or not."""
    return cluster.run(node, "pgrep", "--uid", str(0x70000000 + vmid)).stdout.split()


@pytest.mark.parametrize("units", [*((unit,) for unit in DAEMONS), DAEMONS], ids="+".join)
def test_a_killed_daemon_leaves_the_guest_alone_and_takes_it_up_again(
    cluster: Cluster, guest: Maker, units: tuple[str, ...]
) -> None:
    vmid = guest("n2", "--scsi0", "local:0.01,format=qcow2", "--net0", "virtio,bridge=vmbr0")
    cluster.say("n2", "qm", "start", str(vmid))
    pid = cluster.pid("n2", vmid)
    before = [main_pid(cluster, "n2", unit) for unit in units]
    kill(cluster, "n2", *units)
    for unit, dead in zip(units, before, strict=True):
        script = f"[ $(systemctl show -P MainPID {unit}) != {dead} ] && systemctl -q is-active {unit}"
        cluster.until("n2", script)
    cluster.settled()
    assert cluster.lives("n2", pid)
    assert cluster.pid("n2", vmid) == pid
    assert cluster.status("n2", vmid) == "running"
    cluster.say("n2", "qm", "stop", str(vmid))
    assert not cluster.lives("n2", pid)
    assert cluster.traces("n2", vmid) == [f"/var/lib/vz/images/{vmid}"]


@pytest.mark.timeout(240)
def test_a_store_that_stands_still_alone_is_restarted_and_the_others_go_on(cluster: Cluster) -> None:
    """All members wait for it, since its Corosync lives; systemd's watchdog (20 s, here 4) ends that."""
    drop_in = "/run/systemd/system/pve-cluster.service.d/watchdog.conf"
    cluster.say("n3", "mkdir", "-p", drop_in.rpartition("/")[0])
    cluster.say("n3", "tee", drop_in, input="[Service]\nWatchdogSec=4\n")
    try:
        cluster.say("n3", "systemctl", "daemon-reload")
        cluster.say("n3", "systemctl", "restart", "pve-cluster")
        cluster.settled()
        frozen = main_pid(cluster, "n3", "pve-cluster")
        cluster.say("n3", "kill", "-STOP", frozen)
        cluster.say("n1", "sh", "-c", "echo 1 > /etc/pve/nodes/n1/while-one-stands-still")
        assert main_pid(cluster, "n3", "pve-cluster") != frozen
        cluster.settled()
        assert cluster.say("n3", "cat", "/etc/pve/nodes/n1/while-one-stands-still") == "1\n"
    finally:
        cluster.say("n3", "rm", drop_in)
        cluster.say("n3", "systemctl", "daemon-reload")
        cluster.say("n3", "systemctl", "restart", "pve-cluster")
        cluster.settled()
        cluster.say("n1", "rm", "-f", "/etc/pve/nodes/n1/while-one-stands-still")


@pytest.mark.timeout(240)
def test_a_start_that_is_interrupted_ends_whole_or_not_at_all(cluster: Cluster, guest: Maker) -> None:
    """The daemon is killed a little later into the start each time."""
    vmid = guest("n2", "--scsi0", "local:0.01,format=qcow2", "--net0", "virtio,bridge=vmbr0")
    for delay_ms in (0, 15, 35, 60):
        cluster.say("n2", "systemctl", "reset-failed", "pvedaemon")  # else systemd waits longer each time
        cluster.say("n2", "python3", "-c", _KILL_AT_START, str(vmid), str(delay_ms / 1000))
        cluster.settled()
        status = cluster.status("n2", vmid)
        found = qemus(cluster, "n2", vmid)
        if status == "running":
            assert found == [str(cluster.pid("n2", vmid))], delay_ms
            assert f"{vmid}.scope" in cluster.say("n2", "cat", f"/proc/{found[0]}/cgroup"), delay_ms
        else:
            assert found == [], f"a QEMU that nobody knows holds the disk ({delay_ms} ms)"
            cluster.say("n2", "qm", "start", str(vmid))
        shown = cluster.get("n2", f"/nodes/n2/qemu/{vmid}/status/current")
        assert isinstance(shown, dict)
        assert shown["qmpstatus"] == "running", delay_ms
        cluster.say("n2", "qm", "stop", str(vmid))


@pytest.mark.timeout(240)
def test_the_package_installed_again_leaves_guests_running(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n3", "--scsi0", "local:0.01,format=qcow2", "--net0", "virtio,bridge=vmbr0")
    cluster.say("n3", "qm", "start", str(vmid))
    pid = cluster.pid("n3", vmid)
    deb = cluster.package("n3")
    before = {unit: main_pid(cluster, "n3", unit) for unit in DAEMONS}
    unsynced = "--force-unsafe-io"  # thousands of fsyncs of the lab's disk are not what is tested
    cluster.say("n3", "dpkg", unsynced, "--install", deb, timeout_s=180)
    for unit in DAEMONS:
        assert main_pid(cluster, "n3", unit) not in (before[unit], "0"), f"{unit} still runs the old code"
    cluster.settled()
    assert cluster.lives("n3", pid)
    assert cluster.status("n3", vmid) == "running"
    cluster.say("n3", "qm", "stop", str(vmid))
    assert not cluster.lives("n3", pid)
