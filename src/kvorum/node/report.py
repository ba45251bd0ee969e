"""The report that a user sends along with a question: from memory and small files, no command is run."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from pathlib import Path

import kvorum
from kvorum.node import facts, network, record
from kvorum.store import Store

_FILES = ("storage.cfg", "datacenter.cfg", "corosync.conf", "replication.cfg", "jobs.cfg")
_DPKG = Path("/var/lib/dpkg/status")
_PACKAGES = ("kvorum", "corosync", "corosync-qdevice", "qemu-system-x86", "systemd", "ifupdown2", "ifupdown")


async def gather(store: Store) -> str:
    """The report's text; a part that can't be read says so in its place."""
    membership = store.membership
    members = "".join(
        f"{member.name} (id {member.nodeid}, {member.votes} votes, {member.address}): "
        f"{'online' if member.online else 'offline'}\n"
        for member in membership.members
    )
    published = record.decode(store.published(record.KEY).get(store.node, b""))
    status = facts.status(published or facts.Sampler().record)
    parts = [
        ("time", time.strftime("%Y-%m-%d %H:%M:%S %z\n")),
        ("versions", f"kvorum {kvorum.__version__}, Python {platform.python_version()}\n{_kernel()}\n"),
        ("packages", await asyncio.to_thread(packages)),
        ("cluster", f"{membership.cluster or 'none'}: {membership.reason or 'quorate'}\n{members}"),
        ("status", json.dumps(status, indent=1) + "\n"),
        ("network", await asyncio.to_thread(_network)),
    ]
    for name in _FILES:
        file = store.read(name)
        if file is not None:
            parts.append((f"/etc/pve/{name}", file.text))
    guests = store.names(f"nodes/{store.node}/qemu-server")
    parts.append(("guests", "".join(f"{name}\n" for name in guests)))
    return "\n".join(f"==== {title} ====\n{text}" for title, text in parts)


def packages(status: Path = _DPKG) -> str:
    """The versions of the Debian packages that matter, from dpkg's own list."""
    try:
        blocks = status.read_text(encoding="utf-8", errors="replace").split("\n\n")
    except OSError as error:
        return f"unknown: {error.strerror}\n"
    found = {}
    for block in blocks:
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if ": " in line)
        if fields.get("Package") in _PACKAGES and "installed" in fields.get("Status", ""):
            found[fields["Package"]] = fields.get("Version", "")
    return "".join(f"{name} {found[name]}\n" for name in _PACKAGES if name in found)


def _kernel() -> str:
    uname = os.uname()
    return f"{uname.sysname} {uname.release} {uname.version} {uname.machine}"


def _network() -> str:
    try:
        return "".join(f"{json.dumps(row)}\n" for row in network.rows(network.read()))
    except OSError as error:
        return f"unknown: {error.strerror}\n"
