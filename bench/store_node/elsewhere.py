"""Another node's part: writes and watches when the measuring node asks. Runs inside a node.

python store_elsewhere.py ADDRESS      prints the port it listens on; ends with its standard input

A request is a line of JSON, and so is its answer: ``{"write": PATH, "hex": CONTENT}`` writes through /etc/pve
and answers when that is closed. ``{"watch": PREFIX, "count": N}`` answers at once, and with a second line
when it saw so many changes: for each, milliseconds since the time that stands in its content. That time is
CLOCK_MONOTONIC's, which all nodes of a lab share with their host's kernel.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from kvorum.core.paths import Paths
from kvorum.store import StoreClient

WATCH_S = 300.0


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until it ends.

    It listens to the store only while it is asked to watch: a listener costs the other rows its turns.
    """

    def answer(value: object) -> None:
        writer.write(json.dumps(value).encode() + b"\n")

    try:
        while line := await reader.readline():
            asked = json.loads(line)
            if "write" in asked:
                Path(asked["write"]).write_bytes(bytes.fromhex(asked["hex"]))
                answer("written")
                continue
            async with StoreClient(Paths.system().store_socket) as store:
                ages = asyncio.create_task(watch(store, asked["watch"], asked["count"]))
                await asyncio.sleep(0)  # to where it listens
                answer("watching")
                answer(await asyncio.wait_for(ages, WATCH_S))
    finally:
        writer.close()


async def watch(store: StoreClient, prefix: str, count: int) -> list[float]:
    """Milliseconds from the time in the content to now, of the next ``count`` changes."""
    ages: list[float] = []
    async for change in store.watch(prefix):
        seen = time.monotonic_ns()
        if change.file is not None:
            ages.append((seen - int(change.file.data.split()[0])) / 1e6)
        if len(ages) == count:
            break
    return ages


async def main(address: str) -> None:
    """Serve until our standard input ends."""
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(serve, address, 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
