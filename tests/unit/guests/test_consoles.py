"""Consoles of real QEMUs: displays and serial ports, shared, and ended by what ends the guest."""

from __future__ import annotations

import asyncio
import shutil
import signal
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import guests_world
import pytest
from guests_world import MemoryStore, Node
from websocket_ends import Ends

from kvorum.core.errors import KvorumError
from kvorum.guests.console import SerialPorts, display, rfb
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import commandline
from kvorum.store import Rename

pytestmark = pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
ECHO = bytes.fromhex("baf803 b03e ee bafd03 ec a801 74f8 baf803 ec ee ebf1")
"""A boot sector: ``out 0x3f8, '>'``; then for ever: when 0x3fd says so, ``in`` from 0x3f8, ``out`` to it."""
SEEN = "memory: 32\nserial0: socket\nboot: order=net0\n"


class Client(Ends):
    """A client of a display or a serial port."""

    async def until(self, text: bytes) -> None:
        seen = b""
        async with asyncio.timeout(30):
            while text not in seen:
                seen += await self.shown.get()

    async def size(self, password: str) -> tuple[int, int]:
        """Log in as a VNC client does; width and height of the display."""
        async with asyncio.timeout(30):
            assert await self.stream.exactly(12) == rfb.VERSION
            await self.put(rfb.VERSION)
            offered = await self.stream.exactly((await self.stream.exactly(1))[0])
            assert rfb.PASSWORD in offered
            await self.put(bytes([rfb.PASSWORD]))
            await self.put(rfb.response(await self.stream.exactly(16), password))
            assert await self.stream.exactly(4) == bytes(4)
            await self.put(b"\0")  # it wants the display for itself, and gets it shared
            width, height = struct.unpack(">HH", await self.stream.exactly(4))
        return width, height


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node("n1", tmp_path, MemoryStore("n1"), await guests_world.qemu_facts())
    yield node
    await node.close()


async def start(node: Node, text: str = SEEN) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", text)
    await node.manager.start(100)


def is_seen(size: tuple[int, int]) -> bool:
    """A display's size; the firmware changes it while the guest starts."""
    return size in ((640, 480), (720, 400))


def shown(node: Node, client: Client, password: str = "12345678") -> asyncio.Task[str]:
    guest = node.manager.need_running(100)
    return asyncio.create_task(display.show(client, node.manager, guest, password, demanded=True))


async def test_two_look_at_one_display_and_the_guests_end_ends_both(node: Node) -> None:
    await start(node)
    clients = Client(), Client()
    talks = [shown(node, client) for client in clients]
    sizes = [await client.size("12345678") for client in clients]
    assert all(is_seen(size) for size in sizes)
    await node.manager.stop(100)
    async with asyncio.timeout(30):
        assert [await talk for talk in talks] == ["VM 100 is off (stopped by request)"] * 2


async def test_a_client_that_goes_leaves_the_other(node: Node) -> None:
    await start(node)
    first, second = Client(), Client()
    talks = shown(node, first), shown(node, second)
    for client in (first, second):
        await client.size("12345678")
    await first.close()
    assert await talks[0] == ""
    await second.put(struct.pack(">BBHHHH", 3, 0, 0, 0, 16, 16))  # FramebufferUpdateRequest
    async with asyncio.timeout(30):
        await second.stream.exactly(24)  # the rest of ServerInit: pixel format and name
        assert not talks[1].done()
    await second.close()
    assert await talks[1] == ""


async def test_a_wrong_password_shows_nothing(node: Node) -> None:
    await start(node)
    client = Client()
    talk = shown(node, client, "right123")
    with pytest.raises(AssertionError):
        await client.size("wrong123")
    with pytest.raises(KvorumError, match="password is wrong"):
        await talk


async def test_a_killed_qemu_is_told(node: Node) -> None:
    await start(node)
    client = Client()
    talk = shown(node, client)
    await client.size("12345678")
    node.manager.need_running(100).process.signal(signal.SIGKILL)
    assert await talk == "VM 100: QEMU died; its last output is in the log of node 'n1'"


async def test_a_guest_that_moves_away_says_where(node: Node) -> None:
    await start(node)
    client, guest = Client(), node.manager.need_running(100)
    talk = shown(node, client)
    await client.size("12345678")
    await node.store.write("nodes/n2/qemu-server/101.conf", "memory: 32\n")  # another's, and its folder
    await node.store.transact([Rename("nodes/n1/qemu-server/100.conf", "nodes/n2/qemu-server/100.conf")])
    await guest.stop("migrated to 'n2'")
    assert await talk == "VM 100 has moved to node 'n2': open its console anew"


