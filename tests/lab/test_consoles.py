"""Consoles of real guests through another node: display and serial port, shared, ended with a reason."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from lab_cluster import address
from lab_http import session
from test_migration import GUEST_OS, boot

from kvorum.guests.console import rfb

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(360)
Socket = aiohttp.ClientWebSocketResponse


class Browser:
    """Somebody logged in at one node's API."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._lab = cluster.lab
        self._base = f"https://{address(cluster.lab, node, 0)}:8006/api2"
        self._headers: dict[str, str] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Browser:
        self.client = await self._stack.enter_async_context(session(self._lab))
        await self.login("root@pam", self._lab.password)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def login(self, user: str, password: str) -> None:
        login = await self.post("/access/ticket", username=user, password=password)
        self._headers = {
            "Cookie": f"PVEAuthCookie={login['ticket']}",
            "CSRFPreventionToken": login["CSRFPreventionToken"],
        }

    async def post(self, path: str, **form: str) -> dict[str, Any]:
        async with self.client.post(f"{self._base}/json{path}", data=form, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            data: dict[str, Any] = (await answer.json())["data"]
        return data

    async def refused(self, path: str, **form: str) -> tuple[int, str]:
        async with self.client.post(f"{self._base}/json{path}", data=form, headers=self._headers) as answer:
            return answer.status, (await answer.json())["message"].strip()

    async def picture(self, path: str) -> bytes:
        async with self.client.get(f"{self._base}/png{path}", headers=self._headers) as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
            return await answer.read()

    @asynccontextmanager
    async def console(self, guest: str, offer: dict[str, Any]) -> AsyncIterator[Socket]:
        params = {"port": str(offer["port"]), "vncticket": offer["ticket"]}
        async with self.client.ws_connect(
            f"{self._base}/json{guest}/vncwebsocket",
            headers=self._headers,
            params=params,
            protocols=("binary",),
        ) as opened:
            assert opened.protocol == "binary"
            yield opened


async def framebuffer(console: Socket, password: str) -> tuple[int, int]:
    """Log in as noVNC does; width and height."""

    async def more() -> bytes | None:
        message = await console.receive()
        assert message.type is aiohttp.WSMsgType.BINARY, message
        return bytes(message.data)

    server = rfb.ByteStream(more)
    assert await server.exactly(12) == rfb.VERSION
    await console.send_bytes(rfb.VERSION)
    offered = await server.exactly((await server.exactly(1))[0])
    assert offered[0] == rfb.PASSWORD
    await console.send_bytes(bytes([rfb.PASSWORD]))
    await console.send_bytes(rfb.response(await server.exactly(16), password))
    assert await server.exactly(4) == bytes(4)
    await console.send_bytes(b"\1")
    width, height, *_ = struct.unpack(">HH", await server.exactly(4))
    return width, height


async def closing(console: Socket) -> str:
    """Read to the end; the reason that was given for it."""
    async with asyncio.timeout(60):
        while (message := await console.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
    assert message.type is aiohttp.WSMsgType.CLOSE
    return str(message.extra)


async def until(console: Socket, text: bytes) -> None:
    seen = b""
    async with asyncio.timeout(60):
        while text not in seen:
            seen += await console.receive_bytes()


def test_a_display_is_seen_through_another_node(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n2", "--memory", "64")
    cluster.say("n2", "qm", "set", str(vmid), "--vga", "std")
    cluster.say("n2", "qm", "start", str(vmid))
    cluster.say("n1", "pvesh", "create", "/access/users", "--userid", "eve@pve", "--password", "eve-eve-eve")
    cluster.say("n1", "pvesh", "set", "/access/acl", "--path", f"/vms/{vmid}", "--users", "eve@pve",
                "--roles", "PVEAuditor")  # fmt: skip
    try:
        asyncio.run(_display(cluster, vmid))
    finally:
        cluster.say("n1", "pvesh", "delete", "/access/users/eve@pve")


async def _display(cluster: Cluster, vmid: int) -> None:
    path = f"/nodes/n2/qemu/{vmid}"
    async with Browser(cluster, "n1") as root, Browser(cluster, "n1") as eve, AsyncExitStack() as stack:
        plain = await root.post(f"{path}/vncproxy", websocket="1")
        strict = await root.post(f"{path}/vncproxy", **{"generate-password": "1"})
        assert "BEGIN CERTIFICATE" in plain["cert"] and len(strict["password"]) == 8
        first = await stack.enter_async_context(root.console(path, plain))
        second = await stack.enter_async_context(root.console(path, strict))
        sizes = ((640, 480), (720, 400))  # before and after the firmware has set its mode
        assert await framebuffer(first, plain["ticket"]) in sizes
        assert await framebuffer(second, strict["password"]) in sizes

        picture = await root.picture(f"/kvorum{path}/screenshot")
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", picture[16:24]) in sizes

        await eve.login("eve@pve", "eve-eve-eve")
        assert await eve.refused(f"{path}/vncproxy") == (
            403, f"Permission check failed (/vms/{vmid}, VM.Console)")  # fmt: skip
        third = await root.post(f"{path}/vncproxy")
        with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
            async with eve.console(path, third):
                pass
        assert denied.value.status == 403
        status, said = await root.refused(f"{path}/spiceproxy")
        assert status == 500 and "SPICE wants 'vga: qxl'" in said
        assert (await root.refused(f"{path}/termproxy"))[1].startswith(f"VM {vmid} has no serial port")

        owned = cluster.say("n2", "sh", "-c", f"find /run/qemu-server -name '{vmid}.*' ! -user root")
        assert owned == "", "nothing of a console is another's than root's"
        await root.post(f"{path}/status/stop")
        reasons = {await closing(console) for console in (first, second)}
    assert reasons == {f"VM {vmid} is off (stopped by request)"}


def test_a_serial_port_is_shared_and_a_migration_says_where_the_guest_went(
    cluster: Cluster, guest: Maker
) -> None:
    vmid = guest("n1", *GUEST_OS)
    boot(cluster, vmid)
    asyncio.run(_serial(cluster, vmid))


async def _serial(cluster: Cluster, vmid: int) -> None:
    path = f"/nodes/n1/qemu/{vmid}"
    async with Browser(cluster, "n2") as root, AsyncExitStack() as stack:
        consoles = []
        for _ in range(2):
            offer = await root.post(f"{path}/termproxy")
            console = await stack.enter_async_context(root.console(path, offer))
            await console.send_str(f"root@pam:{offer['ticket']}\n")
            assert await console.receive_bytes() == b"OK"
            consoles.append(console)
        for console in consoles:
            await until(console, b"count ")
        with cluster.lab.popen("n1", ["qm", "terminal", str(vmid)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE) as terminal:  # fmt: skip
            assert terminal.stdout and terminal.stdin
            seen = b""
            while b"count " not in seen:
                seen += await asyncio.to_thread(terminal.stdout.read1)
            terminal.stdin.write(b"\x0f")
            terminal.stdin.flush()
            assert await asyncio.to_thread(terminal.wait, 30) == 0
        moved = asyncio.create_task(
            asyncio.to_thread(cluster.say, "n1", "qm", "migrate", str(vmid), "n3", "--online", "1")
        )
        reasons = {await closing(console) for console in consoles}
        await moved
        assert reasons == {f"VM {vmid} has moved to node 'n3': open its console anew"}
        path = f"/nodes/n3/qemu/{vmid}"
        offer = await root.post(f"{path}/termproxy")
        async with root.console(path, offer) as console:
            await console.send_str(f"root@pam:{offer['ticket']}\n")
            await until(console, b"count ")


def test_waiting_for_a_guest_ends_when_it_is_off(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n1")
    cluster.say("n1", "qm", "start", str(vmid))
    assert f"VM {vmid} still runs after 1 s" in cluster.fails("n1", "qm", "wait", str(vmid), "--timeout", "1")
    with cluster.lab.popen("n1", ["qm", "wait", str(vmid)], stdin=subprocess.DEVNULL) as waiting:
        cluster.say("n1", "qm", "stop", str(vmid))
        assert waiting.wait(30) == 0
    assert "does not exist" in cluster.fails("n1", "qm", "wait", "7999")
    states = json.loads(cluster.say("n1", "pvesh", "get", "/nodes/n1/tasks", "--output-format", "json"))
    assert all(task["type"] != "qmwait" for task in states)
