"""A real Debian system becomes what its guest's configuration says, by cloud-init, and is logged into by
the key.
"""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED

from kvorum.lab.cloud_image import KERNEL_ARGUMENTS, build

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        "KVORUM_SOAK" not in os.environ, reason="minutes under TCG: KVORUM_SOAK=1 (make soak)"
    ),
]
ADDRESS = "198.19.77.7"


def test_a_debian_system_is_logged_into_by_its_key(cluster: Cluster, guest: Maker) -> None:
    image, place = build(), cluster.lab.places.shared
    for file in (image.disk, image.kernel, image.initrd):
        shutil.copyfile(file, place / file.name)
        (place / file.name).chmod(0o644)
    cluster.say("n1", "sh", "-c", "test -f /root/key || ssh-keygen -q -t ed25519 -N '' -f /root/key")
    boot = ["-kernel", f"/mnt/shared/{image.kernel.name}", "-initrd", f"/mnt/shared/{image.initrd.name}"]
    vmid = guest(
        "n1", "--name", "cloudy", "--memory", "768", "--cpu", "max", "--serial0", "socket", "--agent", "1",
        "--net0", "virtio,bridge=vmbr0", "--ide2", f"{SHARED}:cloudinit", "--ciuser", "admin",
        "--cipassword", "secret", "--ciupgrade", "0", "--sshkeys", "/root/key.pub",
        "--ipconfig0", f"ip={ADDRESS}/16", "--args", shlex.join([*boot, "-append", KERNEL_ARGUMENTS]),
    )  # fmt: skip
    assert "cipassword: **********" in cluster.say("n1", "qm", "config", str(vmid))
    assert "**********" in cluster.say("n1", "qm", "cloudinit", "dump", str(vmid), "user")
    disk = ("--format", "qcow2", "--target_disk", "virtio0")
    cluster.say("n1", "qm", "importdisk", str(vmid), f"/mnt/shared/{image.disk.name}", SHARED, *disk)
    cluster.say("n1", "qm", "start", str(vmid))
    cluster.until("n1", "ip route replace 198.19.0.0/16 dev vmbr0")
    ssh = (
        "ssh",
        "-i",
        "/root/key",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "ConnectTimeout=5",
        f"admin@{ADDRESS}",
    )
    cluster.until("n1", shlex.join([*ssh, "true"]), timeout_s=600)
    said = cluster.say("n1", *ssh, "cloud-init status --wait; hostname; sudo -n id -u", timeout_s=600)
    assert said.split()[-2:] == ["cloudy", "0"]

    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=120)
    cluster.say("n1", "qm", "guest", "passwd", str(vmid), "admin", input="another secret\nanother secret\n")
    for command, expected in (
        ("fsfreeze-freeze", "1"),
        ("fsfreeze-status", "frozen"),
        ("fsfreeze-thaw", "1"),
    ):
        assert expected in cluster.say("n1", "qm", "guest", "cmd", str(vmid), command)
    assert "paths" in cluster.say("n1", "qm", "guest", "cmd", str(vmid), "fstrim")

    cluster.say("n1", "qm", "set", str(vmid), "--name", "cloudier")
    assert "new name: cloudier" in cluster.say("n1", "qm", "cloudinit", "pending", str(vmid))
    cluster.say("n1", "qm", "cloudinit", "update", str(vmid))
    assert "new name" not in cluster.say("n1", "qm", "cloudinit", "pending", str(vmid))
