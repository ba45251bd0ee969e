"""A real Debian system becomes what its guest's configuration says, by cloud-init, and is logged into by
the key and by passwords; its agent freezes, trims and runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from typing import TYPE_CHECKING

import asyncssh
import pytest
from lab_cluster import SHARED

from kvorum.lab import plan
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
_FREED = 0.8
"""How much of a deleted file's room must come back at least; its blocks' tables stay."""


def test_a_debian_system_is_what_its_configuration_says(cluster: Cluster, guest: Maker) -> None:
    image, place = build(), cluster.lab.places.shared
    for file in (image.disk, image.kernel, image.initrd):
        shutil.copyfile(file, place / file.name)
        (place / file.name).chmod(0o644)
    cluster.say("n1", "sh", "-c", "test -f /root/key || ssh-keygen -q -t ed25519 -N '' -f /root/key")
    boot = ["-kernel", f"/mnt/shared/{image.kernel.name}", "-initrd", f"/mnt/shared/{image.initrd.name}"]
    vmid = guest(
        "n1", "--name", "cloudy", "--memory", "768", "--cpu", "qemu64", "--serial0", "socket", "--agent", "1",
        "--net0", "virtio,bridge=vmbr0", "--ide2", f"{SHARED}:cloudinit", "--ciuser", "admin",
        "--cipassword", "first secret", "--ciupgrade", "0", "--sshkeys", "/root/key.pub",
        "--ipconfig0", f"ip={ADDRESS}/16", "--args", shlex.join([*boot, "-append", KERNEL_ARGUMENTS]),
        "--virtio0", f"{SHARED}:0,import-from=/mnt/shared/{image.disk.name},format=qcow2,discard=on",
    )  # fmt: skip
    cluster.say("n1", "qm", "disk", "resize", str(vmid), "virtio0", "+512M")
    assert "cipassword: **********" in cluster.say("n1", "qm", "config", str(vmid))
    assert "**********" in cluster.say("n1", "qm", "cloudinit", "dump", str(vmid), "user")
    cluster.say("n1", "qm", "start", str(vmid))
    _open_network(cluster)
    options = ("-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=5")
    ssh = ("ssh", "-i", "/root/key", *options, f"admin@{ADDRESS}")
    cluster.until("n1", shlex.join([*ssh, "true"]), timeout_s=600)
    said = cluster.say("n1", *ssh, "cloud-init status --wait; hostname; sudo -n id -u", timeout_s=600)
    assert said.split() == ["status:", "done", "cloudy", "0"], said
    grown = int(cluster.say("n1", *ssh, "df --output=size --block-size=1M / | tail -n 1"))
    assert grown > image.size_mib + 400

    assert _logged_in(cluster, "first secret")
    cluster.until("n1", f"qm guest cmd {vmid} ping", timeout_s=120)
    cluster.say("n1", "qm", "guest", "passwd", str(vmid), "admin", input="another secret\nanother secret\n")
    assert _logged_in(cluster, "another secret")
    assert not _logged_in(cluster, "first secret")
    ran = json.loads(cluster.say("n1", "qm", "guest", "exec", str(vmid), "--", "/usr/bin/id", "-un"))
    assert (ran["exitcode"], ran["out-data"]) == (0, "root\n")
    for command, expected in (
        ("fsfreeze-freeze", "1"),
        ("fsfreeze-status", "frozen"),
        ("fsfreeze-thaw", "1"),
    ):
        assert expected in cluster.say("n1", "qm", "guest", "cmd", str(vmid), command)
    _trimmed(cluster, vmid, ssh)

    cluster.say("n1", "qm", "set", str(vmid), "--name", "cloudier")
    assert "new name: cloudier" in cluster.say("n1", "qm", "cloudinit", "pending", str(vmid))
    cluster.say("n1", "qm", "cloudinit", "update", str(vmid))
    assert "new name" not in cluster.say("n1", "qm", "cloudinit", "pending", str(vmid))
    assert "cloudier" in cluster.say("n1", "qm", "cloudinit", "dump", str(vmid), "user")


def _open_network(cluster: Cluster) -> None:
    """Node and lab talk to the guest from addresses of its network: it has no way to any other."""
    for place, device, address in (
        ("n1", "vmbr0", "198.19.255.1"),
        ("switch", f"sw{plan.GUEST_NETWORK}", "198.19.255.254"),
    ):
        cluster.lab.exec(place, ["ip", "address", "replace", f"{address}/32", "dev", device], check=True)
        route = ["ip", "route", "replace", "198.19.0.0/16", "dev", device, "src", address]
        cluster.lab.exec(place, route, check=True)


def _trimmed(cluster: Cluster, vmid: int, ssh: tuple[str, ...]) -> None:
    """What a deleted file took on the storage comes back once the guest's file systems are trimmed."""
    before = _taken(cluster, vmid)
    cluster.say("n1", *ssh, "dd if=/dev/urandom of=big bs=1M count=64 status=none && sync")
    full = _taken(cluster, vmid)
    assert full > before + (60 << 20)
    cluster.say("n1", *ssh, "rm big && sync")
    assert "paths" in cluster.say("n1", "qm", "guest", "cmd", str(vmid), "fstrim")
    assert _taken(cluster, vmid) < full - _FREED * (64 << 20)


def _taken(cluster: Cluster, vmid: int) -> int:
    """What the guest's disk takes on the storage, in bytes."""
    disk = f"/mnt/shared/images/{vmid}/vm-{vmid}-disk-0.qcow2"
    return int(cluster.say("n1", "stat", "--format", "%b", disk)) * 512


def _logged_in(cluster: Cluster, password: str) -> bool:
    """Whether admin may come in with this password, from the lab's own network."""
    plain = cluster.lab.socket()
    plain.settimeout(20)
    plain.connect((ADDRESS, 22))
    plain.setblocking(False)

    async def ask() -> bool:
        try:
            async with asyncssh.connect(
                ADDRESS, sock=plain, username="admin", password=password, known_hosts=None, client_keys=None,
                agent_path=None, login_timeout=60,
            ) as session:  # fmt: skip
                return (await session.run("id -un", check=True)).stdout == "admin\n"
        except asyncssh.PermissionDenied:
            return False

    return asyncio.run(ask())
