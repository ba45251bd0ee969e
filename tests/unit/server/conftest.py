"""Two nodes in one process: n1 on 127.0.0.1 and n2 on 127.0.0.2, over real TLS and real sockets."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from pydantic import Field

from kvorum.access import Authentication, GeneratedPassword
from kvorum.cluster.node_files import ensure_node_files
from kvorum.core.errors import Conflict, PermissionDenied
from kvorum.core.paths import Paths
from kvorum.interface import (
    Anyone,
    Boolean,
    Context,
    Conversation,
    Download,
    LoggedIn,
    Method,
    NodeName,
    NodeOnly,
    NoParameters,
    Page,
    Parameters,
    Peers,
    Privilege,
    Requirement,
    Services,
    TaskLog,
    ViewerFile,
    WebSocket,
    Where,
    Work,
)
from kvorum.server import pvedaemon, pveproxy, rooms
from kvorum.server.page import BuiltPage
from kvorum.store import Member, Membership, Store
from kvorum.store.memory import MemoryStore

PASSWORD = "the-password"
FORBIDDEN_GUEST = 200
"""A guest that nobody may look at."""


class Nothing(Parameters):
    node: NodeName


class Echo(Nothing):
    text: str = ""
    names: list[str] = Field(default_factory=list)
    flag: Boolean = False


async def echo(ctx: Context, p: Echo) -> dict[str, object]:
    return {
        "here": ctx.store.node,
        "text": p.text,
        "names": p.names,
        "flag": p.flag,
        "user": ctx.identity.user,
        "address": ctx.identity.address,
        "node": ctx.identity.node,
    }


async def die(ctx: Context, p: Nothing) -> None:
    raise RuntimeError("nobody foresaw this")


async def refuse(ctx: Context, p: Nothing) -> None:
    raise Conflict("VM 100 is locked (migrate)\nand there is more")


async def say(ctx: Context, p: Echo) -> None:
    raise Conflict(p.text)


async def hang(ctx: Context, p: Nothing) -> None:
    await asyncio.get_running_loop().create_future()


async def work(ctx: Context, p: Nothing) -> Work:
    async def run(log: TaskLog) -> None:
        log.line("hello")

    return Work("qmstart", "100", run)


async def many(ctx: Context, p: Nothing) -> Page[int]:
    return Page(range(100_000), 100_000)


def _method(
    verb: str,
    path: str,
    handler: Callable[..., Awaitable[object]],
    parameters: type[Parameters] = Nothing,
    permission: Requirement = LoggedIn(),  # noqa: B008
    protected: bool = True,
    task: bool = False,
    result: object = None,
    upload: bool = False,
    websocket: bool = False,
) -> Method:
    where = Where.NODE if "{node}" in path else Where.ANY
    return Method(
        verb, path, handler, parameters, result, permission, where, protected, task, True, "test",
        upload=upload, websocket=websocket,
    )  # fmt: skip


async def open_to_all(ctx: Context, p: NoParameters) -> str:
    return "welcome"


class NewFile(Nothing):
    filename: str
    content: str = ""


async def receive(ctx: Context, p: NewFile) -> dict[str, object]:
    assert ctx.upload is not None
    digest, length = hashlib.sha256(), 0
    async for chunk in ctx.upload.chunks():
        digest.update(chunk)
        length += len(chunk)
    return {"here": ctx.store.node, "name": p.filename, "content": p.content, "length": length,
            "sha256": digest.hexdigest()}  # fmt: skip


async def parrot(ctx: Context, p: Echo) -> Conversation:
    if p.text == "no":
        raise Conflict("no parrot today")

    async def talk(socket: WebSocket) -> None:
        while (data := await socket.receive()) is not None:
            if data == b"die":
                raise Conflict("the parrot is dead")
            await socket.send(ctx.store.node.encode() + b" " + data)

    return talk


class SpiceChannel(Parameters):
    node: NodeName
    vmid: int
    ticket: str


async def spice_channel(ctx: Context, p: SpiceChannel) -> Conversation:
    """As the guests' room answers it, without a guest: what the channel brings comes back with a name."""
    if ctx.service(Authentication).spice_ticket_of(p.ticket) is None or p.vmid == FORBIDDEN_GUEST:
        raise PermissionDenied("Permission check failed (/vms/200, VM.Console)")

    async def talk(socket: WebSocket) -> None:
        while (data := await socket.receive()) is not None:
            if data == b"bye":
                return
            if data == b"twice":
                await socket.send(b"one")
                await socket.send(b"two")
                continue
            await socket.send(f"{ctx.store.node} {ctx.identity.address} {ctx.identity.user} ".encode() + data)

    return talk


async def viewer(ctx: Context, p: Nothing) -> ViewerFile[dict[str, object]]:
    return ViewerFile({"type": "spice", "tls-port": 61000}, 'vm "100".vv')


class Drawn(Parameters):
    node: NodeName
    path: str


async def picture(ctx: Context, p: Drawn) -> Download[dict[str, str]]:
    return Download(Path(p.path), "image/png", 'a "b"\r\n.png', {"filename": p.path})


