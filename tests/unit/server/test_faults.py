"""What a hostile, broken or distant peer does to the daemons: over real sockets."""

import asyncio
import io
import json
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from kvorum.access import Authentication
from kvorum.access.tickets import user_ticket
from kvorum.server import api, forward, knock, listen
from kvorum.server.replies import REASON_BYTES, reason

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from conftest import Cluster


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@asynccontextmanager
async def connection(
    cluster: "Cluster", context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context or trusting())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def exchange(cluster: "Cluster", request: bytes) -> bytes:
    """All that comes back for these bytes, to the end of the connection."""
    async with asyncio.timeout(20), connection(cluster) as (reader, writer):
        writer.write(request)
        return await reader.read()


# Other nodes


@contextmanager
def silent(cluster: "Cluster", full: bool) -> Iterator[None]:
    """Something at node gone's address that takes connections and says nothing, or (full) takes none."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.3", cluster.port))
        server.listen(0 if full else 16)
        waiting = [socket.socket() for _ in range(4 if full else 0)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.3", cluster.port))
        try:
            yield
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("full", [False, True], ids=["takes connections", "drops packets"])
async def test_a_silent_node_is_595_with_its_name_and_soon(cluster: "Cluster", full: bool) -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/gone/echo"
    with silent(cluster, full):
        async with asyncio.timeout(3), cluster.client.get(url, headers=headers) as answer:
            assert (answer.status, "node 'gone'" in (answer.reason or "")) == (595, True)


def test_a_node_that_lost_power_is_noticed_on_a_connection_from_before_within_three_seconds() -> None:
    assert forward.UNACKNOWLEDGED_MS / 1000 + forward.CONNECT_TIMEOUT_S < 3
    made = forward._impatient_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
    with made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == forward.UNACKNOWLEDGED_MS


async def test_a_node_that_does_not_answer_is_596_with_its_name(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(knock, "PATIENCE_S", 0.05)  # it is knocked at meanwhile, and answers that
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/n2/hang", headers=headers) as answer:
        assert (answer.status, "node 'n2'" in (answer.reason or "")) == (596, True)


async def test_what_a_client_says_about_its_way_is_not_believed(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/n1/echo"
    for lie in (
        {"X-Forwarded-For": "1.2.3.4"},
        {"X-Forwarded-For": "1.2.3.4", "Connection": "X-Forwarded-For"},
        {"x-forwarded-for": "1.2.3.4"},
    ):
        async with cluster.client.get(url, headers=headers | lie) as answer:
            data = (await answer.json())["data"]
        assert (data["address"], data["user"]) == ("127.0.0.1", "root@pam")


async def test_of_two_credentials_both_daemons_read_the_same(cluster: "Cluster") -> None:
    good = (await cluster.login())["Cookie"].partition("=")[2]
    bad = "PVE:root@pam:00000000::AAAA"
    for first, second, status in ((good, bad, b"200"), (bad, good, b"401")):
        request = (
            "GET /api2/json/nodes/n1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: PVEAuthCookie={first}\r\nAuthorization: PVEAuthCookie={second}\r\n\r\n"
        )
        assert (await exchange(cluster, request.encode())).split()[1] == status


# Requests that are none


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api2/json/open HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Content-Length: 6\r\n\r\naaaaaGET /api2/json/open HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\naaaaa",
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /api2/json/open HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"GET /api2/json/open HTTP/1.1\r\nHost: x\r\nX\x00: a\r\n\r\n",
        b"GET /api2/json/open HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api2/json/open HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
    ids=[
        "both lengths", "two lengths", "blank before colon", "plus", "minus", "folded", "nul", "version",
        "long path", "long header", "TLS in TLS",
    ],
)  # fmt: skip
async def test_a_malformed_request_is_refused_once_and_its_connection_ended(
    cluster: "Cluster", request_bytes: bytes
) -> None:
    answer = await exchange(cluster, request_bytes)
    assert answer.count(b"HTTP/1.") == 1
    assert answer.split()[1] == b"400"
    assert b"welcome" not in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json;charset=UTF-8" in head
    assert json.loads(body)["message"].encode() in head.splitlines()[0], "the reason phrase is the sentence"
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/open") as fine:
        assert fine.status == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b'"x"', b"1", b'{"text":{"a":1}}', b'{"text":[[1]]}', b"\xff\xfe", b"[" * 100_000]
)
async def test_bad_json_is_one_sentence(cluster: "Cluster", body: bytes) -> None:
    headers = await cluster.login() | {"Content-Type": "application/json"}
    url = f"{cluster.n1.url}/api2/json/nodes/n1/echo"
    async with cluster.client.post(url, headers=headers, data=body) as answer:
        assert answer.status == 400
        assert len((await answer.json())["message"]) > 10


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_body_that_is_too_large_is_413(cluster: "Cluster", node: str) -> None:
    headers = await cluster.login() | {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{cluster.n1.url}/api2/json/nodes/{node}/echo"
    async with cluster.client.post(
        url, headers=headers, data=io.BytesIO(b"text=" + b"x" * (3 << 20))
    ) as answer:
        assert answer.status == 413
        assert (await answer.json())["message"] == "the body is too large\n"


@pytest.mark.parametrize("node", ["a%20b", "%5B%27null%27", "-n1", "n" * 70])
async def test_nothing_is_listed_below_what_can_be_no_node(cluster: "Cluster", node: str) -> None:
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/{node}", headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["errors"].keys() == {"node"}


@pytest.mark.parametrize("verb", ["PUT", "PATCH", "PROPFIND", "OPTIONS", "TRACE"])
async def test_a_verb_that_is_not_there_is_501(cluster: "Cluster", verb: str) -> None:
    headers = await cluster.login()
    async with cluster.client.request(verb, f"{cluster.n1.url}/api2/json/version", headers=headers) as answer:
        assert (answer.status, answer.reason) == (501, f"Method '{verb} /version' not implemented")


@pytest.mark.parametrize(
    "ticket",
    ["", "x", "PVE:", "PVE:root@pam", "PVE:root@pam:zzzzzzzz::AAAA", ":::::", "PVE:é@pam:0::=", "%00%ff"],
)
async def test_a_ticket_that_is_none_is_401(cluster: "Cluster", ticket: str) -> None:
    headers = {"Authorization": f"PVEAuthCookie={ticket}"}
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/version", headers=headers) as answer:
        assert answer.status == 401


async def test_an_expired_ticket_is_401_and_a_fresh_one_of_the_same_key_is_not(cluster: "Cluster") -> None:
    key = cluster.n1.services.get(Authentication)._keys.private
    for age_s, status in ((3 * 3600, 401), (60, 200)):
        headers = {"Authorization": f"PVEAuthCookie={user_ticket(key, 'root@pam', int(time.time()) - age_s)}"}
        async with cluster.client.get(f"{cluster.n1.url}/api2/json/version", headers=headers) as answer:
            assert answer.status == status
            if status == 401:
                assert answer.reason == "permission denied - invalid PVE ticket"


# Sentences


@pytest.mark.parametrize(
    "text",
    ["a\r\nSet-Cookie: x=y", "a\nb", "a\x00\x1b[31mb", "ü" * 3000, "\u2028", "", "\ud800", "\x7f", " " * 9],
)
def test_a_reason_is_one_line_of_at_most_a_thousand_bytes(text: str) -> None:
    made = reason(text)
    assert 0 < len(made.encode()) <= REASON_BYTES
    assert made.isprintable()


async def test_a_sentence_cannot_add_headers_and_is_whole_in_the_body(cluster: "Cluster") -> None:
    headers = await cluster.login()
    text = "no\x1b[31m " + "ä" * 1200 + "\r\nSet-Cookie: x=y"
    url = f"{cluster.n1.url}/api2/json/nodes/n2/say"
    async with cluster.client.get(url, headers=headers, params={"text": text}) as answer:
        assert "Set-Cookie" not in answer.headers
        assert len((answer.reason or "").encode()) <= REASON_BYTES
        assert (await answer.json())["message"] == text + "\n"


# Slow and many


async def test_a_head_that_comes_drop_by_drop_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every drop comes well within any limit on silence: only a whole head counts."""
    monkeypatch.setattr(listen, "KEEPALIVE_S", 1.0)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="fine")

    async with asyncio.timeout(20), listen.on_unix_socket(handle, tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        with suppress(ConnectionError):
            assert await reader.read() == b""
        dripping.cancel()
        writer.close()


async def test_a_body_that_does_not_come_is_one_sentence(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "BODY_TIMEOUT_S", 0.3)
    request = (
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\nuser"
    )
    async with asyncio.timeout(20), connection(cluster) as (reader, writer):
        writer.write(request)
        assert b"the body did not arrive within" in await reader.readuntil(b"\n")


async def test_a_thousand_connections_do_not_keep_the_next_one_out(cluster: "Cluster") -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    context = trusting()
    try:
        async with asyncio.timeout(100), AsyncExitStack() as stack:
            for _ in range(20):
                more = (stack.enter_async_context(connection(cluster, context)) for _ in range(50))
                await asyncio.gather(*more)
            async with cluster.client.get(f"{cluster.n1.url}/api2/json/open") as answer:
                assert answer.status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limits_on_waiting_are_finite() -> None:
    assert 0 < listen.KEEPALIVE_S <= 75
    assert 0 < api.BODY_TIMEOUT_S <= 30
