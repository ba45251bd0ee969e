"""Requests per second and latencies of the API: ``python bench/api.py [SECONDS]``.

Two nodes on loopback in one process, with 32 nodes and 2,000 guests in the store, against a bare aiohttp
"hello" over TLS in a process of its own; the load comes from a third, over connections that are kept. The
forwarded request goes to the other node, so its latency has two TLS connections but no cable in it. Events:
200 listeners while the store changes 1,000 times a second; how far behind is taken at the oldest event of
each piece that a listener reads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from figures import ratio, show

NODES, GUESTS = 32, 2000
LISTENERS, CHANGES_A_SECOND, EVENTS_S = 200, 1000, 10
CONNECTIONS = 8
PASSWORD = "bench"
SHARED = ("pve-root-ca.pem", "priv/pve-root-ca.key", "pve-www.key", "priv/authkey.key", "authkey.pub")
PATHS = {
    "/version": "/api2/json/version",
    "/cluster/resources": "/api2/json/cluster/resources",
    "/nodes": "/api2/json/nodes",
    "/nodes/n01/qemu": "/api2/json/nodes/n01/qemu",
    "/nodes/n02/status, forwarded": "/api2/json/nodes/n02/status",
}


async def serve_bare(port: int, certificate: Path) -> None:
    """The baseline: the least that answers over TLS."""

    async def hello(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"data":"hello"}')

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    runner = web.ServerRunner(web.Server(hello, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


async def serve_ours(port: int, root: Path) -> None:
    """Nodes n01 and n02; on a line on stdin n01's store changes for ``EVENTS_S`` seconds."""
    from kvorum.access import GeneratedPassword
    from kvorum.cluster.node_files import ensure_node_files
    from kvorum.core.paths import Paths
    from kvorum.server import pvedaemon, pveproxy
    from kvorum.store import Member, Membership
    from kvorum.store.memory import MemoryStore

    addresses = {f"n{i:02}": f"127.0.0.{i}" for i in range(1, NODES + 1)}
    members = tuple(Member(name, i, at, True) for i, (name, at) in enumerate(addresses.items(), 1))
    stores: list[MemoryStore] = []
    async with AsyncExitStack() as stack:
        for name in ("n01", "n02"):
            store = MemoryStore(name, Membership("bench", members, True, 1))
            for path in SHARED:
                if stores and (file := stores[0].read(path)):
                    await store.write(path, file.data)
            paths = Paths.under(root / name)
            await ensure_node_files(store, paths, addresses=[addresses[name]])
            await _populate(store, list(addresses))
            stores.append(store)
            realms = [GeneratedPassword(PASSWORD)]
            await stack.enter_async_context(pvedaemon.running(store, paths, realms, port))
            await stack.enter_async_context(pveproxy.running(store, paths, realms, port, addresses[name]))
        parts = [stores[0].read(f"nodes/n01/pve-ssl.{end}") for end in ("pem", "key")]
        (root / "certificate").write_bytes(b"\n".join(part.data for part in parts if part))
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            begin, done = time.monotonic(), 0
            while (passed := time.monotonic() - begin) < EVENTS_S:
                while done < passed * CHANGES_A_SECOND:
                    await stores[0].write(f"bench/{time.monotonic_ns()}", b"")
                    done += 1
                await asyncio.sleep(0.002)
            print(done, flush=True)


async def _populate(store: Any, nodes: list[str]) -> None:
    """Guests of every node: their files, and what their nodes have published."""
    from kvorum.guests.statistics import KEY, GuestRecord
    from kvorum.node import record
    from kvorum.store import Write

    by_node: dict[str, list[GuestRecord]] = {node: [] for node in nodes}
    for index in range(GUESTS):
        node, vmid = nodes[index % len(nodes)], 100 + index
        await store.transact([Write(f"nodes/{node}/qemu-server/{vmid}.conf", b"name: guest\nmemory: 2048\n")])
        by_node[node].append(
            GuestRecord(
                vmid=vmid, name=f"guest{vmid}", status="running", cpu=0.1, cpus=4, mem=1 << 30,
                maxmem=1 << 31,
                maxdisk=1 << 35, uptime=1000 + index, pid=index + 1, netin=1 << 20, netout=1 << 20,
            )
        )  # fmt: skip
    own = store.node
    for node, guests in by_node.items():
        store._node = node  # it speaks for the others too
        await store.publish(KEY, msgspec.msgpack.encode(guests), 86400)
        about = record.NodeRecord(0.1, 16, 1 << 34, 1 << 36, 1 << 33, 1 << 38, 1000, "1")
        await store.publish(record.KEY, record.encode(about), 86400)
    store._node = own


class Connection:
    """One kept connection, with the least a client can do."""

    def __init__(self, port: int, headers: str) -> None:
        self._port = port
        self._headers = headers

    async def open(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=context, limit=4 << 20
        )

    async def get(self, path: str) -> bytes:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{self._headers}\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.split(b" ", 2)[1] == b"200", head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return await self.reader.readexactly(length)


