"""The world that the fake API plays: nodes, guests, tasks, and what it answers with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_guests
from aiohttp import web
from fake_guests import Consoles, Inside

PAGE = Path(__file__).parents[2] / "src" / "kvorum" / "server" / "page"
PASSWORD = "kvorum"
GIB = 1024**3
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NODES = ("pve", "pve2", "pve3")
JOIN_TOKEN = (
    "kvorum-join-lQGoMTAuMC4wLjHEIKurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urggCoMTAuMC4wLjEBqDEwLjEuMC4x"
    "xBAAESIzRFVmd4iZqrvM3e7_"
)
Json = dict[str, Any]

INTERFACES: list[Json] = [
    *(
        {
            "iface": f"eno{n + 1}",
            "type": "eth",
            "active": 1,
            "address": f"10.{n}.0.9",
            "cidr": f"10.{n}.0.9/24",
        }
        for n in (0, 1, 2)
    ),
    {"iface": "eno9", "type": "eth", "active": 0},
    {
        "iface": "vmbr0",
        "type": "bridge",
        "active": 1,
        "autostart": 1,
        "bridge_ports": "eno9",
        "comments": "uplink",
    },
]


@dataclass
class Task:
    """A task whose log grows as ``steps`` are released, one a tick."""

    upid: str
    node: str
    type: str
    id: str
    starttime: int
    steps: list[str]
    log: list[str] = field(default_factory=list)
    endtime: int | None = None
    status: str | None = None
    progress: float | None = None
    doing: str = ""

    def row(self) -> Json:
        row: Json = {"upid": self.upid, "node": self.node, "type": self.type, "id": self.id}
        row |= {"user": "root@pam", "starttime": self.starttime, "pid": 1, "pstart": 1}
        if self.endtime is not None:
            row |= {"endtime": self.endtime, "status": self.status}
        return row

    def end(self, status: str) -> None:
        self.log.append("TASK OK" if status == "OK" else f"TASK ERROR: {status}")
        self.endtime, self.status = int(time.time()), status


@dataclass
class Network:
    """The interfaces of the first node, and what waits to be applied."""

    rows: list[Json] = field(default_factory=lambda: [dict(row) for row in INTERFACES])
    changes: str = ""
    confirmed: int = 0
    """How often the page told that it reaches the node."""
    reachable: bool = True
    """Whether it can tell."""


@dataclass
class World:
    """The cluster that is played, and what the page has asked of it."""

    online: set[str] = field(default_factory=lambda: set(NODES))
    guests: dict[int, Json] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    clustered: bool = True
    """Whether pve, the node that is asked, is in the cluster; if not, it is alone."""
    votes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NODES, 1))
    device: Json = field(default_factory=dict)
    """The QDevice's status; empty without one."""
    bad_links: dict[tuple[str, str, int], Json] = field(default_factory=dict)
    """What is wrong with a link: (node, to, link) to what its row says instead."""
    clocks: dict[str, float] = field(default_factory=dict)
    """How far nodes' clocks are ahead, in milliseconds."""
    join_tokens: list[Json] = field(default_factory=list)
    certificate: str = "cluster"
    """Which certificate the page of pve shows."""
    refuse_joins: dict[str, str] = field(default_factory=dict)
    """When set, a join is refused with these errors by parameter."""
    joining: bool = False
    """While the keys change, every ticket of before is refused, also for renewal."""
    storages: dict[str, bool] = field(default_factory=dict)
    """Storages of the first node, and whether they answer."""
    listed_on: dict[int, str] = field(default_factory=dict)
    """Guests that the list of all guests still shows where they were before."""
    hold_at: int | None = None
    """Tasks stand still once their log has this many lines."""
    expired: bool = False
    """When set, every ticket is refused."""
    events: str = "told"
    """What becomes of the streams: told, held (as by a proxy that buffers), absent, or cut off at once."""
    factors: list[Json] = field(default_factory=list)
    """Second factors of everybody; with one, a login asks for it. The right password is 123456."""
    tokens: dict[str, Json] = field(default_factory=dict)
    """API tokens of everybody."""
    epoch: int = 0
    """Grows when the server forgets what it has told, as by a restart."""
    asked: list[str] = field(default_factory=list)
    """Every path that was asked for by GET."""
    streams: int = 0
    """How many streams are open."""
    opened: list[str] = field(default_factory=list)
    """The Last-Event-ID of each stream that was opened."""
    network: Network = field(default_factory=Network)
    inside: dict[int, Inside] = field(default_factory=dict)
    """The settings and snapshots of guests."""
    consoles: Consoles = field(default_factory=Consoles)
    refuse_settings: dict[str, str] = field(default_factory=dict)
    """When set, changes and new guests are refused with these errors by parameter."""

    def reset(self) -> None:
        """Begin anew; tasks still under way belong to the old world and change nothing here."""
        kept = {"epoch": self.epoch + 1, "streams": self.streams}
        self.__dict__.update(new_world().__dict__ | kept)

    def inside_of(self, vmid: int, guest: Json) -> Inside:
        if vmid not in self.inside:
            self.inside[vmid] = Inside(fake_guests.first_settings(vmid, guest["name"]))
        return self.inside[vmid]

    @property
    def quorate(self) -> bool:
        here = sum(self.votes.get(name, 0) for name in self.online) + self.device_votes
        return not self.clustered or here >= self.needed

    @property
    def device_votes(self) -> int:
        return int(bool(self.device))

    @property
    def total(self) -> int:
        return sum(self.votes.values()) + self.device_votes

    @property
    def needed(self) -> int:
        return self.total // 2 + 1

    def begin(self, node: str, kind: str, vmid: int | str, steps: list[str], then: Callable[[], None]) -> str:
        start = int(time.time())
        upid = f"UPID:{node}:00001234:{len(self.tasks):08X}:{start:08X}:{kind}:{vmid}:root@pam:"
        task = Task(upid, node, kind, str(vmid), start, steps)
        self.tasks.append(task)
        asyncio.get_running_loop().create_task(self._play(task, then))
        return upid

    async def _play(self, task: Task, then: Callable[[], None]) -> None:
        while task.steps and task.endtime is None:
            if len(task.log) != self.hold_at:
                task.log.append(task.steps.pop(0))
            await asyncio.sleep(0.15)
        if task.endtime is None:
            then()
        if task.endtime is None:
            task.end("OK")


def new_world() -> World:
    """Three nodes, five guests, two ended tasks."""
    world = World()
    for vmid, name, node, status in (
        (100, "web", "pve", "running"),
        (101, "database", "pve", "running"),
        (102, "mail", "pve2", "stopped"),
        (110, "build", "pve2", "running"),
        (120, "archive", "pve3", "stopped"),
    ):
        world.guests[vmid] = {"name": name, "node": node, "status": status, "since": time.time() - 93784}
    now = int(time.time())
    for age, kind, vmid, status in ((4000, "qmstart", 100, "OK"), (3000, "qmstart", 120, "no space left")):
        upid = f"UPID:pve:00000001:0000000{vmid % 7}:{now - age:08X}:{kind}:{vmid}:root@pam:"
        task = Task(upid, "pve", kind, str(vmid), now - age, [], ["starting"])
        task.end(status)
        task.endtime = now - age + 2
        world.tasks.append(task)
    return world


WORLD = web.AppKey("world", World)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A refusal from inside a handler's helper."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__()
        self.answer = answer


def data(value: Any) -> web.Response:
    return web.json_response({"data": value})


def refuse(status: int, reason: str, **errors: str) -> web.Response:
    return web.json_response(
        {"data": None, "message": f"{reason}\n", "errors": errors}, status=status, reason=reason
    )
