"""Guests on an installed node: isolated, taken up again, their ends noticed, wrong input refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kvorum.lab import Lab

VMID = "8100"


def say(lab: Lab, *argv: str) -> str:
    done = lab.exec("n1", list(argv), timeout_s=120, check=True)
    return str(done.stdout)


def fails(lab: Lab, *argv: str) -> str:
    done = lab.exec("n1", list(argv), timeout_s=120)
    assert done.returncode != 0, done
    return str(done.stdout) + str(done.stderr)


@pytest.fixture
def guest(lab: Lab) -> Iterator[Lab]:
    """A small guest that exists and does not run."""
    say(lab, "qm", "create", VMID, "--memory", "64", "--vga", "none", "--scsi0", "local:0.01,format=qcow2")
    yield lab
    lab.exec("n1", ["qm", "stop", VMID], timeout_s=60)
    lab.exec("n1", ["qm", "destroy", VMID], timeout_s=60)


def pid(lab: Lab) -> str:
    return say(lab, "cat", f"/run/qemu-server/{VMID}.pid").strip()


def test_qemu_has_a_uid_of_its_own_no_capabilities_a_filter_and_a_scope(guest: Lab) -> None:
    say(guest, "qm", "start", VMID)
    status = say(guest, "cat", f"/proc/{pid(guest)}/status")
    assert re.search(rf"^Uid:\s+{0x70000000 + int(VMID)}\s", status, re.M)
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    assert f"qemu.slice/{VMID}.scope" in say(guest, "cat", f"/proc/{pid(guest)}/cgroup")


def test_a_killed_daemon_leaves_the_guest_alone_and_takes_it_up_again(guest: Lab) -> None:
    say(guest, "qm", "start", VMID)
    before = pid(guest)
    say(guest, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "pvedaemon")
    say(guest, "systemctl", "restart", "pvedaemon")
    assert pid(guest) == before
    assert "status: running" in say(guest, "qm", "status", VMID)
    say(guest, "qm", "stop", VMID)
    assert "status: stopped" in say(guest, "qm", "status", VMID)


def test_what_is_no_disk_image_is_refused_before_anything_is_written(guest: Lab) -> None:
    before = say(guest, "find", "/var/lib/vz/images", "-type", "f")
    text = fails(guest, "qm", "importdisk", VMID, "/etc/os-release", "local")
    assert "no disk image" in text
    assert say(guest, "find", "/var/lib/vz/images", "-type", "f") == before


def test_a_wrong_line_in_the_file_is_named(guest: Lab) -> None:
    say(guest, "sh", "-c", f"echo 'cores: many' >> /etc/pve/qemu-server/{VMID}.conf")
    text = fails(guest, "qm", "start", VMID)
    assert f"qemu-server/{VMID}.conf line" in text
    assert "'cores'" in text and "1 to 4096" in text
    say(guest, "sed", "-i", "/^cores: many/d", f"/etc/pve/nodes/n1/qemu-server/{VMID}.conf")


def test_a_missing_bridge_is_said_and_nothing_stays(guest: Lab) -> None:
    say(guest, "qm", "set", VMID, "--net0", "virtio,bridge=vmbr77")
    assert "vmbr77" in fails(guest, "qm", "start", VMID)
    assert "status: stopped" in say(guest, "qm", "status", VMID)
    assert lab_has_no_tap(guest)


def lab_has_no_tap(lab: Lab) -> bool:
    return f"tap{VMID}i0" not in say(lab, "ls", "/sys/class/net")
