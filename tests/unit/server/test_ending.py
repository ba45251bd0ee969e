"""A daemon that is told to end does so soon, whatever its clients do or don't."""

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from kvorum.interface import TaskLog, Work
from kvorum.tasks import TaskRunner

if TYPE_CHECKING:
    from conftest import Cluster

pytestmark = pytest.mark.slow

SOON_S = 4.0
"""For four daemons that the fixture ends one after the other; two of them wait for the client."""


async def ask(cluster: "Cluster", path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request and read nothing of its answer."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in (await cluster.login()).items())
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", cluster.port))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(sock=plain, ssl=context, server_hostname="n1", limit=4096)
    writer.write(f"GET /api2/{path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return reader, writer


async def ending(cluster: "Cluster") -> float:
    """End the daemons; the seconds that it took."""
    await cluster.client.close()
    began = time.monotonic()
    await asyncio.wait_for(cluster.end(), 60)
    return time.monotonic() - began


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_method_that_hangs_does_not_hold_the_daemon_up(cluster: "Cluster", node: str) -> None:
    _, writer = await ask(cluster, f"json/nodes/{node}/hang")
    await asyncio.sleep(0.2)  # until it hangs
    assert await ending(cluster) < SOON_S
    writer.transport.abort()


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_client_that_does_not_read_does_not_hold_the_daemon_up(cluster: "Cluster", node: str) -> None:
    readers = [await ask(cluster, f"json/nodes/{node}/many") for _ in range(3)]
    await asyncio.wait_for(readers[0][0].readline(), 10)
    assert await ending(cluster) < SOON_S
    for _, writer in readers:
        writer.transport.abort()


async def test_an_open_event_stream_does_not_hold_the_daemon_up(cluster: "Cluster") -> None:
    reader, writer = await ask(cluster, "events")
    await asyncio.wait_for(reader.readuntil(b"event: hello"), 10)
    assert await ending(cluster) < 1.0
    writer.transport.abort()


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_followed_task_does_not_hold_the_daemon_up(cluster: "Cluster", node: str) -> None:
    """Its log comes through pveproxy from pvedaemon, or from another node; neither ends by itself."""

    async def run(log: TaskLog) -> None:
        log.line("it begins")
        await asyncio.get_running_loop().create_future()

    runner = {"n1": cluster.n1, "n2": cluster.n2}[node].services.get(TaskRunner)
    upid = runner.start(Work("qmstart", "100", run), "root@pam")
    reader, writer = await ask(cluster, f"events?task={upid}")
    await asyncio.wait_for(reader.readuntil(b"it begins"), 10)
    assert await ending(cluster) < SOON_S
    writer.transport.abort()
