"""btrfs subvolumes, by the kernel's own calls: no program of btrfs-progs is needed.

The calls and their arguments are those of linux/btrfs.h (``btrfs_ioctl_vol_args``, ``…_v2``: both of 4096
bytes). All of them block, and raise ``OSError``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ARGUMENTS = struct.Struct("=q4088s")
_ARGUMENTS_V2 = struct.Struct("=qQQ32x4040s")
_SUBVOL_CREATE = 0x5000940E
_SNAP_DESTROY = 0x5000940F
_SNAP_CREATE_V2 = 0x50009417
_FS_INFO = 0x8400941F
_READ_ONLY = 1 << 1
_GET_FLAGS = 0x80086601
_SET_FLAGS = 0x40086602
_NO_COPY_ON_WRITE = 0x00800000
_EXCHANGE = 2
_ROOT_INODE = 256
"""The inode number of every subvolume's top (btrfs's ``BTRFS_FIRST_FREE_OBJECTID``)."""


def is_btrfs(folder: Path) -> bool:
    """Whether a directory lies on btrfs."""
    with _opened(folder) as descriptor:
        try:
            fcntl.ioctl(descriptor, _FS_INFO, bytearray(1024))
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                return False
            raise
    return True


def is_subvolume(path: Path) -> bool:
    """Whether there is a subvolume at ``path``, which lies on btrfs."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return path.is_dir() and found.st_ino == _ROOT_INODE


def create(path: Path) -> None:
    """Make an empty subvolume; raises ``FileExistsError`` when there is something."""
    with _opened(path.parent) as parent:
        _call(parent, _SUBVOL_CREATE, _ARGUMENTS.pack(0, os.fsencode(path.name)), path)


def snapshot(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Make ``target`` a subvolume with the content that ``source`` has now, all at once."""
    with _opened(source) as origin, _opened(target.parent) as parent:
        flags = _READ_ONLY if read_only else 0
        _call(parent, _SNAP_CREATE_V2, _ARGUMENTS_V2.pack(origin, 0, flags, os.fsencode(target.name)), target)


def delete(path: Path) -> None:
    """Remove a subvolume with all that is in it; raises ``FileNotFoundError`` when there is none."""
    with _opened(path.parent) as parent:
        _call(parent, _SNAP_DESTROY, _ARGUMENTS.pack(0, os.fsencode(path.name)), path)


def exchange(one: Path, other: Path) -> None:
    """Let two names change places, all at once (renameat2(2), ``RENAME_EXCHANGE``)."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = ctypes.c_int(-100)  # AT_FDCWD
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(_EXCHANGE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))


def write_in_place(folder: Path) -> None:
    """Have what is made in a directory written in place, without checksums (``chattr +C``)."""
    with _opened(folder) as descriptor:
        flags = bytearray(8)
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        value = struct.unpack("=l", flags[: struct.calcsize("=l")])[0] | _NO_COPY_ON_WRITE
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("=q", value))


def _call(descriptor: int, number: int, arguments: bytes, about: Path) -> None:
    try:
        fcntl.ioctl(descriptor, number, bytearray(arguments))  # Python takes bytes up to 1 KiB only
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(about)) from None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
