"""Websockets of methods: here and through another node over mTLS; a node's shell over one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from kvorum.core.errors import KvorumError
from kvorum.node.methods import terminal
from kvorum.node.terminal import session
from kvorum.tasks import TaskRunner
from kvorum.tasks.consoles import Consoles, Wanted


def url(cluster: Any, path: str) -> str:
    return f"{cluster.n1.url}/api2/json/nodes/{path}"


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_messages_pass_both_ways(cluster: Any, node: str) -> None:
    headers = await cluster.login()
    async with cluster.client.ws_connect(
        url(cluster, f"{node}/parrot"), headers=headers, protocols=("binary",)
    ) as socket:
        assert socket.protocol == "binary"
        await socket.send_bytes(b"hello")
        assert await socket.receive_bytes() == f"{node} hello".encode()
        await socket.send_str("text")
        assert await socket.receive_bytes() == f"{node} text".encode()
        big = bytes(1 << 20)
        await socket.send_bytes(big)
        assert await socket.receive_bytes() == f"{node} ".encode() + big


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_an_error_of_the_talk_is_the_reason_of_its_end(cluster: Any, node: str) -> None:
    async with cluster.client.ws_connect(
        url(cluster, f"{node}/parrot"), headers=await cluster.login()
    ) as socket:
        await socket.send_bytes(b"die")
        end = await socket.receive()
        assert (end.type, end.data, end.extra) == (WSMsgType.CLOSE, 1008, "the parrot is dead")


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_what_is_wrong_is_said_before_it_opens(cluster: Any, node: str) -> None:
    headers = await cluster.login()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await cluster.client.ws_connect(url(cluster, f"{node}/parrot?text=no"), headers=headers)
    assert refused.value.status == 500
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await cluster.client.ws_connect(url(cluster, f"{node}/parrot"))
    assert refused.value.status == 401
    async with cluster.client.get(url(cluster, f"{node}/parrot"), headers=headers) as answer:
        assert answer.status == 400 and "Upgrade: websocket" in (await answer.json())["message"]


@pytest.fixture
def shells(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both nodes give terminals, with a plain shell on them."""
    assert terminal, "its import declares the methods, before the nodes are started"
    monkeypatch.setattr(session, "command", lambda user: ["/bin/sh"])


async def ask(cluster: Any, headers: dict[str, str], node: str = "n2") -> dict[str, Any]:
    async with cluster.client.post(url(cluster, f"{node}/termproxy"), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        data: dict[str, Any] = (await answer.json())["data"]
    return data


@asynccontextmanager
async def opened(
    cluster: Any, headers: dict[str, str], offer: dict[str, Any], node: str = "n2"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    params = {"port": str(offer["port"]), "vncticket": offer["ticket"]}
    async with cluster.client.ws_connect(
        url(cluster, f"{node}/vncwebsocket"), headers=headers, params=params, protocols=("binary",)
    ) as socket:
        yield socket


async def until(socket: aiohttp.ClientWebSocketResponse, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(15):
        while text not in seen:
            seen += await socket.receive_bytes()
    return seen


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_shell_is_had_over_a_websocket(cluster: Any, shells: None, node: str) -> None:
    headers = await cluster.login()
    offer = await ask(cluster, headers, node)
    assert offer["user"] == "root@pam" and 5900 <= offer["port"] <= 5999
    async with opened(cluster, headers, offer, node) as socket:
        await socket.send_str(f"root@pam:{offer['ticket']}\n")
        assert await socket.receive_bytes() == b"OK"
        await socket.send_str("1:132:43:")
        typed = "stty size; echo $((6 * 7))-$TERM\n"
        await socket.send_str(f"0:{len(typed)}:{typed}2")
        seen = await until(socket, b"42-xterm-256color")
        assert b"43 132" in seen
        await socket.send_str("0:5:exit\n")
        async with asyncio.timeout(15):
            while (message := await socket.receive()).type is WSMsgType.BINARY:
                pass
        assert message.type is WSMsgType.CLOSE
    runner = getattr(cluster, node).services.get(TaskRunner)
    assert (await runner.wait(offer["upid"], 15)).status == "OK"


async def test_a_client_that_goes_ends_the_shell(cluster: Any, shells: None) -> None:
    headers = await cluster.login()
    offer = await ask(cluster, headers)
    async with opened(cluster, headers, offer) as socket:
        await socket.send_str(f"root@pam:{offer['ticket']}\n")
        assert await socket.receive_bytes() == b"OK"
    assert (await cluster.n2.services.get(TaskRunner).wait(offer["upid"], 15)).status == "OK"


async def test_a_stopped_task_closes_the_terminal(cluster: Any, shells: None) -> None:
    headers = await cluster.login()
    offer = await ask(cluster, headers)
    async with opened(cluster, headers, offer) as socket:
        await socket.send_str(f"root@pam:{offer['ticket']}\n")
        assert await socket.receive_bytes() == b"OK"
        await cluster.n2.services.get(TaskRunner).stop(offer["upid"], "root@pam")
        async with asyncio.timeout(15):
            while (message := await socket.receive()).type is WSMsgType.BINARY:
                pass
        assert message.type is WSMsgType.CLOSE


async def test_a_console_belongs_to_its_ticket_and_to_one_client(cluster: Any, shells: None) -> None:
    headers = await cluster.login()
    offer, other = await ask(cluster, headers), await ask(cluster, headers, "n1")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with opened(cluster, headers, offer | {"ticket": other["ticket"]}):
            pass
    assert refused.value.status == 401, "a ticket for another node's console"
    async with opened(cluster, headers, offer) as socket:
        await socket.send_str("root@pam:PVEVNC:nonsense\n")
        end = await socket.receive()
        assert end.type is WSMsgType.CLOSE and "invalid PVEVNC ticket" in str(end.extra)
    async with opened(cluster, headers, offer) as socket:
        await socket.send_str(f"root@pam:{offer['ticket']}\n")
        assert await socket.receive_bytes() == b"OK"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with opened(cluster, headers, offer):
                pass
        assert refused.value.status == 500


async def test_a_client_that_speaks_otherwise_is_told(cluster: Any, shells: None) -> None:
    headers = await cluster.login()
    offer = await ask(cluster, headers)
    async with opened(cluster, headers, offer) as socket:
        await socket.send_str(f"root@pam:{offer['ticket']}\n")
        assert await socket.receive_bytes() == b"OK"
        await socket.send_str("RFB 003.008\n")
        async with asyncio.timeout(15):
            while (await socket.receive()).type is WSMsgType.BINARY:
                pass
    record = await cluster.n2.services.get(TaskRunner).wait(offer["upid"], 15)
    assert "does not speak the terminal's protocol" in record.status


def test_consoles_come_to_an_end() -> None:
    async def reserve() -> None:
        held, nothing = Consoles(), Wanted("/nodes/n1", lambda socket: session.shell(socket, "root@pam"))
        for _ in range(100):
            held.reserve("root@pam", nothing)
        with pytest.raises(KvorumError, match="100 consoles are open"):
            held.reserve("root@pam", nothing)

    asyncio.run(reserve())
