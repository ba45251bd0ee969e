"""Two thousand guests in the store: lists are complete, and who comes late comes into sync."""

from __future__ import annotations

import json
import time

import pytest
from lab_cluster import NODES, Cluster, address, form, join

from kvorum.lab.plan import Plan

GUESTS = 2000
FIRST = 10_000
OURS = "/usr/lib/kvorum/bin/python"

FILL = """
import asyncio, sys
from pathlib import Path
from kvorum.store import StoreClient, Write
first, count, batch = int(sys.argv[1]), int(sys.argv[2]), 100
config = "boot: order=scsi0\\ncores: 2\\nmemory: 2048\\nname: guest-{}\\n#" + "x" * 400 + "\\n"
async def fill():
    async with StoreClient(Path("/run/kvorum/store.sock")) as store:
        for start in range(first, first + count, batch):
            await store.transact([
                Write(f"nodes/n{1 + vmid % 3}/qemu-server/{vmid}.conf", config.format(vmid).encode())
                for vmid in range(start, min(start + batch, first + count))
            ], timeout=60)
asyncio.run(fill())
"""
LISTS = """
import json, os, time
began = time.monotonic()
ids = json.load(open("/etc/pve/.vmlist"))["ids"]
listed = time.monotonic()
names = [name for node in ("n1", "n2", "n3") for name in os.listdir(f"/etc/pve/nodes/{node}/qemu-server")]
print(json.dumps({"ids": sorted(ids), "names": sorted(names), "vmlist_ms": (listed - began) * 1000,
                  "listdir_ms": (time.monotonic() - listed) * 1000}))
"""
ROOT = """
import asyncio
from kvorum.store import stream
async def root():
    reader, writer = await asyncio.open_unix_connection("/run/kvorum/store.sock")
    writer.write(stream.frame(stream.Hello()))
    welcome = stream.told.decode(await stream.read_frame(reader))
    print(welcome.version, welcome.mark.hex())
    writer.close()
asyncio.run(root())
"""
IN_SYNC = """
import asyncio, subprocess, sys, time
from pathlib import Path
from kvorum.store import StoreClient
async def wait():
    began = time.monotonic()
    subprocess.run(["systemctl", "start", "pve-cluster"], check=True)
    async with StoreClient(Path("/run/kvorum/store.sock")) as store, asyncio.timeout(60):
        async for now in store.watch_membership():
            if now.quorate:
                break
        print(len(store.guests()), time.monotonic() - began)
asyncio.run(wait())
"""


@pytest.mark.timeout(600)
def test_two_thousand_guests_are_listed_and_a_late_node_comes_into_sync(make_lab) -> None:
    lab = make_lab(Plan(4))
    cluster = form(lab)
    began = time.monotonic()
    cluster.say("n1", OURS, "-c", FILL, str(FIRST), str(GUESTS))
    print(f"{GUESTS} guests written in batches of 100: {time.monotonic() - began:.2f} s")
    for node in NODES:
        _check_lists(cluster, node)

    began = time.monotonic()
    join(cluster, "n4", address(lab, "n1", 0))
    print(f"pvecm add of a fourth node, all of it: {time.monotonic() - began:.2f} s")
    cluster.settled((*NODES, "n4"))
    _check_lists(cluster, "n4")

    cluster.say("n3", "systemctl", "stop", "pve-cluster")
    cluster.say("n3", "sh", "-c", "rm /var/lib/pve-cluster/config.db*")
    count, seconds = cluster.say("n3", OURS, "-c", IN_SYNC).split()
    print(f"from the start of a store without a database until it is in sync: {float(seconds):.2f} s")
    assert int(count) == GUESTS, "writable before it had everything"
    _check_lists(cluster, "n3")
    cluster.settled((*NODES, "n4"))
    _await_equal_roots(cluster, (*NODES, "n4"))


def _check_lists(cluster: Cluster, node: str) -> None:
    shown = json.loads(cluster.say(node, "python3", "-c", LISTS))
    due = [str(vmid) for vmid in range(FIRST, FIRST + GUESTS)]
    assert shown["ids"] == due, node
    assert shown["names"] == [f"{vmid}.conf" for vmid in due], node
    print(
        f"{node}: .vmlist {shown['vmlist_ms']:.1f} ms, listing three directories {shown['listdir_ms']:.1f} ms"
    )
    assert cluster.say(node, "sh", "-c", "ls /etc/pve/nodes/n*/qemu-server | grep -c conf") == f"{GUESTS}\n"


def _await_equal_roots(cluster: Cluster, nodes: tuple[str, ...], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while len(roots := {cluster.say(node, OURS, "-c", ROOT) for node in nodes}) > 1:
        assert time.monotonic() < end, f"the nodes hold different trees: {roots}"
