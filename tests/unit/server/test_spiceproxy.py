"""SPICE's proxy on two nodes: by a ticket to the guest's node, TLS from end to end, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from kvorum.access import Authentication, SpiceTicket
from kvorum.core.errors import KvorumError
from kvorum.core.spice_names import PREFIX, PROXY_PORT, TLS_PORT
from kvorum.server import spiceproxy
from kvorum.server.spice import proxy, request
from kvorum.server.spice.request import Refused

UNITS = Path(__file__).parents[3] / "packaging/units"
SESSION = "0123456789abcdef"
FORBIDDEN = 200
"""A guest that nobody may look at (conftest.py)."""


def test_the_viewers_file_names_this_proxy() -> None:
    assert request.parse(f"CONNECT {PREFIX}:x:{TLS_PORT} HTTP/1.1".encode()).ticket == f"{PREFIX}:x"
    assert proxy.SpiceProxy.__init__.__defaults__ == (PROXY_PORT,)
    assert f"\nListenStream={PROXY_PORT}\n" in (UNITS / "spiceproxy.socket").read_text()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"CONNECT", 400),
        (b"CONNECT pvespiceproxy:x:61000 SPICE", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET http://pvespiceproxy:x:61000/ HTTP/1.1", 405),
        (b"CONNECT www.example:443 HTTP/1.1", 403),
        (b"CONNECT 127.0.0.1:8006 HTTP/1.1", 403),
        (b"CONNECT pvespiceproxy:x:8006 HTTP/1.1", 403),
        (b"CONNECT pvespiceproxy:x HTTP/1.1", 403),
    ],
)
def test_what_is_no_request_for_a_guest_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        request.parse(head)
    assert refused.value.status == status


def test_a_request_is_understood_as_clients_and_other_proxies_send_it() -> None:
    asked = request.parse(b"CONNECT pvespiceproxy:a:b:61000 HTTP/1.0\r\nHost: x\r\nUser-Agent: GLib/2.74")
    assert (asked.ticket, asked.forwarded) == ("pvespiceproxy:a:b", False)
    again = request.parse(request.request(asked.ticket, "n1")[:-4])
    assert (again.ticket, again.forwarded) == (asked.ticket, True)


@pytest.mark.parametrize(
    ("head", "status"), [(b"HTTP/1.0 200 OK", 200), (b"HTTP/1.1 403 No", 403), (b"SSH-2.0", 502), (b"", 502)]
)
def test_another_proxys_answer_is_its_status(head: bytes, status: int) -> None:
    assert request.status_of(head) == status


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"no\n", "no"), (b"", ""), (b"a\r\nb\x1b[0m\xff", "a b[0m\ufffd"), (b"x" * 4096, "x" * 500)],
)
def test_another_proxys_sentence_is_one_line_of_text(body: bytes, sentence: str) -> None:
    assert request.sentence_of(body) == sentence


class World:
    """Both nodes' proxies on one port of their own addresses."""

    def __init__(self, cluster: Any, port: int) -> None:
        self.cluster = cluster
        self.port = port

    def ticket(self, node: str = "n2", vmid: int = 100) -> str:
        authentication = self.cluster.n1.services.get(Authentication)
        return str(authentication.spice_ticket(SpiceTicket(vmid, node, SESSION)))

    async def raw(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(address, self.port)

    async def told(self, head: str, address: str = "127.0.0.1") -> str:
        """What the proxy answers to a request that it does not grant."""
        reader, writer = await self.raw(address)
        writer.write(f"{head}\r\n\r\n".encode())
        async with asyncio.timeout(15):
            answer = await reader.read()
        writer.close()
        return answer.decode()

    async def channel(
        self, ticket: str, address: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """Come to a guest as virt-viewer does; the connection and whose certificate was shown."""
        reader, writer = await self.raw(address)
        name = f"{ticket}:61000"
        writer.write(
            f"CONNECT {name} HTTP/1.0\r\nHost: {name}\r\nProxy-Connection: keep-alive\r\n\r\n".encode()
        )
        async with asyncio.timeout(15):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200 "), head + await reader.read()
            context = ssl.create_default_context(cadata=self.cluster.ca)
            context.check_hostname = False  # the file names the subject instead
            await writer.start_tls(context)
        shown = dict(part[0] for part in writer.get_extra_info("peercert")["subject"])
        return reader, writer, shown["commonName"]


@pytest.fixture
async def world(cluster: Any) -> AsyncIterator[World]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    world = World(cluster, port)
    async with AsyncExitStack() as stack:
        for node, address in ((cluster.n1, "127.0.0.1"), (cluster.n2, "127.0.0.2")):
            listening = socket.create_server((address, port))
            await stack.enter_async_context(spiceproxy.running(node.store, node.paths, [listening], port))
        yield world


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
async def test_a_channel_comes_to_the_guest_by_any_node_and_sees_its_nodes_certificate(
    world: World, address: str
) -> None:
    reader, writer, name = await world.channel(world.ticket("n2"), address)
    assert name.startswith("n2")
    writer.write(b"hello")
    expected = b"n2 127.0.0.1 nobody@none hello"
    async with asyncio.timeout(15):
        assert await reader.readexactly(len(expected)) == expected
    writer.close()


async def test_many_bytes_pass_unchanged(world: World) -> None:
    reader, writer, _ = await world.channel(world.ticket())
    sent = bytes(range(256)) * 8192

    async def send() -> None:
        writer.write(sent)
        await writer.drain()

    sending, seen = asyncio.create_task(send()), b""
    async with asyncio.timeout(30):
        while len(seen.replace(b"n2 127.0.0.1 nobody@none ", b"")) < len(sent):
            data = await reader.read(1 << 20)
            assert data, "the channel was ended"
            seen += data
        await sending
    assert seen.replace(b"n2 127.0.0.1 nobody@none ", b"") == sent
    writer.close()


async def test_each_message_has_a_tls_record_of_its_own(world: World) -> None:
    """spice-gtk overlooks the second message of a record until more comes."""
    reader, writer = await world.raw()
    writer.write(request.request(world.ticket("n1"), "n0"))
    context = ssl.create_default_context(cadata=world.cluster.ca)
    context.check_hostname, context.maximum_version = False, ssl.TLSVersion.TLSv1_2
    seen, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls, raw = context.wrap_bio(seen, sent), b""
    async with asyncio.timeout(15):
        await reader.readuntil(b"\r\n\r\n")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(sent.read())
                seen.write(await reader.read(1 << 16))
        tls.write(b"twice")
        writer.write(sent.read())
        while len(raw) < 2 * (5 + len("one")) or raw.count(b"\x17\x03\x03") < 2:
            data = await reader.read(1 << 16)
            assert data, "two messages, and fewer than two records"
            raw += data
    seen.write(raw)
    assert [tls.read(100), tls.read(100)] == [b"one", b"two"]
    writer.close()


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_the_channels_end_reaches_the_client(world: World, node: str) -> None:
    reader, writer, _ = await world.channel(world.ticket(node))
    writer.write(b"bye")
    async with asyncio.timeout(15):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_who_may_not_look_is_told_before_tls_and_why(world: World, node: str) -> None:
    said = await world.told(f"CONNECT {world.ticket(node, FORBIDDEN)}:61000 HTTP/1.0")
    assert said.startswith("HTTP/1.0 403 ")
    assert said.endswith("\r\n\r\nPermission check failed (/vms/200, VM.Console)\n")


async def test_it_is_no_open_proxy(world: World) -> None:
    changed = world.ticket().replace(":100:", ":101:")
    for target in ("127.0.0.1:8006", "www.example:443", f"{changed}:61000", "pvespiceproxy:x:61000"):
        assert (await world.told(f"CONNECT {target} HTTP/1.1")).startswith("HTTP/1.0 403 ")
    assert (await world.told("GET / HTTP/1.1")).startswith("HTTP/1.0 405 ")
    assert (await world.told("A" * 70000)).startswith("HTTP/1.0 400 ")
    assert (await world.told("A" * 5000)).startswith("HTTP/1.0 400 ")


async def test_a_node_that_is_away_or_unknown_is_named(world: World) -> None:
    said = await world.told(f"CONNECT {world.ticket('gone')}:61000 HTTP/1.0")
    assert said.startswith("HTTP/1.0 502 ") and "'gone' (127.0.0.3) does not answer" in said
    said = await world.told(f"CONNECT {world.ticket('never')}:61000 HTTP/1.0")
    assert "no such cluster node 'never'" in said


async def test_what_was_handed_on_is_not_handed_on_again(world: World) -> None:
    said = await world.told(f"CONNECT {world.ticket('n2')}:61000 HTTP/1.0\r\nKvorum-Forwarded: n3")
    assert said.startswith("HTTP/1.0 502 ") and "'n2' is another one" in said


async def test_a_client_that_says_nothing_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "HANDSHAKE_DEADLINE_S", 0.1)
    reader, writer = await world.raw()
    async with asyncio.timeout(15):
        assert (await reader.read()).startswith(b"HTTP/1.0 408 ")
    writer.close()


async def test_a_client_that_never_begins_tls_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "TLS_DEADLINE_S", 0.1)
    reader, writer = await world.raw()
    writer.write(f"CONNECT {world.ticket('n1')}:61000 HTTP/1.0\r\n\r\n".encode())
    async with asyncio.timeout(15):
        assert (await reader.read()).startswith(b"HTTP/1.0 200 ")
    writer.close()


