"""The ``zfs`` command: run with a deadline, its answers read, its errors told apart.

Works with ZFS in the kernel and with zfs-fuse (whose ``list`` knows no ``-p``, hence ``get``). Everything
here blocks. A file system that has just been unmounted is busy for zfs-fuse for some milliseconds (see
docs/design/lab.md), and nobody is told when it no longer is: so it is asked again, for a bounded time.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence

from kvorum.storage.errors import NoSpace, StorageError

DEADLINE_S = 120.0
BUSY_S = 5.0
_BUSY_PAUSE_S = 0.02
_ROLLED_BACK = "drop_caches failed"
"""What zfs-fuse says, and fails, when it has rolled back and may not drop the kernel's caches."""


class NoDataset(StorageError):
    """There is no such dataset."""


class DatasetExists(StorageError):
    """There is a dataset of this name."""


def run(*arguments: str, patient: bool = False) -> str:
    """Run ``zfs`` and return what it says.

    Raises ``NoDataset``, ``DatasetExists``, ``NoSpace``, or ``StorageError`` with ZFS's sentence. ``patient``
    asks again while the dataset is busy.
    """
    end = time.monotonic() + BUSY_S
    while True:
        try:
            return _run(arguments)
        except StorageError as error:
            late = "busy" in str(error) or (arguments[0] == "rollback" and "I/O error" in str(error))
            if not patient or not late or time.monotonic() > end:
                raise
        time.sleep(_BUSY_PAUSE_S)


def properties(names: Sequence[str], dataset: str, *, below: bool = False) -> dict[str, dict[str, str]]:
    """Properties of a dataset, or of it and those just ``below`` it, by name; sizes and times as numbers."""
    depth = ("-r", "-d", "1") if below else ()
    answer = run("get", *depth, "-Hp", "-o", "name,property,value", ",".join(names), dataset)
    found: dict[str, dict[str, str]] = {}
    for name, key, value in _rows(answer):
        found.setdefault(name, {})[key] = value
    return found


def children(dataset: str) -> list[str]:
    """The names of what is just below a dataset, without its own."""
    answer = run("list", "-H", "-r", "-d", "1", "-t", "filesystem,volume", "-o", "name", dataset)
    return [line.removeprefix(f"{dataset}/") for line in answer.splitlines() if line != dataset]


def snapshots(dataset: str) -> list[str]:
    """The names of a dataset's snapshots, the oldest first."""
    answer = run("list", "-H", "-r", "-d", "1", "-t", "snapshot", "-s", "creation", "-o", "name", dataset)
    return [line.partition("@")[2] for line in answer.splitlines()]


def _rows(answer: str) -> Iterator[tuple[str, str, str]]:
    for line in answer.splitlines():
        name, key, value = line.split("\t")
        yield name, key, value


def _run(arguments: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            ["zfs", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise StorageError("ZFS is not installed on this node; install the package zfsutils-linux") from None
    except subprocess.TimeoutExpired:
        raise StorageError(f"zfs {arguments[0]} did not answer within {DEADLINE_S:g} s") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and not (arguments[0] == "rollback" and said.startswith(_ROLLED_BACK)):
        raise _failure(arguments, said, done.returncode)
    return done.stdout.decode(errors="replace")


def _failure(arguments: Sequence[str], said: str, status: int) -> StorageError:
    if "does not exist" in said:
        return NoDataset(said.splitlines()[0])
    if "already exists" in said:
        return DatasetExists(said.splitlines()[0])
    if "out of space" in said or "size is greater than available" in said:
        return NoSpace(said.splitlines()[0])
    if "daemon is running" in said or "modules are not loaded" in said or "failed to initialize" in said:
        return StorageError("ZFS does not run on this node: its kernel module is not loaded")
    first = said.splitlines()[0] if said else f"it ended with status {status}"
    return StorageError(f"zfs {arguments[0]}: {first}")
