"""Readers on another node while files change: the kernel's cache never deadlocks, tears or goes back.

A daemon that tells the kernel of changes from the loop that also answers it deadlocks here within a second.
The files keep their size: one that another node makes longer may show zeros at its end for a moment.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from lab_cluster import Cluster

SECONDS = 60 if os.environ.get("KVORUM_SOAK") else 15
FILES = 4
READERS = 3

WRITE = """
import os, sys, time
end, version = time.monotonic() + float(sys.argv[1]), 0
print("begun", flush=True)
while time.monotonic() < end:
    version += 1
    for number in range(int(sys.argv[2])):
        data = f"{version:08d}\\n" * 400
        path = f"/etc/pve/readers/{number}"
        written = path if version % 3 else path + ".new"
        with open(written, "w") as file:
            file.write(data)
        if written != path:
            os.rename(written, path)
print(version, flush=True)
"""
READ = """
import mmap, os, sys, time
how, end, seen, looks, changes = sys.argv[1], time.monotonic() + float(sys.argv[2]), {}, 0, 0
def content(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if how == "mmap":
            with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped:
                return bytes(mapped)
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
print("begun", flush=True)
while time.monotonic() < end:
    for number in range(int(sys.argv[3])):
        data = content(f"/etc/pve/readers/{number}")
        line = data[:9]
        version = int(line) if line.strip().isdigit() else -1
        if data != line * 400:
            sys.exit(f"file {number} is torn: {len(data)} bytes, {line!r} to {data[-12:]!r}")
        if version < seen.get(number, 0):
            sys.exit(f"file {number} went back from {seen[number]} to {version}")
        changes += version != seen.get(number)
        seen[number] = version
        looks += 1
print(looks, changes, flush=True)
"""


@pytest.mark.timeout(SECONDS + 180)
@pytest.mark.parametrize("how", ["read", "mmap"])
def test_three_readers_see_whole_versions_in_order_while_another_node_writes(
    cluster: Cluster, how: str
) -> None:
    cluster.say("n1", "mkdir", "-p", "/etc/pve/readers")
    for number in range(FILES):
        cluster.say("n1", "sh", "-c", f"yes 00000000 | head -n 400 > /etc/pve/readers/{number}")
    pid = cluster.say("n2", "systemctl", "show", "--value", "--property=MainPID", "pve-cluster")
    argv = ["python3", "-c", READ, how, str(SECONDS), str(FILES)]
    with contextlib.ExitStack() as stack:
        writing = ["python3", "-c", WRITE, str(SECONDS), str(FILES)]
        processes = [_started(stack, cluster, "n1", writing)]
        processes += [_started(stack, cluster, "n2", argv) for _ in range(READERS)]
        said = [process.communicate(timeout=SECONDS + 60) for process in processes]
    for process, (out, err) in zip(processes, said, strict=True):
        assert process.returncode == 0, (out, err)
    versions = int(said[0][0].split()[-1])
    for out, _ in said[1:]:
        looks, changes = (int(word) for word in out.split()[-2:])
        print(f"{versions} versions of {FILES} files written; {looks} looks saw {changes} of them")
        assert changes > FILES, "the reader saw nothing change, so nothing is shown"
    same = cluster.say("n2", "systemctl", "show", "--value", "--property=MainPID", "pve-cluster")
    assert same == pid, "the store restarted meanwhile"
    cluster.say(
        "n2", "sh", "-c", "echo answers > /etc/pve/readers/end && cat /etc/pve/readers/end", timeout_s=30
    )
    cluster.say("n1", "rm", "-r", "/etc/pve/readers")


def _started(
    stack: contextlib.ExitStack, cluster: Cluster, node: str, argv: list[str]
) -> subprocess.Popen[bytes]:
    process = cluster.lab.popen(
        node, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process
