"""SPICE on lab nodes: the file from one node, the channels through its proxy, the guest on another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lab_cluster import address
from spice_client import DISPLAY, OK, PERMISSION_DENIED, SpiceChannel
from test_consoles import Browser

from kvorum.access import SpiceTicket
from kvorum.access.tickets import spice_ticket

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(240)
File = dict[str, str]
ANEW = "no SPICE session waits with this ticket: ask for a new file"


class Channel(SpiceChannel):
    """One channel, as virt-viewer opens it by its file: by CONNECT and TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader, self._writer = reader, writer

    async def exactly(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def put(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def ended(self) -> None:
        async with asyncio.timeout(60):
            while await self._reader.read(1 << 16):
                pass
        await gone(self._writer)


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close it, and wait until it is."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def connected(
    cluster: Cluster, node: str, ticket: str
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask a node's proxy; the first line that it answers, and the connection."""
    plain = cluster.lab.socket()
    plain.setblocking(False)
    async with asyncio.timeout(30):
        await asyncio.get_running_loop().sock_connect(plain, (address(cluster.lab, node, 0), 3128))
        reader, writer = await asyncio.open_connection(sock=plain)
        writer.write(f"CONNECT {ticket}:61000 HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), reader, writer


async def refusal(cluster: Cluster, node: str, ticket: str) -> str:
    """Why a node's proxy does not open a channel."""
    line, reader, writer = await connected(cluster, node, ticket)
    assert line == "HTTP/1.0 403 Forbidden"
    async with asyncio.timeout(30):
        sentence = await reader.read()
    await gone(writer)
    return sentence.decode().strip()


async def opened(cluster: Cluster, node: str, file: File) -> Channel:
    line, reader, writer = await connected(cluster, node, file["host"])
    assert line == "HTTP/1.0 200 Connection established"
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


async def watched(cluster: Cluster, browser: Browser, node: str, path: str) -> tuple[File, Channel]:
    """A new file, and its main channel through a node's proxy."""
    file = await asked(browser, path)
    main = await opened(cluster, node, file)
    assert await main.link(file["password"]) == OK
    return file, main


def made(cluster: Cluster, guest: Maker) -> int:
    """A guest that runs on n2 with all that a SPICE client may have."""
    vmid = guest("n2", "--memory", "64")
    cluster.say("n2", "qm", "set", str(vmid), "--vga", "qxl", "--audio0", "device=AC97", "--usb0", "spice",
                "--spice_enhancements", "foldersharing=1")  # fmt: skip
    cluster.say("n2", "qm", "start", str(vmid))
    return vmid


def test_a_guest_is_looked_at_by_spice_through_another_node(cluster: Cluster, guest: Maker) -> None:
    vmid = made(cluster, guest)
    asyncio.run(_looked_at(cluster, vmid))


async def _looked_at(cluster: Cluster, vmid: int) -> None:
    path = f"/nodes/n2/qemu/{vmid}"
    listening = f"ss -Htlnp | grep -c pid={cluster.pid('n2', vmid)}, || true"
    async with Browser(cluster, "n1") as root:
        file, main = await watched(cluster, root, "n1", path)
        assert file["proxy"] == f"http://{address(cluster.lab, 'n2', 0)}:3128"
        assert "CN=n2" in file["host-subject"] and file["type"] == "spice"
        number = await main.session_number()
        display = await opened(cluster, "n1", file)
        assert await display.link(file["password"], DISPLAY, number) == OK
        picture = await display.picture()
        assert (picture.width, picture.height) in ((640, 480), (720, 400)) and picture.colours > 1
        assert cluster.say("n2", "sh", "-c", listening) == "0\n", "QEMU listens nowhere"

        near = await opened(cluster, "n2", file)
        assert await near.link("guessed") == PERMISSION_DENIED
        await near.ended()
        for ticket in (file["host"].replace(f":{vmid}:", ":9999:"), _old(cluster, file["host"])):
            for node in ("n1", "n2"):
                assert await refusal(cluster, node, ticket) == (
                    "the ticket is no valid one, or too old: ask for a new file"
                )
        assert "guests of this cluster alone" in await refusal(cluster, "n1", "www.example")

        await root.post(f"{path}/status/stop")
        for channel in (main, display):
            await channel.ended()
        for node in ("n1", "n2"):
            assert await refusal(cluster, node, file["host"]) == ANEW, "a ticket leads to one session"
        status, sentence = await root.refused(f"{path}/spiceproxy")
        assert status == 500 and "not running" in sentence


def _old(cluster: Cluster, ticket: str) -> str:
    """The same ticket, as it would have been given an hour ago."""
    key = load_pem_private_key(cluster.say("n1", "cat", "/etc/pve/priv/authkey.key").encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    _, _, vmid, node, session, _ = ticket.split(":")
    return spice_ticket(key, SpiceTicket(int(vmid), node, session), time.time() - 3600)


def test_who_looks_by_spice_asks_anew_after_a_restart_and_a_migration(cluster: Cluster, guest: Maker) -> None:
    vmid = made(cluster, guest)
    pid = cluster.pid("n2", vmid)
    asyncio.run(_restarted(cluster, vmid))
    assert cluster.pid("n2", vmid) == pid, "the guest runs on"
    asyncio.run(_migrated(cluster, vmid))


async def _restarted(cluster: Cluster, vmid: int) -> None:
    """With either daemon the channels end, and with them what the file was for."""
    for unit in ("spiceproxy", "pvedaemon"):
        async with Browser(cluster, "n1") as root:
            file, main = await watched(cluster, root, "n1", f"/nodes/n2/qemu/{vmid}")
            await asyncio.to_thread(cluster.say, "n2", "systemctl", "restart", unit)
            await main.ended()
            await asyncio.to_thread(cluster.settled)
            assert await refusal(cluster, "n1", file["host"]) == ANEW


async def _migrated(cluster: Cluster, vmid: int) -> None:
    """QEMU ends the client's channels when it has moved; also a file that nobody has opened yet ends."""
    async with Browser(cluster, "n1") as root:
        _, main = await watched(cluster, root, "n1", f"/nodes/n2/qemu/{vmid}")
        unused = await asked(root, f"/nodes/n2/qemu/{vmid}")
        await asyncio.to_thread(cluster.say, "n2", "qm", "migrate", str(vmid), "n1", "--online", "1")
        await main.ended()
        assert await refusal(cluster, "n1", unused["host"]) == ANEW
        shown = cluster.say("n2", "pvesh", "get", "/nodes/n2/tasks", "--vmid", str(vmid), "--typefilter",
                            "spiceproxy", "--limit", "2", "--output-format", "json")  # fmt: skip
        tasks = json.loads(shown)
        assert len(tasks) == 2
        logs = [str(cluster.get("n2", f"/nodes/n2/tasks/{task['upid']}/log")) for task in tasks]
        assert all(f"VM {vmid} has moved to node 'n1': open its console anew" in log for log in logs), logs
        _, main = await watched(cluster, root, "n2", f"/nodes/n1/qemu/{vmid}")
        await root.post(f"/nodes/n1/qemu/{vmid}/status/stop")
        await main.ended()


def test_the_proxy_costs_nothing_while_nobody_uses_it_and_may_do_little(cluster: Cluster) -> None:
    """It is begun by a client. That it ends itself is in tests/unit/server/test_spiceproxy.py."""
    cluster.say("n3", "systemctl", "stop", "spiceproxy.service")
    cluster.until("n3", "systemctl is-active -q spiceproxy.socket")
    assert cluster.say("n3", "sh", "-c", "pgrep -fc '[k]vorum.server.spiceproxy' || true") == "0\n"
    assert "ask for a new file" in asyncio.run(refusal(cluster, "n3", "pvespiceproxy:none"))
    pid = cluster.say("n3", "systemctl", "show", "-P", "MainPID", "spiceproxy.service").strip()
    status = dict(
        line.split(":\t", 1) for line in cluster.say("n3", "cat", f"/proc/{pid}/status").splitlines()
    )
    user = cluster.say("n3", "id", "-u", "www-data").strip()
    assert set(status["Uid"].split()) == {user}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
