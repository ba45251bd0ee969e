"""A real Debian 13 system with cloud-init, OpenSSH and the guest agent, as a disk for tests of cloud-init.

Its root is one of the lab's cached roots, untouched: what it becomes is cloud-init's work. The disk is one
ext4 file system without a boot loader; QEMU starts the kernel that lies beside it (``-kernel``).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvorum.lab.cache import alone, place
from kvorum.lab.rootfs import RootError, cached_root

PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "linux-image-cloud-amd64",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
    "systemd-sysv",
    "udev",
)
KERNEL_ARGUMENTS = (
    "root=/dev/vda rw console=ttyS0 quiet ds=nocloud systemd.wants=systemd-networkd.service "
    "mitigations=off nokaslr cryptomgr.notests random.trust_cpu=on systemd.condition_needs_update=0 "
    "modprobe.blacklist=kvm_amd,kvm_intel"
)
"""For a disk on ``virtio0``. The root has no list of file systems, and no enabled network service. What the
other lines leave out takes seconds under TCG.
"""
_SPARE_BYTES = 512 << 20
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class CloudImage:
    """Where its parts lie."""

    disk: Path
    kernel: Path
    initrd: Path

    @property
    def size_mib(self) -> int:
        """How large the disk is for its guest (qcow2's header, bytes 24 to 31)."""
        with self.disk.open("rb") as file:
            return int.from_bytes(file.read(32)[24:], "big") >> 20


def build(say: Callable[[str], None] = lambda line: None) -> CloudImage:
    """The image, made if there is none: two minutes and the downloads. Raises ``RootError``."""
    root = cached_root("cloud", PACKAGES, say=say)
    folder = place() / "images" / root.name
    with alone(place(), say):
        if not folder.is_dir():
            for old in folder.parent.glob("cloud-*"):
                shutil.rmtree(old)
            _make(root, folder)
    return CloudImage(folder / "disk.qcow2", folder / "vmlinuz", folder / "initrd")


def _make(root: Path, folder: Path) -> None:
    """Write the root into a file system, and put it in its place when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as scratch:
        made, raw = Path(scratch) / "made", Path(scratch) / "disk.raw"
        made.mkdir()
        used = int(_run("du", "--summarize", "--bytes", "--one-file-system", str(root)).split()[0])
        with raw.open("wb") as file:
            file.truncate(-(-(used + used // 4 + _SPARE_BYTES) // (1 << 20)) << 20)
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(raw))
        _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made / "disk.qcow2"))
        for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            shutil.copyfile(sorted((root / "boot").glob(pattern))[-1], made / name)
        made.rename(folder)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RootError(f"The cloud image can't be made: {command[0]}: {error}") from error
    if done.returncode:
        raise RootError(f"The cloud image can't be made: {command[0]}: {done.stderr.strip()}")
    return done.stdout
