"""A file that has another's content by sharing its blocks (ioctl_ficlone(2)): on btrfs and XFS a raw image is
copied so in an instant, and takes room only where one of both is written afterwards.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FICLONE = 0x40049409
_CANT = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ETXTBSY, errno.EPERM, errno.EAGAIN}
)
"""File systems that can't, two of them, no regular files, one of both written in place, one that must not
change, blocks that are not on the disk yet (ZFS): whatever it is, an ordinary copy is made then, and says
what really stands in the way."""

_FIRST_BLOCK_BYTES = 4096
"""qemu-img allocates the first block of a new raw image, so that QEMU can find out how it must be aligned."""


def share(source: Path, target: Path) -> bool:
    """Give a file that takes no room yet, or is not there, another's content; whether that could be done.
    Its size stays, where it is larger.

    A file whose room is reserved keeps that, and is not touched. Blocks; raises ``OSError``.
    """
    with _opened(source, os.O_RDONLY) as read, _opened(target, os.O_RDWR | os.O_CREAT) as written:
        found = os.fstat(written)
        if found.st_blocks * 512 > _FIRST_BLOCK_BYTES:
            return False
        try:
            fcntl.ioctl(written, _FICLONE, read)
        except OSError as error:
            if error.errno in _CANT:
                return False
            raise
        if os.fstat(written).st_size < found.st_size:
            os.ftruncate(written, found.st_size)
    return True


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
