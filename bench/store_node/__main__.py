"""What the store does for one node, in raw samples. Runs inside a node, by the package's own python.

python store_node ready NODES                 waits until so many nodes may write together
                  floor COUNT                 the two floors alone
                  files COUNT ADDRESS:PORT    the rows of single files; the address is elsewhere.py's
                  guests NODE COUNT           makes 2,000 guests and reads their lists
                  fresh                       joins anew with an empty database, all guests there
                  idle SECONDS                bytes written to disk meanwhile, and memory
                  clean NODE                  takes away whatever the others made in the store

Each prints one JSON object. Times are in milliseconds. A row holds the floors, which are measured just before
it with as many samples, and what a sample cost this node's pve-cluster and corosync in CPU time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import files
import guests
from rows import PATHS, main_pid, measuring, pss_mib

from kvorum.store import Delete, StoreClient

READY_S = 90.0
AT_ONCE = 100
SETTLE_S = 3.0
"""In which the database takes over what was changed just before."""


async def ready(nodes: int) -> dict[str, object]:
    """Wait until so many nodes may write together."""
    seen = ""
    try:
        async with StoreClient(PATHS.store_socket) as store, asyncio.timeout(READY_S):
            async for membership in store.watch_membership():
                online = sum(member.online for member in membership.members)
                if membership.quorate and online == nodes:
                    return {"pss_mib": pss_mib()}
                seen = membership.reason or f"{online} are online"
    except TimeoutError:
        pass
    sys.exit(f"{nodes} nodes did not come to write together within {READY_S:g} s: {seen}")


def floor(count: int) -> dict[str, object]:
    """The two floors, and nothing of ours."""
    with measuring(count) as rows:
        rows.measure("nothing", lambda _: None)
    return rows.rows["nothing"]


def idle(seconds: float) -> dict[str, object]:
    """What pve-cluster hands to its disk while nobody asks it for anything (proc_pid_io: write_bytes)."""
    io = Path(f"/proc/{main_pid('pve-cluster')}/io")

    def written() -> int:
        return int(dict(line.split(": ") for line in io.read_text().splitlines())["write_bytes"])

    time.sleep(SETTLE_S)
    before = written()
    time.sleep(seconds)  # what is measured is a time in which nothing happens
    return {"written_bytes": written() - before, "seconds": seconds, "pss_mib": pss_mib()}


async def clean(node: str) -> dict[str, object]:
    """Delete what the bench has made in the store."""
    async with StoreClient(PATHS.store_socket) as store:
        found = [f"{files.FOLDER}/{name}" for name in store.names(files.FOLDER)]
        found += [path for vmid in guests.IDS if store.read(path := guests.place(node, vmid))]
        found += [path for path in (files.FOLDER, files.LOCK) if store.is_directory(path)]
        for start in range(0, len(found), AT_ONCE):
            await store.transact([Delete(path) for path in found[start : start + AT_ONCE]])
    return {"deleted": len(found)}


def main(*words: str) -> None:
    """Do one thing and print what came of it."""
    match words:
        case "ready", nodes:
            told = asyncio.run(ready(int(nodes)))
        case "floor", count:
            told = floor(int(count))
        case "files", count, address:
            told = files.measure(int(count), address)
        case "guests", node, count:
            told = guests.measure(node, int(count))
        case ("fresh",):
            told = guests.fresh()
        case "idle", seconds:
            told = idle(float(seconds))
        case "clean", node:
            told = asyncio.run(clean(node))
        case _:
            sys.exit(__doc__)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
