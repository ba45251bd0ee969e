"""SPICE from a real QEMU: channels by a session's password, the agents' ports, and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from command_lines import FACTS, build
from guests_world import MemoryStore, Node, spice_facts
from spice_client import AUTH_SELECTION, DISPLAY, MAIN, USUAL, Client
from stand_ins import Lines

from kvorum.core.errors import KvorumError
from kvorum.guests.config import GuestConfig
from kvorum.guests.console import spice_link
from kvorum.guests.console.rfb import BadClient
from kvorum.guests.console.spice import MAX_SESSIONS, SpiceSession, SpiceSessions, show
from kvorum.guests.errors import GuestConfigError, GuestError
from kvorum.guests.machine.commandline import Wiring, command_line, socket_names
from kvorum.interface import Identity

ANNA = Identity(user="anna@pve", address="")
SEEN = "memory: 32\nvga: qxl\naudio0: device=AC97,driver=spice\nusb0: spice\n"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node("n1", tmp_path, MemoryStore("n1"), await spice_facts())
    yield node
    await node.close()


async def start(node: Node, text: str = SEEN) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", text)
    await node.manager.start(100)


def shown(node: Node, client: Client, session: SpiceSession) -> asyncio.Task[str]:
    return asyncio.create_task(show(client, node.manager, node.manager.need_running(100), session))


async def test_a_client_has_its_channels_by_one_password_and_qemu_listens_nowhere(node: Node) -> None:
    await start(node)
    pid = node.manager.need_running(100).process.pid
    assert not psutil.Process(pid).net_connections("inet")
    session = SpiceSession(100, ANNA)
    main, display = Client(), Client()
    talks = [shown(node, main, session)]
    assert await main.link(session.password) == spice_link.OK
    number = await main.session_number()
    talks.append(shown(node, display, session))
    assert await display.link(session.password, DISPLAY, number) == spice_link.OK
    assert len(session.channels) == 2
    channels = (await node.manager.need_running(100).monitor.execute("query-spice"))["channels"]
    assert {one["channel-type"] for one in channels} == {MAIN, DISPLAY}
    shown_first = await display.picture()
    assert shown_first.width >= 640 and shown_first.height >= 400 and shown_first.colours > 1
    for client in (display, main):
        await client.close()
    async with asyncio.timeout(30):
        assert [await talk for talk in talks] == ["", ""]
    assert session.left.is_set()


async def test_a_wrong_password_opens_nothing_and_counts_as_nobody(node: Node) -> None:
    await start(node)
    session, client = SpiceSession(100, ANNA), Client()
    talk = shown(node, client, session)
    assert await client.link("wrong") == spice_link.PERMISSION_DENIED
    with pytest.raises(BadClient, match="SPICE password is wrong"):
        await talk
    assert not session.came.is_set() and not session.channels


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"REDQ" + struct.pack("<III", 1, 0, 18) + bytes(18)]
)
async def test_what_is_no_spice_is_told_apart(node: Node, said: bytes) -> None:
    await start(node)
    client = Client()
    talk = shown(node, client, SpiceSession(100, ANNA))
    await client.typed.put(said)
    with pytest.raises(BadClient, match="does not speak SPICE 2"):
        await talk


@pytest.mark.parametrize(("caps", "header"), [(USUAL, "<HI"), (AUTH_SELECTION, "<8xHI4x")])
async def test_each_message_of_qemus_is_one_of_the_websockets(node: Node, caps: int, header: str) -> None:
    """They become TLS records, and spice-gtk overlooks the second message of a record."""
    await start(node)
    session, client = SpiceSession(100, ANNA), Client()
    talk = shown(node, client, session)
    assert await client.link(session.password, caps=caps) == spice_link.OK
    assert client.stream.rest() == b"", "the word that it is linked goes alone"
    async with asyncio.timeout(30):
        first = await client.shown.get()
    kind, size = struct.unpack_from(header, first)
    assert (kind, len(first)) == (103, struct.calcsize(header) + size)
    await client.close()
    await talk


async def test_a_message_too_long_is_not_waited_for(node: Node) -> None:
    await start(node)
    client = Client()
    talk = shown(node, client, SpiceSession(100, ANNA))
    await client.typed.put(b"REDQ" + struct.pack("<III", 2, 2, 1 << 30))
    with pytest.raises(BadClient, match="4096 are the most"):
        await talk


async def test_the_guests_end_ends_its_channels_with_its_reason(node: Node) -> None:
    await start(node)
    session, client = SpiceSession(100, ANNA), Client()
    talk = shown(node, client, session)
    await client.link(session.password)
    await node.manager.stop(100)
    assert await talk == "VM 100 is off (stopped by request)"


async def test_a_guest_without_spice_says_so(node: Node) -> None:
    await start(node, "memory: 32\n")
    with pytest.raises(GuestError, match="VM 100 runs without SPICE"):
        await shown(node, Client(), SpiceSession(100, ANNA))


async def test_a_guest_of_several_screens_folders_and_an_agent_starts(node: Node) -> None:
    await start(
        node, "memory: 32\nvga: qxl3\nagent: 1\nspice_enhancements: foldersharing=1,videostreaming=all\n"
    )
    await node.manager.stop(100)
    cards = "".join(f"net{number}: virtio=BC:24:11:00:00:0{number}\n" for number in range(8))
    crowded = "machine: q35\naudio0: device=AC97\nusb3: spice\nwatchdog: model=i6300esb\n" + cards
    await start(node, f"memory: 32\nvga: qxl4,memory=32\nostype: win10\n{crowded}")
    await node.manager.stop(100)


async def test_a_session_is_a_task_from_its_first_channel_to_its_last(node: Node) -> None:
    await start(node)
    sessions, log = SpiceSessions(), Lines()
    session = sessions.begin(100, ANNA)
    task = asyncio.create_task(sessions.serve(session, node.manager, node.manager.need_running(100), log))
    client = Client()
    talk = shown(node, client, sessions.find(session.id, 100))
    await client.link(session.password)
    await client.close()
    assert await talk == ""
    async with asyncio.timeout(30):
        await task
    assert log.lines == ["waiting for a client", "channel main 0", "the client is gone"]
    with pytest.raises(KvorumError, match="ask for a new file"):
        sessions.find(session.id, 100)


async def test_a_stopped_task_ends_the_channels(node: Node) -> None:
    await start(node)
    sessions = SpiceSessions()
    session = sessions.begin(100, ANNA)
    serving = sessions.serve(session, node.manager, node.manager.need_running(100), Lines())
    task = asyncio.create_task(serving)
    client = Client()
    talk = shown(node, client, session)
    await client.link(session.password)
    task.cancel()
    with pytest.raises(KvorumError, match="session was ended"):
        await talk


async def test_who_has_seen_the_ticket_opens_few_channels_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvorum.guests.console.spice.MAX_ASKING", 1)
    await start(node)
    session, silent, second = SpiceSession(100, ANNA), Client(), Client()
    first = shown(node, silent, session)
    while not session.asking:
        await asyncio.sleep(0)
    with pytest.raises(KvorumError, match="being opened: try again"):
        await shown(node, second, session)
    assert await silent.link(session.password) == spice_link.OK
    await silent.close()
    assert await first == ""


async def test_a_second_client_takes_the_display_from_the_first(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU has one SPICE client at a time."""
    monkeypatch.setattr("kvorum.guests.console.ending.END_DEADLINE_S", 0.1)
    await start(node)
    one, other = SpiceSession(100, ANNA), SpiceSession(100, ANNA)
    first, second = Client(), Client()
    talks = [shown(node, first, one)]
    assert await first.link(one.password) == spice_link.OK
    await first.session_number()
    talks.append(shown(node, second, other))
    assert await second.link(other.password) == spice_link.OK
    async with asyncio.timeout(30):
        assert await talks[0] == "VM 100 closed this console; open it anew"
    await second.close()
    assert await talks[1] == ""