async def test_one_connection_too_many_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_CONNECTIONS", 1)
    _, writer, _ = await world.channel(world.ticket("n1"))
    assert (await world.told("GET / HTTP/1.1")).startswith("HTTP/1.0 503 ")
    writer.close()


async def test_it_ends_itself_when_nobody_was_there_for_a_while(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "HANDSHAKE_DEADLINE_S", 60.0)
    serving, ended = (
        proxy.SpiceProxy(spiceproxy.StoredCluster(cluster.n1.store), Path("none")),
        asyncio.Event(),
    )
    async with await asyncio.start_server(serving.begin, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(15):
            await serving.busy.wait()
        waiting = asyncio.create_task(spiceproxy.until_idle(serving, 0.01, ended.set))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ended.wait()
        writer.close()
        async with asyncio.timeout(15):
            await ended.wait()
            await waiting
        await serving.close()


async def test_without_a_socket_of_systemds_it_does_not_begin(cluster: Any) -> None:
    with pytest.raises(KvorumError, match=r"start spiceproxy\.socket"):
        async with spiceproxy.running(cluster.n1.store, cluster.n1.paths):
            pass


async def test_a_viewers_file_comes_by_its_own_format_from_any_node(cluster: Any) -> None:
    headers, base = await cluster.login(), f"{cluster.n1.url}/api2"
    async with cluster.client.post(f"{base}/spiceconfig/nodes/n2/viewer", headers=headers) as answer:
        assert answer.headers["Content-Type"] == "application/x-virt-viewer; charset=UTF-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="vm__100_.vv"'
        assert await answer.text() == "[virt-viewer]\ntype=spice\ntls-port=61000\n"
    async with cluster.client.post(f"{base}/json/nodes/n2/viewer", headers=headers) as answer:
        assert (await answer.json()) == {"data": {"type": "spice", "tls-port": 61000}}


async def test_what_has_no_such_file_is_not_even_done(cluster: Any) -> None:
    headers, base = await cluster.login(), f"{cluster.n1.url}/api2"
    async with cluster.client.post(f"{base}/spiceconfig/nodes/n2/work", headers=headers) as answer:
        assert answer.status == 501 and "no file for a viewer" in answer.reason
    async with cluster.client.get(f"{base}/json/nodes/n2/tasks", headers=headers) as answer:
        assert (await answer.json())["data"] == []
