"""What a host must have for a lab, each lack told in one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvorum.lab.cgroup import hierarchy

_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "mkfs.btrfs": "btrfs-progs",
}


@dataclass(frozen=True, slots=True)
class Host:
    """What was found on the host."""

    uid: int
    tools: frozenset[str]
    filesystems: str
    mountinfo: str
    fuse: bool
    loop: bool
    cgroup_kill: bool


def look(which: Callable[[str], str | None] = shutil.which) -> Host:
    """Look at this host."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    return Host(
        uid=os.geteuid(),
        tools=frozenset(tool for tool in _TOOLS if which(tool)),
        filesystems=Path("/proc/filesystems").read_text(),
        mountinfo=mountinfo,
        fuse=Path("/dev/fuse").exists(),
        loop=Path("/dev/loop-control").exists(),
        cgroup_kill=tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14),
    )


def missing(host: Host) -> str | None:
    """The first thing that keeps a lab from running here, as a sentence; None when nothing does."""
    if host.uid != 0:
        return "The lab needs root: run `sudo kvorum lab up`."
    absent = [tool for tool in _TOOLS if tool not in host.tools]
    if absent:
        packages = " ".join(_TOOLS[tool] for tool in absent)
        return f"The lab needs {', '.join(absent)}, which this host lacks: run `apt-get install {packages}`."
    kinds = {line.split()[-1] for line in host.filesystems.splitlines() if line.strip()}
    for kind in ("overlay", "btrfs", "cgroup2"):
        if kind not in kinds:
            return f"The lab needs the file system {kind}, which this kernel lacks: try `modprobe {kind}`."
    if hierarchy(host.mountinfo) is None:
        return (
            "The lab needs the version 2 control groups mounted: run "
            "`mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`."
        )
    if not host.fuse:
        return "The lab needs /dev/fuse, which this host lacks: try `modprobe fuse`."
    if not host.loop:
        return "The lab needs loop devices, and this host lacks /dev/loop-control: try `modprobe loop`."
    if not host.cgroup_kill:
        return "The lab needs Linux 5.14 or newer, to kill a machine's processes at once."
    return None