async def load(port: int, headers: str, path: str, seconds: float) -> dict[str, float]:
    """Latencies over one connection, then requests per second over several."""
    connections = [Connection(port, headers) for _ in range(CONNECTIONS)]
    for one in connections:
        await one.open()
        await one.get(path)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        await connections[0].get(path)
        took.append((time.perf_counter() - begin) * 1000)
    took.sort()
    count = 0
    begin = time.perf_counter()

    async def ask(one: Connection) -> None:
        nonlocal count
        while time.perf_counter() < begin + seconds:
            await one.get(path)
            count += 1

    await asyncio.gather(*(ask(one) for one in connections))
    rate = count / (time.perf_counter() - begin)
    for one in connections:
        one.writer.transport.abort()
    return {
        "per_s": round(rate, 1),
        "p50_ms": round(took[len(took) // 2], 3),
        "p99_ms": round(took[int(len(took) * 0.99)], 3),
    }


async def listen(port: int, headers: str, ours: subprocess.Popen[str]) -> dict[str, float]:
    """How far behind ``LISTENERS`` listeners are, in seconds, and how many events each got."""
    behind: list[float] = []
    heard = [0] * LISTENERS
    ready = asyncio.Event()
    present = 0

    async def one(index: int) -> None:
        nonlocal present
        connection = Connection(port, headers)
        await connection.open()
        connection.writer.write(f"GET /api2/events HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        while True:
            piece = await connection.reader.read(1 << 20)
            now = time.monotonic_ns()
            assert piece and b"event: cut" not in piece, piece[-300:]
            if b"event: hello" in piece:
                present += 1
                ready.set() if present == LISTENERS else None
            heard[index] += piece.count(b'"path":"bench/')
            _, found, rest = piece.partition(b'"path":"bench/')
            number = rest.partition(b'"')
            if found and number[1] and number[0].isdigit():
                behind.append((now - int(number[0])) / 1e9)

    tasks = [asyncio.create_task(one(index)) for index in range(LISTENERS)]
    await asyncio.wait_for(ready.wait(), 60)
    assert ours.stdin and ours.stdout
    ours.stdin.write("go\n")
    ours.stdin.flush()
    made = int(await asyncio.to_thread(ours.stdout.readline))
    await asyncio.sleep(2)
    broken = [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    behind.sort()
    return {
        "changes": made,
        "heard_by_the_least": min(heard),
        "cut_off": len(broken),
        "behind_p50_s": round(behind[len(behind) // 2], 3),
        "behind_p99_s": round(behind[int(len(behind) * 0.99)], 3),
        "behind_most_s": round(behind[-1], 3),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def _start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


async def measure(seconds: float, root: Path) -> None:
    """Start both servers, put the load on them in turn, and print the figures."""
    from kvorum.server.daemon import allow_many_connections

    allow_many_connections()
    port, bare_port = _free_port(), _free_port()
    ours = _start("--ours", str(port), str(root))
    bare = _start("--bare", str(bare_port), str(root / "certificate"))
    try:
        headers = await _login(port)
        figures = {"hello (bare)": await load(bare_port, "", "/", seconds)}
        for name, path in PATHS.items():
            figures[name] = await load(port, headers, path, seconds)
        events = await listen(port, headers, ours)
        pss = Path(f"/proc/{ours.pid}/smaps_rollup").read_text().partition("Pss:")[2].split()[0]
    finally:
        ours.kill()
        bare.kill()
    baseline = figures.pop("hello (bare)")
    show(
        "api",
        unit="requests/s, ms",
        ours=figures,
        baseline=baseline,
        ratio=ratio(figures["/version"]["per_s"], baseline["per_s"]),
        goals={"/version": "> 0.5 of bare", "/cluster/resources": "p50 < 15 ms", "forwarded": "p50 < 8 ms"},
        events=events,
        events_goal="< 1 s behind",
        pss_mib_of_two_nodes_in_one=round(int(pss) / 1024, 1),
        cores=os.cpu_count(),
    )


async def _login(port: int) -> str:
    connection = Connection(port, "")
    await connection.open()
    form = f"username=root@pam&password={PASSWORD}"
    connection.writer.write(
        "POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
    )
    body = (await connection.reader.read()).partition(b"\r\n\r\n")[2]
    ticket = msgspec.json.decode(body)["data"]["ticket"]
    return f"Authorization: PVEAuthCookie={ticket}\r\n"


def main(*arguments: str) -> None:
    """Measure, or be one of the servers that are measured."""
    match arguments:
        case ("--ours", port, root):
            asyncio.run(serve_ours(int(port), Path(root)))
        case ("--bare", port, certificate):
            asyncio.run(serve_bare(int(port), Path(certificate)))
        case _:
            with tempfile.TemporaryDirectory() as root:
                asyncio.run(measure(float(arguments[0]) if arguments else 5.0, Path(root)))


if __name__ == "__main__":
    main(*sys.argv[1:])
