"""A guest moves between real nodes, and stays where it is when the target can't take it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kvorum.lab import Lab

VMID = "8200"
STORAGE = "moving"


def say(lab: Lab, node: str, *argv: str) -> str:
    done = lab.exec(node, list(argv), timeout_s=180, check=True)
    return str(done.stdout)


@pytest.fixture
def guest(lab: Lab) -> Iterator[Lab]:
    """A guest that runs on n1, its disk on a storage that all nodes see."""
    if lab.exec("n1", ["test", "-e", "/etc/pve/corosync.conf"], timeout_s=30).returncode != 0:
        pytest.skip("the lab's nodes are in no cluster; run tests/lab/test_cluster.py before")
    options = ("--path", "/mnt/shared", "--shared", "1", "--content", "images")
    lab.exec("n1", ["pvesm", "add", "dir", STORAGE, *options], timeout_s=60)
    say(lab, "n1", "qm", "create", VMID, "--memory", "64", "--vga", "none", "--scsi0", f"{STORAGE}:0.01")
    say(lab, "n1", "qm", "start", VMID)
    yield lab
    for node in ("n1", "n2", "n3"):
        lab.exec(node, ["qm", "stop", VMID], timeout_s=60)
        lab.exec(node, ["qm", "destroy", VMID], timeout_s=60)


def running_on(lab: Lab, node: str) -> bool:
    done = lab.exec(node, ["qm", "status", VMID], timeout_s=60)
    return done.returncode == 0 and "status: running" in done.stdout


def processes(lab: Lab) -> list[str]:
    """The nodes on which a process of the guest lives."""
    return [
        node
        for node in ("n1", "n2", "n3")
        if lab.exec(node, ["test", "-e", f"/run/qemu-server/{VMID}.pid"], timeout_s=30).returncode == 0
    ]


def test_it_goes_there_and_back_and_says_how_long_it_stood_still(guest: Lab) -> None:
    for source, target in (("n1", "n2"), ("n2", "n1")):
        text = say(guest, source, "qm", "migrate", VMID, target, "--online", "1")
        assert re.search(r"migration finished .*downtime \d+ ms", text)
        assert running_on(guest, target)
        assert processes(guest) == [target]


def test_a_local_disk_goes_along_only_when_asked(guest: Lab) -> None:
    say(guest, "n1", "qm", "stop", VMID)
    say(guest, "n1", "qm", "set", VMID, "--scsi1", "local:0.01,format=qcow2")
    say(guest, "n1", "qm", "start", VMID)
    refused = guest.exec("n1", ["qm", "migrate", VMID, "n2", "--online", "1"], timeout_s=120)
    assert refused.returncode != 0
    assert running_on(guest, "n1")
    say(guest, "n1", "qm", "migrate", VMID, "n2", "--online", "1", "--with-local-disks", "1")
    assert running_on(guest, "n2")
    assert guest.exec("n1", ["test", "-d", f"/var/lib/vz/images/{VMID}"], timeout_s=30).returncode != 0


def test_a_target_without_the_bridge_leaves_it_running_here(guest: Lab) -> None:
    say(guest, "n1", "qm", "stop", VMID)
    say(guest, "n1", "ip", "link", "add", "vmbr78", "type", "bridge")
    say(guest, "n1", "qm", "set", VMID, "--net0", "virtio,bridge=vmbr78")
    say(guest, "n1", "qm", "start", VMID)
    refused = guest.exec("n1", ["qm", "migrate", VMID, "n2", "--online", "1"], timeout_s=120)
    assert refused.returncode != 0
    assert "vmbr78" in refused.stdout + refused.stderr
    assert running_on(guest, "n1")
    assert processes(guest) == ["n1"]
    say(guest, "n1", "qm", "stop", VMID)
    say(guest, "n1", "ip", "link", "del", "vmbr78")


def test_a_target_that_is_cut_off_leaves_it_running_here(guest: Lab) -> None:
    guest.cut("n3")
    refused = guest.exec("n1", ["qm", "migrate", VMID, "n3", "--online", "1"], timeout_s=180)
    assert refused.returncode != 0
    assert running_on(guest, "n1")
