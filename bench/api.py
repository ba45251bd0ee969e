"""Requests per second and latencies of the API: ``python bench/api.py [SECONDS]``.

Two nodes on loopback in one process, with 32 nodes and 2,000 guests in the store, against a bare aiohttp
"hello" over TLS in a process of its own; the load comes from a third, over connections that are kept. All the
while each node publishes new figures of itself and its guests every 2 s, as real ones do. "All new" is a
request before which every node has published: nothing that was kept of guests serves it. "Few rights" is the
list of a user who may see a tenth of the guests, each by an entry of its own. The forwarded request goes to
the other node, so its latency has two TLS connections but no cable in it. Events: 200 listeners while the
store changes 1,000 times a second; how far behind is taken at the oldest event of each piece that a listener
reads.
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
from figures import median, p99, ratio, show

NODES, GUESTS = 32, 2000
LISTENERS, CHANGES_A_SECOND, EVENTS_S = 200, 1000, 10
CONNECTIONS = 8
ROUNDS = 9
PUBLISH_S = 2.0
FEW_RIGHTS = "few@pam"
PASSWORD = "bench"
SHARED = ("pve-root-ca.pem", "priv/pve-root-ca.key", "pve-www.key", "priv/authkey.key", "authkey.pub")
RESOURCES = "/api2/json/cluster/resources"
PATHS = {
    "/version": "/api2/json/version",
    "/cluster/resources": RESOURCES,
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
    """Nodes n01 and n02, told what to do by lines on stdin.

    ``news``: every node publishes new figures. ``changes``: n01's store changes for ``EVENTS_S`` seconds.
    """
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
            news = asyncio.create_task(_publish_at_pace(store, list(addresses)))
            stack.callback(news.cancel)
            stores.append(store)
            realms = [GeneratedPassword(PASSWORD)]
            await stack.enter_async_context(pvedaemon.running(store, paths, realms, port))
            await stack.enter_async_context(pveproxy.running(store, paths, realms, port, addresses[name]))
        for own, other in (stores, stores[::-1]):  # what is trusted is the certificates themselves
            path = f"nodes/{own.node}/pve-ssl.pem"
            await other.write(path, own.read(path).data)
        parts = [stores[0].read(f"nodes/n01/pve-ssl.{end}") for end in ("pem", "key")]
        (root / "certificate").write_bytes(b"\n".join(part.data for part in parts if part))
        (root / "authkey").write_bytes(stores[0].read("priv/authkey.key").data)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line == "news\n":
                for node in addresses:
                    await _publish(stores[0], node, list(addresses))
                print("told", flush=True)
                continue
            begin, done = time.monotonic(), 0
            while (passed := time.monotonic() - begin) < EVENTS_S:
                while done < passed * CHANGES_A_SECOND:
                    await stores[0].write(f"bench/{time.monotonic_ns()}", b"")
                    done += 1
                await asyncio.sleep(0.002)
            print(done, flush=True)


async def _populate(store: Any, nodes: list[str]) -> None:
    """Guests of every node: their files, what their nodes have published, and who may see them."""
    from kvorum.store import Write

    for index in range(GUESTS):
        node, vmid = nodes[index % len(nodes)], 100 + index
        await store.transact([Write(f"nodes/{node}/qemu-server/{vmid}.conf", b"name: guest\nmemory: 2048\n")])
    entries = [f"acl:1:/vms/{100 + index}:{FEW_RIGHTS}:PVEAuditor:" for index in range(0, GUESTS, 10)]
    await store.write(
        "user.cfg", "\n".join(["user:root@pam:1:0::::::", f"user:{FEW_RIGHTS}:1:0::::::", *entries, ""])
    )
    for node in nodes:
        await _publish(store, node, nodes)


async def _publish(store: Any, node: str, nodes: list[str]) -> None:
    """What ``node`` tells of itself and its guests, with figures it has not told before."""
    from kvorum.guests.statistics import KEY, GuestRecord
    from kvorum.node import record

    now = time.monotonic_ns()
    guests = [
        GuestRecord(
            vmid=100 + index, name=f"guest{100 + index}", status="running", cpu=now % 997 / 1000, cpus=4,
            mem=now % (1 << 31), maxmem=1 << 31, maxdisk=1 << 35, uptime=now // 10**9 + index, pid=index + 1,
            netin=now, netout=now,
        )
        for index in range(nodes.index(node), GUESTS, len(nodes))
    ]  # fmt: skip
    own, store._node = store.node, node  # it speaks for the others too; no await between gives up the turn
    about = record.NodeRecord(now % 997 / 1000, 16, 1 << 34, 1 << 36, 1 << 33, 1 << 38, 1000, "1")
    await store.publish(KEY, msgspec.msgpack.encode(guests), 86400)
    await store.publish(record.KEY, record.encode(about), 86400)
    store._node = own


async def _publish_at_pace(store: Any, nodes: list[str]) -> None:
    """Every node publishes once in ``PUBLISH_S`` seconds, one after the other."""
    while True:
        for node in nodes:
            await asyncio.sleep(PUBLISH_S / len(nodes))
            await _publish(store, node, nodes)


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


async def load(pid: int, port: int, headers: str, path: str, seconds: float) -> dict[str, float]:
    """Latencies over one connection; over several, requests per second and CPU time of ``pid`` for each."""
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
    count, cpu_s = 0, _cpu_s(pid)
    begin = time.perf_counter()

    async def ask(one: Connection) -> None:
        nonlocal count
        while time.perf_counter() < begin + seconds:
            await one.get(path)
            count += 1

    await asyncio.gather(*(ask(one) for one in connections))
    rate = count / (time.perf_counter() - begin)
    cpu_s = _cpu_s(pid) - cpu_s
    for one in connections:
        one.writer.transport.abort()
    return {
        "per_s": round(rate, 1),
        "cpu_us": round(cpu_s / count * 1e6, 1),
        "p50_ms": median(took),
        "p99_ms": p99(took),
    }


async def load_after_news(port: int, headers: str, ours: subprocess.Popen[str]) -> dict[str, float]:
    """Latencies of /cluster/resources when every node has published since the last one."""
    assert ours.stdin and ours.stdout
    connection = Connection(port, headers)
    await connection.open()
    took: list[float] = []
    for _ in range(60):
        ours.stdin.write("news\n")
        ours.stdin.flush()
        await asyncio.to_thread(ours.stdout.readline)
        begin = time.perf_counter()
        await connection.get(RESOURCES)
        took.append((time.perf_counter() - begin) * 1000)
    connection.writer.transport.abort()
    return {"p50_ms": median(took), "p99_ms": p99(took)}


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
    ours.stdin.write("changes\n")
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
        rounds = []
        for _ in range(ROUNDS):  # in turns, so that both see the same machine
            hello = await load(bare.pid, bare_port, "", "/", seconds / ROUNDS)
            rounds.append((hello, await load(ours.pid, port, headers, PATHS["/version"], seconds / ROUNDS)))
        ratios = [ratio(version["per_s"], hello["per_s"]) or 0.0 for hello, version in rounds]
        baseline, figures = rounds[ROUNDS // 2][0], {"/version": rounds[ROUNDS // 2][1]}
        for name, path in PATHS.items():
            if name not in figures:
                figures[name] = await load(ours.pid, port, headers, path, seconds)
        figures["/cluster/resources, all new"] = await load_after_news(port, headers, ours)
        few = _ticket(FEW_RIGHTS, root)
        figures["/cluster/resources, few rights"] = await load(ours.pid, port, few, RESOURCES, seconds)
        events = await listen(port, headers, ours)
        pss = Path(f"/proc/{ours.pid}/smaps_rollup").read_text().partition("Pss:")[2].split()[0]
    finally:
        ours.kill()
        bare.kill()
    show(
        "api",
        unit="requests/s, ms",
        ours=figures,
        baseline=baseline,
        ratio=median(ratios),
        ratio_cpu=median([ratio(hello["cpu_us"], version["cpu_us"]) or 0.0 for hello, version in rounds]),
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


def _cpu_s(pid: int) -> float:
    """CPU time that a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def _ticket(user: str, root: Path) -> str:
    """A ticket of a user who needs no password here: signed with the cluster's key, as a login would."""
    from kvorum.access.signing import private_key
    from kvorum.access.tickets import user_ticket

    ticket = user_ticket(private_key((root / "authkey").read_bytes()), user, time.time())
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
