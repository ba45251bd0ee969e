"""The cache of what is slow to make: where it lies, and how processes share it.

Who uses a kept folder holds it, by a shared flock(2) on the folder itself; the kernel lets go of it when that
process ends, however it ends. Only what nobody holds is removed. Who makes or removes is alone (``alone``).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT = Path("/var/cache/kvorum/lab")

_held: dict[Path, int] = {}
"""Descriptors of the folders that this process holds until it ends."""


def place() -> Path:
    """Where things are kept: ``KVORUM_LAB_CACHE`` if that is set, else ``DEFAULT``."""
    return Path(os.environ.get("KVORUM_LAB_CACHE") or DEFAULT)


def hold(folder: Path) -> bool:
    """Keep ``folder`` until this process ends, and note its use; False if it isn't there."""
    if folder in _held and _is(folder, _held[folder]):
        os.utime(folder)
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for nobody longer than a rename takes
    if not _is(folder, descriptor):  # it was removed between the two
        os.close(descriptor)
        return False
    if (stale := _held.pop(folder, None)) is not None:
        os.close(stale)
    _held[folder] = descriptor
    os.utime(folder)
    return True


def remove(folder: Path) -> bool:
    """Remove ``folder`` unless a process holds it; returns whether it went. Only for who is ``alone``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        going = folder.with_name(f".removing-{folder.name}")
        folder.rename(going)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(going, ignore_errors=True)
    return True


@contextmanager
def alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Be the only one that makes and removes things in ``folder``, and clear what others left half-done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"waiting for another build in {folder}")
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in (*folder.glob(".building-*"), *folder.glob(".removing-*")):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _is(folder: Path, descriptor: int) -> bool:
    """Whether ``descriptor`` is still the folder of that name."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
