"""A disk's import and a full clone, and ``qemu-img convert`` of the same image, in turns. Runs inside a node.

python3 copies.py VMID DATA_MIB ROUNDS FORMATS     VMID and VMID+1 are free; FORMATS: qcow2,raw or one of them

Prints {ROW: {SIDE: […]}} in seconds; the row ``small`` is the same import of 1 MiB, which is all overhead.

``ours`` is our command's time, ``convert`` qemu-img's alone, ``synced`` with the fsync without which a copy
is gone after a power cut; ours has it. Before each, what others left to be written is on disk.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/var/lib/vz/bench")
STORE = Path("/var/lib/vz/images")
SPARE = 1.5
"""The disk's size as a multiple of its data."""


def run(*argv: str) -> float:
    """Seconds that a command took which must do."""
    os.sync()
    begun = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{argv}: {done.stdout}{done.stderr}")
    return time.monotonic() - begun


def convert(source: str, format: str, into: str) -> tuple[float, float]:
    """Seconds of qemu-img, and with the fsync of what it wrote."""
    target = FOLDER / "copy"
    took = run("qemu-img", "convert", "-f", format, "-O", into, source, str(target))
    begun = time.monotonic()
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    synced = took + time.monotonic() - begun
    target.unlink()
    return took, synced


def make(data_mib: int, formats: list[str]) -> None:
    """The image, raw and, if it is asked for, qcow2: data that don't compress, then nothing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "disk.raw").open("wb") as file:
        for _ in range(data_mib):
            file.write(os.urandom(1 << 20))
        file.seek(510)
        file.write(b"\x55\xaa")
        file.truncate(int(data_mib * SPARE) << 20)
    with (FOLDER / "small.raw").open("wb") as file:
        file.truncate(1 << 20)
    if "qcow2" in formats:
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", FOLDER / "disk.raw", FOLDER / "disk.qcow2"],
            check=True,
        )


def main(first: str, data_mib: str, rounds: str, asked: str) -> None:
    vmid, clone, formats = first, str(int(first) + 1), asked.split(",")
    make(int(data_mib), formats)
    told: dict[str, dict[str, list[float]]] = {}

    def note(row: str, ours: float, bare: tuple[float, float]) -> None:
        sides = told.setdefault(row, {"ours": [], "convert": [], "synced": []})
        for side, value in zip(sides, (ours, *bare), strict=True):
            sides[side].append(value)

    try:
        for _ in range(int(rounds)):
            for format in formats:
                source = str(FOLDER / f"disk.{format}")
                bare = convert(source, format, "qcow2")
                run("qm", "create", vmid, "--memory", "16")
                into = ("--format", "qcow2", "--target-disk", "scsi0")
                ours = run("qm", "disk", "import", vmid, source, "local", *into)
                note(f"import {format} to qcow2", ours, bare)
                if format == "qcow2":
                    volume = next((STORE / vmid).glob("*.qcow2"))
                    bare = convert(str(volume), "qcow2", "qcow2")
                    note("full clone", run("qm", "clone", vmid, clone, "--full", "1"), bare)
                    run("qm", "destroy", clone)
                small = str(FOLDER / "small.raw")
                bare = convert(small, "raw", "qcow2")
                note("small", run("qm", "disk", "import", vmid, small, "local", "--format", "qcow2"), bare)
                run("qm", "destroy", vmid)
    finally:
        for name in ("disk.raw", "disk.qcow2", "small.raw", "copy"):
            (FOLDER / name).unlink(missing_ok=True)
        FOLDER.rmdir()
    print(json.dumps(told))


main(*sys.argv[1:])