async def test_a_guest_of_an_earlier_version_is_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = commandline.command_line
    monkeypatch.setattr(
        "kvorum.guests.machine.guest.command_line",
        lambda *a, **k: [w for w in whole(*a, **k) if w not in ("-vnc", commandline.CONSOLES)],
    )
    await start(node)
    client = Client()
    talk = shown(node, client)
    login = asyncio.create_task(client.size("12345678"))
    with pytest.raises(GuestError, match="stop it and start it again"):
        await talk
    login.cancel()
    await asyncio.gather(login, return_exceptions=True)


async def test_many_consoles_are_opened_at_once(node: Node) -> None:
    """Each descriptor reaches its own command, though QEMU keeps only the one that came last."""
    await start(node)
    clients = [Client() for _ in range(12)]
    talks = [shown(node, client) for client in clients]
    sizes = await asyncio.gather(*(client.size("12345678") for client in clients))
    assert all(is_seen(size) for size in sizes)
    for client in clients:
        await client.close()
    assert await asyncio.gather(*talks) == [""] * 12


async def test_a_picture_of_the_display_is_a_png_of_root_alone(node: Node) -> None:
    await start(node)
    guest, path = node.manager.need_running(100), node.paths.guests_run / "100.png"
    await asyncio.gather(*(display.picture(guest, path) for _ in range(3)))
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_mode & 0o777 == 0o600
    await node.manager.stop(100)
    assert [p.name for p in node.paths.guests_run.iterdir()] == ["100.log"]


async def test_a_guest_without_display_has_no_picture(node: Node) -> None:
    await start(node, "memory: 32\nvga: none\n")
    with pytest.raises(GuestError, match="no display to take a picture of"):
        await display.picture(node.manager.need_running(100), node.paths.guests_run / "100.png")
    assert not list(node.paths.guests_run.glob("*.png*"))


async def speaking(node: Node) -> None:
    """A guest that writes ``>`` to its serial port, then what is typed there."""
    volume = await node.storages.get("local").allocate(100, 1 << 20, "raw")
    node.storages.of(volume).path(volume).write_bytes(ECHO.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 19))
    await start(node, f"memory: 32\nvga: none\nserial0: socket\nide0: {volume}\nboot: order=ide0\n")


async def looking(node: Node, ports: SerialPorts) -> tuple[Client, asyncio.Task[str]]:
    """Somebody who looks at the port and is answered."""
    client, guest = Client(), node.manager.need_running(100)
    talk = asyncio.create_task(ports.show(client, guest, "serial0"))
    answered = asyncio.create_task(client.until(b"x"))
    async with asyncio.timeout(30):
        while not answered.done():  # what is typed before the guest has booted, the firmware throws away
            await client.put(b"0:1:x")
            await asyncio.wait({answered}, timeout=0.1)
    return client, talk


async def test_a_serial_port_is_shared_and_ends_with_its_guest(node: Node) -> None:
    await speaking(node)
    ports = SerialPorts(node.manager)
    (first, first_talk), (second, second_talk) = await looking(node, ports), await looking(node, ports)
    await first.put(b"0:5:hello1:80:24:2")
    await asyncio.gather(first.until(b"hello"), second.until(b"hello"))
    await first.close()
    assert await first_talk == ""
    await second.put(b"0:5:still")
    await second.until(b"still")
    await node.manager.stop(100)
    assert await second_talk == "VM 100 is off (stopped by request)"


async def test_a_port_that_nobody_looks_at_is_free_for_other_tools(node: Node) -> None:
    await speaking(node)
    client, talk = await looking(node, SerialPorts(node.manager))
    await client.close()
    assert await talk == ""
    reader, writer = await asyncio.open_unix_connection(str(node.paths.guests_run / "100.serial0"))
    writer.write(b"another tool")
    async with asyncio.timeout(30):
        assert b"another tool" in await reader.readuntil(b"tool")
    writer.close()
    await writer.wait_closed()


async def test_a_client_of_another_protocol_is_told(node: Node) -> None:
    await start(node, "memory: 32\nvga: none\nserial0: socket\n")
    ports, client = SerialPorts(node.manager), Client()
    await client.put(b"GET / HTTP/1.1")
    with pytest.raises(KvorumError, match="does not speak the terminal's protocol"):
        await ports.show(client, node.manager.need_running(100), "serial0")
