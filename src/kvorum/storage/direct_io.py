"""Whether QEMU may read and write a file past the host's page cache (O_DIRECT).

A copy written so is on its disk when it is done, and costs less: nothing is copied into the cache and flushed
out of it afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path

_BLOCK_BYTES = 4096


def takes_direct_io(path: Path, format: str) -> bool:
    """Whether QEMU can use a file with O_DIRECT; not so for one that isn't there. Blocks.

    Where a file system takes whole blocks only, QEMU refuses raw data that do not end with one.
    """
    try:
        if format == "raw" and path.is_file() and path.stat().st_size % _BLOCK_BYTES:
            return False
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True
