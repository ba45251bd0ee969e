"""The key of one migration's TLS: made at the source, known to both QEMUs, gone afterwards.

QEMU reads it from a directory (``tls-creds-psk``, file ``keys.psk``) that belongs to the guest's uid alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from kvorum.guests.errors import GuestError
from kvorum.guests.machine.launcher import Launcher
from kvorum.guests.machine.qmp import Monitor

OBJECT = "migration-tls"
_USER = "qemu"


def new_key() -> str:
    """A random key, hex of 256 bits."""
    return secrets.token_hex(32)


def folder(run: Path, vmid: int) -> Path:
    """Where a guest's key lies while it migrates."""
    return run / f"{vmid}.tls"


def write(path: Path, launcher: Launcher, vmid: int, key: str) -> None:
    """Lay the key down for the guest's QEMU, and nobody else."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700)
    file = path / "keys.psk"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"{_USER}:{key}\n")
    launcher.own(vmid, file)
    launcher.own(vmid, path, 0o700)


def remove(path: Path) -> None:
    """Remove the key's directory."""
    shutil.rmtree(path, ignore_errors=True)


async def add(monitor: Monitor, path: Path, endpoint: str) -> None:
    """Make the credentials known to a QEMU and its migration; ``endpoint`` is ``server`` or ``client``."""
    await forget(monitor)
    await monitor.execute(
        "object-add",
        {"qom-type": "tls-creds-psk", "id": OBJECT, "dir": str(path), "endpoint": endpoint, "username": _USER}
        if endpoint == "client"
        else {"qom-type": "tls-creds-psk", "id": OBJECT, "dir": str(path), "endpoint": endpoint},
    )


async def forget(monitor: Monitor) -> None:
    """Take the credentials away again, if they are there."""
    with contextlib.suppress(GuestError):
        await monitor.execute("object-del", {"id": OBJECT})