TEST_METHODS = (
    _method("POST", "/nodes/{node}/viewer", viewer, result=ViewerFile[dict[str, object]]),
    _method(
        "GET",
        "/kvorum/nodes/{node}/qemu/{vmid}/spicesocket",
        spice_channel,
        SpiceChannel,
        Anyone(),
        websocket=True,
    ),
    _method("GET", "/nodes/{node}/picture", picture, Drawn, result=Download[dict[str, str]]),
    _method("GET", "/nodes/{node}/parrot", parrot, Echo, websocket=True),
    _method(
        "POST",
        "/nodes/{node}/receive",
        receive,
        NewFile,
        Privilege("/nodes/{node}", "Sys.Modify"),
        upload=True,
    ),
    _method("GET", "/nodes/{node}/echo", echo, Echo),
    _method("GET", "/nodes/{node}/echo-here", echo, Echo, protected=False),
    _method("POST", "/nodes/{node}/echo", echo, Echo),
    _method("DELETE", "/nodes/{node}/echo", echo, Echo),
    _method("GET", "/kvorum/{node}/secret", echo, Echo, permission=NodeOnly()),
    _method("POST", "/kvorum/{node}/secret", echo, Echo, permission=NodeOnly()),
    _method("GET", "/nodes/{node}/die", die, protected=False),
    _method("GET", "/nodes/{node}/refuse", refuse),
    _method("GET", "/nodes/{node}/say", say, Echo),
    _method("GET", "/nodes/{node}/hang", hang),
    _method("GET", "/nodes/{node}/many", many),
    _method("POST", "/nodes/{node}/work", work, task=True),
    _method("GET", "/kvorum/metrics", open_to_all, NoParameters, protected=False),
    _method("GET", "/open", open_to_all, NoParameters, Anyone(), protected=False),
)


@dataclass
class Node:
    """One running node."""

    name: str
    url: str
    store: Store
    paths: Paths
    services: Services

    @property
    def peers(self) -> Peers:
        return self.services.get(Peers)


@dataclass
class Cluster:
    """Both nodes, and a client without credentials that trusts anything."""

    n1: Node
    n2: Node
    client: aiohttp.ClientSession
    port: int
    ca: str
    end: Callable[[], Awaitable[None]]
    """Ends both nodes' daemons, as their service manager would; again is nothing."""

    async def login(self) -> dict[str, str]:
        """The headers of a logged-in client that may change things."""
        form = {"username": "root@pam", "password": PASSWORD}
        async with self.client.post(f"{self.n1.url}/api2/json/access/ticket", data=form) as answer:
            data = (await answer.json())["data"]
        return {
            "Cookie": f"PVEAuthCookie={data['ticket']}",
            "CSRFPreventionToken": data["CSRFPreventionToken"],
        }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def membership() -> Membership:
    members = [("n1", "127.0.0.1"), ("n2", "127.0.0.2"), ("gone", "127.0.0.3")]
    return Membership(
        "testcluster",
        tuple(Member(name, i, address, name != "gone") for i, (name, address) in enumerate(members, 1)),
        True,
        1,
    )


@pytest.fixture
def page(tmp_path: Path) -> BuiltPage:
    (tmp_path / "page" / "assets").mkdir(parents=True)
    (tmp_path / "page" / "index.html").write_text("<!doctype html>page")
    (tmp_path / "page" / "assets" / "index-AbCd1234.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    return BuiltPage(tmp_path / "page")


@pytest.fixture
async def cluster(tmp_path: Path, page: BuiltPage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(rooms, "METHODS", ("access", "tasks", "server"))
    monkeypatch.setattr(rooms, "SERVICES", ("tasks",))
    real = rooms.methods()
    own = tuple(m for m in real if not m.path.startswith(("/storage", "/nodes/{node}/qemu")))
    monkeypatch.setattr(rooms, "methods", lambda: (*own, *TEST_METHODS))
    port = free_port()
    nodes: list[Node] = []
    first: MemoryStore | None = None
    async with AsyncExitStack() as stack:
        for name, address in (("n1", "127.0.0.1"), ("n2", "127.0.0.2")):
            store = MemoryStore(name, membership())
            paths = Paths.under(tmp_path / name)
            for path in ("pve-root-ca.pem", "priv/pve-root-ca.key", "pve-www.key"):
                if first is not None and (file := first.read(path)):
                    await store.write(path, file.data)
            for path in ("priv/authkey.key", "authkey.pub"):
                if first is not None and (file := first.read(path)):
                    await store.write(path, file.data)
            await ensure_node_files(store, paths, addresses=[address])
            realms = [GeneratedPassword(PASSWORD)]
            services = await stack.enter_async_context(pvedaemon.running(store, paths, realms, port))
            await stack.enter_async_context(pveproxy.running(store, paths, realms, port, address, page))
            nodes.append(Node(name, f"https://{address}:{port}", store, paths, services))
            first = first or store
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=20),
            )
        )
        assert first is not None
        for node in nodes:
            for other in nodes:  # what one store would have: each node's certificate
                if node is not other and (file := other.store.read(f"nodes/{other.name}/pve-ssl.pem")):
                    await node.store.write(f"nodes/{other.name}/pve-ssl.pem", file.data)
        authority = first.read("pve-root-ca.pem")
        assert authority is not None
        yield Cluster(nodes[0], nodes[1], client, port, authority.text, stack.aclose)
