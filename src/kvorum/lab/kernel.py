"""The few Linux calls that Python 3.11 lacks: namespaces, mounts, the capability bounding set, crypt(3)."""

from __future__ import annotations

import ctypes
import os
import secrets
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MACHINE_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
"""What systemd-nspawn gives a machine of its own (no user namespace: the lab's nodes have real roots)."""
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 2
_PR_CAPBSET_DROP = 24
_CAP_SYS_TIME = 25

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags``; raises ``OSError``."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kinds: int) -> None:
    """Enter a namespace, or with a pidfd the ``kinds`` of that process (setns(2)); raises ``OSError``."""
    _check(_libc.setns(descriptor, kinds), "setns")


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount (mount(2)); raises ``OSError`` that names the target."""
    _check(
        _libc.mount(source.encode(), bytes(target), kind.encode(), flags, options.encode()),
        f"mounting {kind or source} at {target}",
    )


def unmount(target: Path, flags: int = 0) -> None:
    """Unmount (umount2(2)); raises ``OSError`` that names the target."""
    _check(_libc.umount2(bytes(target), flags), f"unmounting {target}")


def drop_clock_capability() -> None:
    """Make sure that what this process executes can't set the clock: CAP_SYS_TIME leaves its bounding set.

    A process that enters a machine from outside brings the host's capabilities along, so that the missing one
    of the machine's own processes does not bind it.
    """
    _check(_libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_TIME, 0, 0, 0), "dropping CAP_SYS_TIME")


def password_hash(password: str) -> str:
    """``password`` as SHA-512 crypt(5), for /etc/shadow."""
    crypt = ctypes.CDLL("libcrypt.so.1", use_errno=True).crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(password.encode(), f"$6${secrets.token_hex(8)}$".encode())
    if not isinstance(hashed, bytes) or not hashed.startswith(b"$6$"):
        raise OSError(ctypes.get_errno(), "libcrypt could not hash the lab's password with SHA-512")
    return hashed.decode()
