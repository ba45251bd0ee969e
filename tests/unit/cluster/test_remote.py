"""The peer's API behind its certificate: pinned, logged in, and its refusals in its own words."""

import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kvorum.cluster.certificates import Pair, fingerprint, make_authority, make_node
from kvorum.cluster.peer import RemotePeer
from kvorum.cluster.remote import GONE_S, RemoteNode, _watched, peer_fingerprint
from kvorum.core.errors import AuthenticationError, KvorumError, Unreachable


async def login(request: web.Request) -> web.Response:
    form = await request.post()
    if form["password"] != "right":
        return web.json_response({"data": None}, status=401, reason="authentication failure")
    return web.json_response({"data": {"ticket": "PVE:root@pam:x::y", "CSRFPreventionToken": "token"}})


async def add(request: web.Request) -> web.Response:
    assert request.headers["CSRFPreventionToken"] == "token"
    assert request.headers["Cookie"] == "PVEAuthCookie=PVE:root@pam:x::y"
    form = await request.post()
    if request.match_info["node"] == "taken":
        return web.json_response(
            {"message": "can't add existing node 'taken'\n"}, status=500, reason="can't add"
        )
    return web.json_response({"data": {"corosync_conf": str(form["link0"]), "corosync_authkey": "a2V5"}})


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[tuple[TestServer, Pair]]:
    now = datetime.datetime.now(datetime.UTC)
    pair = make_node(make_authority(now), "n1", "", ["127.0.0.1"], now)
    (tmp_path / "pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    application = web.Application()
    application.router.add_post("/api2/json/access/ticket", login)
    application.router.add_post("/api2/json/cluster/config/nodes/{node}", add)
    server = TestServer(application, scheme="https")
    await server.start_server(ssl=context)
    yield server, pair
    await server.close()


async def test_the_fingerprint_can_be_looked_at_before(peer: tuple[TestServer, Pair]) -> None:
    server, pair = peer
    assert server.port is not None
    assert await peer_fingerprint("127.0.0.1", server.port) == fingerprint(pair.certificate)


async def test_the_right_certificate_and_password_get_in(peer: tuple[TestServer, Pair]) -> None:
    server, pair = peer
    assert server.port is not None
    async with RemoteNode("127.0.0.1", "right", fingerprint(pair.certificate), port=server.port) as remote:
        assert await RemotePeer(remote, "n2", {"link0": "10.0.0.2"}).admit() == {
            "configuration": "10.0.0.2",
            "key": "a2V5",
        }
        with pytest.raises(KvorumError, match=r"127\.0\.0\.1: can't add existing node 'taken'"):
            await RemotePeer(remote, "taken", {"link0": "10.0.0.2"}).admit()


async def test_a_wrong_password_says_so(peer: tuple[TestServer, Pair]) -> None:
    server, pair = peer
    assert server.port is not None
    with pytest.raises(AuthenticationError, match="refuses the password of root@pam"):
        async with RemoteNode("127.0.0.1", "wrong", fingerprint(pair.certificate), port=server.port):
            pass


async def test_another_certificate_is_refused_before_the_password_is_sent(
    peer: tuple[TestServer, Pair],
) -> None:
    server, pair = peer
    assert server.port is not None
    other = ":".join(["AB"] * 32)
    with pytest.raises(KvorumError, match="shows another certificate") as caught:
        async with RemoteNode("127.0.0.1", "right", other, port=server.port):
            pass
    assert fingerprint(pair.certificate) in str(caught.value) and other in str(caught.value)


async def test_nobody_there_is_a_sentence(unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.1"):
        await peer_fingerprint("127.0.0.1", unused_tcp_port)
    with pytest.raises(KvorumError, match="is not a SHA-256 fingerprint"):
        RemoteNode("127.0.0.1", "right", "AB:CD")


async def test_a_peer_that_goes_silent_is_noticed_by_the_connection_itself() -> None:
    made = _watched((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 8006)))
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GONE_S * 1000
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < GONE_S
