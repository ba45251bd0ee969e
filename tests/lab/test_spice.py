"""SPICE on lab nodes: the file from one node, the channels through its proxy, the guest on another."""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from typing import TYPE_CHECKING

import pytest
from lab_cluster import address
from test_consoles import Browser

from kvorum.guests.console import spice_link

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)
MAIN, DISPLAY = 1, 2
File = dict[str, str]


class Channel:
    """One channel, as virt-viewer opens it by its file."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def link(self, password: str, kind: int = MAIN, connection: int = 0) -> int:
        """Ask for it; what QEMU says in the end, 0 being yes."""
        async with asyncio.timeout(30):
            self._writer.write(spice_link.hello(kind, connection))
            head = await self._reader.readexactly(16)
            reply = head + await self._reader.readexactly(struct.unpack_from("<I", head, 12)[0])
            self._writer.write(spice_link.answer(reply, password))
            return int(struct.unpack("<I", await self._reader.readexactly(4))[0])

    async def session(self) -> int:
        """The session's number, from the main channel's first message (SPICE_MSG_MAIN_INIT)."""
        async with asyncio.timeout(30):
            while True:
                kind, size = struct.unpack("<HI", await self._reader.readexactly(6))
                body = await self._reader.readexactly(size)
                if kind == 103:
                    return int(struct.unpack_from("<I", body)[0])

    async def ended(self) -> None:
        async with asyncio.timeout(30):
            while await self._reader.read(1 << 16):
                pass
        self._writer.close()


async def said(
    cluster: Cluster, node: str, ticket: str
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask a node's proxy; its answer's first line, and the connection."""
    plain = cluster.lab.socket()
    plain.setblocking(False)
    async with asyncio.timeout(30):
        await asyncio.get_running_loop().sock_connect(plain, (address(cluster.lab, node, 0), 3128))
        reader, writer = await asyncio.open_connection(sock=plain)
        writer.write(f"CONNECT {ticket}:61000 HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n")[0], reader, writer


async def opened(cluster: Cluster, node: str, file: File) -> Channel:
    line, reader, writer = await said(cluster, node, file["host"])
    assert line == b"HTTP/1.0 200 Connection established"
    context = ssl.create_default_context(cadata=file["ca"].replace("\\n", "\n"))
    context.check_hostname = False
    await writer.start_tls(context)
    subject = ",".join(value for part in writer.get_extra_info("peercert")["subject"] for _, value in part)
    assert subject == ",".join(part.partition("=")[2] for part in file["host-subject"].split(","))
    return Channel(reader, writer)


async def asked(browser: Browser, path: str) -> File:
    """The file as a browser saves it."""
    base, headers = browser._base, browser._headers
    async with browser.client.post(f"{base}/spiceconfig{path}/spiceproxy", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-virt-viewer"), await answer.text()
        group, *lines = (await answer.text()).splitlines()
    assert group == "[virt-viewer]"
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_a_guest_is_looked_at_by_spice_through_another_node(cluster: Cluster, guest: Maker) -> None:
    vmid = guest("n2", "--memory", "64")
    cluster.say("n2", "qm", "set", str(vmid), "--vga", "qxl", "--audio0", "device=AC97", "--usb0", "spice")
    cluster.say("n2", "qm", "start", str(vmid))
    for node in ("n1", "n2"):
        assert cluster.say(node, "systemctl", "is-active", "spiceproxy.socket") == "active"
    asyncio.run(_looked_at(cluster, vmid))
    assert cluster.say("n2", "sh", "-c", f"ss -Htlnp | grep -c pid={cluster.pid('n2', vmid)}, || true") == "0"
    cluster.say("n2", "systemctl", "restart", "pvedaemon")
    asyncio.run(_again(cluster, vmid))


async def _looked_at(cluster: Cluster, vmid: int) -> None:
    path = f"/nodes/n2/qemu/{vmid}"
    async with Browser(cluster, "n1") as root:
        file = await asked(root, path)
        assert file["proxy"] == f"http://{address(cluster.lab, 'n2', 0)}:3128"
        assert "CN=n2" in file["host-subject"] and file["type"] == "spice"
        main = await opened(cluster, "n1", file)
        assert await main.link(file["password"]) == spice_link.OK
        display = await opened(cluster, "n2", file)
        assert await display.link(file["password"], DISPLAY, await main.session()) == spice_link.OK
        wrong = await opened(cluster, "n1", file)
        assert await wrong.link("guessed") == spice_link.PERMISSION_DENIED

        line, _, writer = await said(cluster, "n1", file["host"].replace(f":{vmid}:", ":9999:"))
        writer.close()
        assert line == b"HTTP/1.0 403 Forbidden"
        line, _, writer = await said(cluster, "n1", "www.example")
        writer.close()
        assert line == b"HTTP/1.0 403 Forbidden"

        began = time.monotonic()
        await root.post(f"{path}/status/reset")  # the guest begins anew, and its display goes on
        await root.post(f"{path}/status/stop")
        await main.ended()
        await display.ended()
        assert time.monotonic() - began < 30
        status, sentence = await root.refused(f"{path}/spiceproxy")
        assert status == 500 and "not running" in sentence
        cluster.until("n2", f"qm status {vmid} | grep -q stopped")
        await root.post(f"{path}/status/start")
        cluster.until("n2", f"qm status {vmid} | grep -q running")


async def _again(cluster: Cluster, vmid: int) -> None:
    """After the daemon has begun anew: an old ticket leads nowhere, a new file to the guest."""
    async with Browser(cluster, "n2") as root:
        file = await asked(root, f"/nodes/n2/qemu/{vmid}")
        main = await opened(cluster, "n1", file)
        assert await main.link(file["password"]) == spice_link.OK
        await root.post(f"/nodes/n2/qemu/{vmid}/status/stop")
        await main.ended()


def test_the_proxy_costs_nothing_while_nobody_uses_it(cluster: Cluster) -> None:
    """It is begun by a client. That it ends itself is in tests/unit/server/test_spiceproxy.py."""
    cluster.say("n3", "systemctl", "stop", "spiceproxy.service")
    cluster.until("n3", "systemctl is-active -q spiceproxy.socket")

    async def ask() -> bytes:
        line, _, writer = await said(cluster, "n3", "pvespiceproxy:none")
        writer.close()
        return line

    assert asyncio.run(ask()) == b"HTTP/1.0 403 Forbidden"
    cluster.until("n3", "systemctl is-active -q spiceproxy.service")
