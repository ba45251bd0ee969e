"""SPICE's methods: the file for a guest that runs, and its channels, with the right looked at each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from guests_world import MemoryStore, Node, spice_facts
from spice_client import Client
from stand_ins import Lines

from kvorum.access import AccessAuthority, Authentication, Keys, SpiceTicket
from kvorum.cluster.node_files import ensure_node_files
from kvorum.core.errors import AuthenticationError, KvorumError, PermissionDenied
from kvorum.guests.console import spice_link
from kvorum.guests.console.spice import SpiceSessions
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods import spice
from kvorum.interface import Context, Identity, Services, WebSocket
from kvorum.tasks import TaskRunner

ANNA = Identity("anna@pve")
NOBODY = Identity("nobody@none")
USERS = "user:anna@pve:1:0:::::\nacl:1:/vms/100:anna@pve:PVEVMUser:\n"


class Tasks:
    """Begins tasks, and remembers them."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str, str]] = []
        self.running: set[asyncio.Task[None]] = set()

    def start(self, work: object, user: str) -> str:
        self.begun.append((work.type, work.id, user))  # type: ignore[attr-defined]  # a Work
        self.running.add(asyncio.create_task(work.run(Lines())))  # type: ignore[attr-defined]
        return "UPID:"


class World:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.tasks = Tasks()
        self.authority = AccessAuthority(node.store)
        self.authentication = Authentication(Keys(node.store), self.authority)
        self.services = Services()
        self.services.add(GuestManager, node.manager)
        self.services.add(SpiceSessions, SpiceSessions())
        self.services.add(Authentication, self.authentication)
        self.services.add(TaskRunner, self.tasks)  # type: ignore[arg-type]  # what is asked of it

    def context(self, identity: Identity) -> Context:
        return Context(self.node.store, self.services, identity, self.authority)

    async def file(self, **more: object) -> dict[str, object]:
        asked = spice.SpiceParameters(node="n1", vmid=100, **more)  # type: ignore[arg-type]
        return dict((await spice.spice(self.context(ANNA), asked)).shown)

    async def opened(self, ticket: object, socket: WebSocket, vmid: int = 100) -> asyncio.Future[None]:
        """A channel, as it comes from the proxy without anybody's credentials."""
        asked = spice.SpiceSocketParameters(node="n1", vmid=vmid, ticket=str(ticket))
        return asyncio.ensure_future((await spice.channel(self.context(NOBODY), asked))(socket))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    node = Node("n1", tmp_path, MemoryStore("n1"), await spice_facts())
    await ensure_node_files(node.store, node.paths, addresses=["127.0.0.1"])
    await node.store.write("user.cfg", USERS)
    await node.store.write("nodes/n1/qemu-server/100.conf", "name: web\nmemory: 32\nvga: qxl\n")
    await node.manager.start(100)
    world = World(node)
    yield world
    await node.close()
    for task in world.tasks.running:
        task.cancel()
    await asyncio.gather(*world.tasks.running, return_exceptions=True)


async def test_a_file_leads_to_its_guest(world: World) -> None:
    file = await world.file(proxy="n2.example")
    assert file["title"] == "VM 100 - web" and file["proxy"] == "http://n2.example:3128"
    assert "BEGIN CERTIFICATE" in str(file["ca"]) and "CN=n1" in str(file["host-subject"])
    assert world.tasks.begun == [("spiceproxy", "100", "anna@pve")]
    client = Client()
    talk = await world.opened(file["host"], client)
    assert await client.link(str(file["password"])) == spice_link.OK
    await client.close()
    await talk
    async with asyncio.timeout(30):
        await asyncio.gather(*world.tasks.running)


async def test_two_files_have_passwords_of_their_own(world: World) -> None:
    first, second = await world.file(), await world.file()
    client = Client()
    talk = await world.opened(first["host"], client)
    assert await client.link(str(second["password"])) == spice_link.PERMISSION_DENIED
    with pytest.raises(KvorumError, match="password is wrong"):
        await talk


async def test_a_right_that_was_taken_away_opens_no_further_channel(world: World) -> None:
    file = await world.file()
    await world.node.store.write("user.cfg", "user:anna@pve:1:0:::::\n")
    with pytest.raises(PermissionDenied, match=r"/vms/100, VM\.Console"):
        await world.opened(file["host"], Client())


async def test_a_ticket_is_for_its_guest_node_and_session_alone(world: World) -> None:
    file = await world.file()
    with pytest.raises(AuthenticationError, match="invalid SPICE ticket"):
        await world.opened(file["host"], Client(), vmid=101)
    for ticket in (SpiceTicket(100, "n2", "0" * 16), SpiceTicket(100, "n1", "0" * 16)):
        with pytest.raises(KvorumError, match=r"invalid SPICE ticket|ask for a new file"):
            await world.opened(world.authentication.spice_ticket(ticket), Client())


async def test_a_display_of_another_kind_is_refused_with_what_to_do(world: World) -> None:
    await world.node.manager.stop(100)
    with pytest.raises(KvorumError, match="not running"):
        await world.file()
    await world.node.store.write("nodes/n1/qemu-server/100.conf", "memory: 32\n")
    await world.node.manager.start(100)
    with pytest.raises(GuestError, match="SPICE wants 'vga: qxl'"):
        await world.file()
    assert not world.tasks.begun
