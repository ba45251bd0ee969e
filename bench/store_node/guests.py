"""The rows of two thousand guests: their lists, and a node that fetches them all."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

from files import get, put
from rows import PATHS, measuring, pss_mib

from kvorum.store import StoreClient, Write

IDS = range(100_000, 102_000)
AT_ONCE = 100
"""Guests in one transaction."""
ASIDE = "kvorum-bench"
"""Where a node's database is kept until the new one is whole."""
SYNC_S = 60.0
CONFIG = """\
agent: 1
boot: order=virtio0
cores: 2
cpu: x86-64-v2-AES
description: one of the bench's two thousand; it is never started
memory: 4096
meta: creation-qemu=10.0.2,ctime=1764300000
name: bench-{vmid}
net0: virtio=52:54:00:6b:{high:02x}:{low:02x},bridge=vmbr0
numa: 0
ostype: l26
scsihw: virtio-scsi-single
smbios1: uuid=00000000-0000-4000-8000-{vmid:012d}
sockets: 1
tags: bench
virtio0: local:{vmid}/vm-{vmid}-disk-0.qcow2,discard=on,iothread=1,size=32G
vmgenid: 00000000-0000-4000-9000-{vmid:012d}
"""


def measure(node: str, count: int) -> dict[str, object]:
    """Make the guests, then read their lists: as they are, and just after one has changed."""
    made_ms = asyncio.run(make(node))
    vmlist, listing = PATHS.etc_pve / ".vmlist", PATHS.etc_pve / "qemu-server"

    def list_all(_: int) -> None:
        if len(os.listdir(listing)) < len(IDS):  # noqa: PTH208
            sys.exit(f"'{listing}' does not list all guests")

    def change(number: int) -> None:
        put(PATHS.etc_pve / place(node, IDS[number]), config(IDS[number]) + b"onboot: 0\n")

    if len(json.loads(get(vmlist))["ids"]) < len(IDS):
        sys.exit(f"'{vmlist}' does not list all guests")
    with measuring(count) as rows:
        rows.measure("vmlist", lambda _: get(vmlist))
        rows.measure("vmlist_after_a_change", lambda _: get(vmlist), before_each=change)
        rows.measure("list_guests", list_all)
        rows.measure("list_guests_after_a_change", list_all, before_each=change)
    return {"rows": rows.rows, "made_ms": made_ms, "pss_mib": pss_mib()}


async def make(node: str) -> float:
    """Milliseconds that writing all guests took, so many at once."""
    async with StoreClient(PATHS.store_socket) as store:
        if taken := sorted({str(vmid) for vmid in IDS} & set(store.guests())):
            sys.exit(f"the bench needs the ids {IDS[0]} to {IDS[-1]}, but guest {taken[0]} is there")
        begin = time.perf_counter()
        for start in range(0, len(IDS), AT_ONCE):
            part = IDS[start : start + AT_ONCE]
            await store.transact([Write(place(node, vmid), config(vmid)) for vmid in part])
        return (time.perf_counter() - begin) * 1000


def fresh() -> dict[str, object]:
    """Start pve-cluster with its database moved away: milliseconds until it runs, and until it has all."""
    aside = PATHS.database.parent / ASIDE
    if aside.exists():
        sys.exit(f"'{aside}' is the node's database from before a run that failed: take it away first")
    systemctl("stop", "pve-cluster")
    aside.mkdir()
    for name in ("config.db", "config.db-wal", "config.db-shm"):
        if (file := PATHS.database.with_name(name)).exists():
            file.rename(aside / name)
    begin = time.perf_counter()
    systemctl("start", "pve-cluster")
    started = time.perf_counter()
    asyncio.run(in_sync())
    synced = time.perf_counter()
    for file in aside.iterdir():
        file.unlink()
    aside.rmdir()
    return {"started_ms": (started - begin) * 1000, "in_sync_ms": (synced - begin) * 1000}


async def in_sync() -> None:
    """Wait until the store may write here and has all guests."""
    async with StoreClient(PATHS.store_socket) as store, asyncio.timeout(SYNC_S):
        async for membership in store.watch_membership():
            if membership.quorate and len(store.guests()) >= len(IDS):
                return


def place(node: str, vmid: int) -> str:
    """Where a guest's configuration lies in the store."""
    return f"nodes/{node}/qemu-server/{vmid}.conf"


def config(vmid: int) -> bytes:
    """A guest's configuration of the usual length."""
    return CONFIG.format(vmid=vmid, high=vmid >> 8 & 0xFF, low=vmid & 0xFF).encode()


def systemctl(verb: str, unit: str) -> None:
    """Start or stop a unit and wait for it."""
    subprocess.run(["systemctl", verb, unit], check=True, timeout=SYNC_S)