async def test_a_session_nobody_comes_to_ends(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.guests.console.spice.COME_TIMEOUT_S", 0.01)
    await start(node)
    sessions = SpiceSessions()
    session = sessions.begin(100, ANNA)
    with pytest.raises(KvorumError, match=r"no client came within 0\.01 s"):
        await sessions.serve(session, node.manager, node.manager.need_running(100), Lines())
    with pytest.raises(KvorumError, match="ask for a new file"), session.channel("main 0"):
        pass


async def test_a_guest_that_ends_before_its_client_comes_ends_the_session_with_its_reason(node: Node) -> None:
    await start(node)
    sessions = SpiceSessions()
    session = sessions.begin(100, ANNA)
    serving = sessions.serve(session, node.manager, node.manager.need_running(100), Lines())
    task = asyncio.create_task(serving)
    await node.manager.stop(100)
    async with asyncio.timeout(30):
        with pytest.raises(KvorumError, match=r"VM 100 is off \(stopped by request\)"):
            await task
    with pytest.raises(KvorumError, match="ask for a new file"):
        sessions.find(session.id, 100)


def test_a_session_is_of_its_guest_alone_and_they_are_not_without_number() -> None:
    sessions = SpiceSessions()
    session = sessions.begin(100, ANNA)
    with pytest.raises(KvorumError, match="ask for a new file"):
        sessions.find(session.id, 101)
    for _ in range(MAX_SESSIONS - 1):
        sessions.begin(100, ANNA)
    with pytest.raises(KvorumError, match="100 SPICE sessions are open"):
        sessions.begin(100, ANNA)


def test_a_display_by_qxl_brings_the_server_and_the_agents_port() -> None:
    line = " ".join(build("vga: qxl\nagent: 1\n"))
    assert "-spice port=0,disable-ticketing=on " in line
    assert "-device qxl-vga,id=vga,bus=pci.0,addr=0x2 " in line
    assert line.count("virtio-serial-pci,id=vserial0") == 1
    assert (
        "-chardev spicevmc,id=vdagent,name=vdagent -device virtserialport,bus=vserial0.0,chardev=vdagent"
        in line
    )
    assert "spice" not in " ".join(build("vga: std\n"))


def test_vncs_clipboard_keeps_the_agents_port_for_itself() -> None:
    line = " ".join(build("vga: qxl,clipboard=vnc\n"))
    assert "qemu-vdagent" in line and "spicevmc" not in line


def test_screens_are_one_device_for_linux_and_several_for_windows() -> None:
    linux = " ".join(build("vga: qxl2\nostype: l26\n"))
    assert (
        "qxl-vga,id=vga,max_outputs=2,bus=pci.0,addr=0x2,vgamem_mb=32,ram_size_mb=128,vram_size_mb=128"
        in linux
    )
    windows = " ".join(build("vga: qxl3,memory=32\nostype: win11\n"))
    assert "qxl-vga,id=vga,bus=pci.0,addr=0x2,vgamem_mb=32" in windows
    assert "qxl,id=vga1,bus=pci.0,addr=0x18,vgamem_mb=32" in windows
    assert "qxl,id=vga2,bus=pci.0,addr=0x19,vgamem_mb=32" in windows
    assert "id=vga3" not in windows


def test_sound_folders_video_and_usb_are_the_clients() -> None:
    line = " ".join(
        build(
            "vga: qxl\naudio0: device=AC97\nusb2: spice,usb3=1\n"
            "spice_enhancements: foldersharing=1,videostreaming=filter\n"
        )
    )
    assert "-audiodev spice,id=audio0-backend" in line
    assert "disable-ticketing=on,streaming-video=filter" in line
    assert "-chardev spiceport,id=folder,name=org.spice-space.webdav.0" in line
    assert "-device qemu-xhci,id=xhci" in line
    assert (
        "-chardev spicevmc,id=usb2-redir,name=usbredir "
        "-device usb-redir,id=usb2,chardev=usb2-redir,bus=xhci.0,port=3" in line
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("audio0: device=AC97\n", "audio0: driver=spice wants a display by SPICE; set 'vga: qxl'"),
        ("usb1: spice\n", "usb1: spice wants a display by SPICE; set 'vga: qxl'"),
    ],
)
def test_what_only_a_client_can_use_is_refused_where_none_can_come(text: str, why: str) -> None:
    with pytest.raises(GuestConfigError, match=why):
        build(text)


def test_a_node_whose_qemu_has_no_spice_refuses_the_display() -> None:
    config = GuestConfig.parse(100, "vga: qxl2\n")
    wiring = Wiring({name: 10 + index for index, name in enumerate(socket_names(config))})
    with pytest.raises(GuestConfigError, match="no SPICE; install qemu-system-modules-spice"):
        command_line(config, dataclasses.replace(FACTS, has_spice=False), wiring)
