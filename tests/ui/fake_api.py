"""A small world that answers as the API does: three nodes, some guests, tasks that run in steps.

For the page's tests, and to work on the page without a lab: ``python tests/ui/fake_api.py [PORT]``, then
open http://127.0.0.1:PORT and log in as root with the password ``kvorum``. It serves the built page with the
strictest Content-Security-Policy that the page keeps.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fake_guests
from aiohttp import web
from fake_guests import TICKET, Consoles, Inside

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


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record, check ticket and CSRF token, and add what the real server adds to every answer."""
    world = request.app[WORLD]
    if request.path.startswith("/api2/"):
        if request.method == "GET":
            world.asked.append(request.path.removeprefix("/api2/json"))
        else:
            form = {key: str(value) for key, value in (await request.post()).items()}
            world.requests.append((request.method, request.path.removeprefix("/api2/json"), form))
        public = request.path in ("/api2/json/access/ticket", "/api2/json/access/domains")
        if world.joining and request.path != "/api2/json/access/domains":
            return refuse(401, "permission denied - invalid PVE ticket")
        if not public and (world.expired or not request.cookies.get("PVEAuthCookie", "").startswith("PVE")):
            return refuse(401, "permission denied - invalid PVE ticket")
        token = request.headers.get("CSRFPreventionToken")
        if not public and request.method != "GET" and token != "5F000000:token":
            return refuse(401, "Permission denied - invalid csrf token")
    try:
        response = await handler(request)
    except Refused as refused:
        response = refused.answer
    except web.HTTPNotFound:
        response = refuse(501, f"Method '{request.method} {request.path}' not implemented")
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def ticket(request: web.Request) -> web.Response:
    form = await request.post()
    world = request.app[WORLD]
    password, user = str(form["password"]), str(form["username"])
    if "tfa-challenge" in form:
        if password not in ("totp:123456", "recovery:aaaa-bbbb"):
            return refuse(401, "authentication failure")
        password = PASSWORD
    elif world.factors and password == PASSWORD:
        asked = quote('{"totp":true,"recovery":"low"}', safe="")
        challenge = {"ticket": f"PVE:!tfa!{asked}:5F000000::c2ln", "CSRFPreventionToken": "", "NeedTFA": 1}
        return data({**challenge, "username": user})
    if world.expired or not (password == PASSWORD or password.startswith("PVE:")):
        return refuse(401, "authentication failure")
    answer = {"ticket": f"PVE:{user}:5F000000::c2ln/+==", "CSRFPreventionToken": "5F000000:token"}
    return data({**answer, "username": user, "clustername": "home"})


async def domains(request: web.Request) -> web.Response:
    pam = {"realm": "pam", "type": "pam", "comment": "Linux PAM", "default": 1}
    return data([pam, {"realm": "pve", "type": "pve", "comment": "Kvorum"}])


async def factors(request: web.Request) -> web.Response:
    return data(request.app[WORLD].factors)


async def add_factor(request: web.Request) -> web.Response:
    form, world = await request.post(), request.app[WORLD]
    shown: Json = {"id": "recovery", "type": "recovery", "description": "", "created": 1_700_000_000}
    if form["type"] == "recovery":
        world.factors.append(shown)
        return data({"id": "recovery", "recovery": ["aaaa-bbbb", "cccc-dddd"]})
    if form["value"] != "123456":
        return refuse(400, "Parameter verification failed.", value="is not the generator's present password")
    world.factors.append(shown | {"id": "f1", "type": "totp", "description": str(form["description"])})
    return data({"id": "f1"})


async def remove_factor(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    world.factors = [each for each in world.factors if each["id"] != request.match_info["id"]]
    return data(None)


async def tokens(request: web.Request) -> web.Response:
    return data([{"tokenid": name, **token} for name, token in request.app[WORLD].tokens.items()])


async def add_token(request: web.Request) -> web.Response:
    form, name = await request.post(), request.match_info["token"]
    token = {"privsep": int(str(form["privsep"])), "comment": str(form.get("comment", ""))}
    request.app[WORLD].tokens[name] = token
    return data({"full-tokenid": f"{request.match_info['user']}!{name}", "value": "5ec2e7", "info": {}})


async def remove_token(request: web.Request) -> web.Response:
    del request.app[WORLD].tokens[request.match_info["token"]]
    return data(None)


async def set_password(request: web.Request) -> web.Response:
    if (await request.post())["confirmation-password"] != PASSWORD:
        return refuse(401, "authentication failure")
    return data(None)


async def cluster_status(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if not world.clustered:
        alone: Json = {"type": "node", "id": "node/pve", "name": "pve", "nodeid": 0, "level": ""}
        return data([alone | {"ip": "10.0.0.1", "online": 1, "local": 1}])
    rows: list[Json] = [
        {"type": "cluster", "id": "cluster", "name": "home", "version": 3, "nodes": len(world.votes)}
        | {"quorate": int(world.quorate)}
    ]
    for number, name in enumerate(world.votes, 1):
        rows.append(
            {"type": "node", "id": f"node/{name}", "name": name, "nodeid": number, "level": ""}
            | {"ip": f"10.0.0.{number}", "online": int(name in world.online), "local": int(number == 1)}
        )
    return data(rows)


def guest_row(vmid: int, guest: Json) -> Json:
    running = guest["status"] == "running"
    row: Json = {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": guest["name"]}
    row |= {
        "node": guest["node"],
        "status": guest["status"],
        "template": guest.get("template", 0),
        "maxcpu": 2,
        "cpu": 0.034 * running,
    }
    row |= {"maxmem": 2 * GIB, "mem": int(1.3 * GIB) * running, "maxdisk": 8 * GIB, "disk": 0}
    return row | {"uptime": int(time.time() - guest["since"]) if running else 0}


async def resources(request: web.Request) -> web.Response:
    return data(resource_rows(request.app[WORLD]))


def resource_rows(world: World) -> list[Json]:
    rows = [guest_row(vmid, guest) for vmid, guest in world.guests.items()]
    for row in rows:
        row["node"] = world.listed_on.get(row["vmid"], row["node"])
    for name, answers in world.storages.items():
        row = {"id": f"storage/pve/{name}", "type": "storage", "node": "pve", "storage": name}
        row |= {"plugintype": "dir", "content": "images,iso", "shared": 0}
        row |= {"status": "available" if answers else "unknown"}
        rows.append(row | ({"disk": 30 * GIB, "maxdisk": 100 * GIB} if answers else {}))
    for number, name in enumerate(world.votes if world.clustered else ["pve"], 1):
        row: Json = {"id": f"node/{name}", "type": "node", "node": name, "maxcpu": 8, "maxmem": 32 * GIB}
        if name in world.online:
            row |= {"status": "online", "cpu": 0.07 * number, "mem": (6 + 10 * (number - 1)) * GIB}
            row |= {"uptime": 400_000 * number}
        else:
            row |= {"status": "offline"}
        rows.append(row)
    return rows


async def config_nodes(request: web.Request) -> web.Response:
    return data(node_rows(request.app[WORLD]))


def node_rows(world: World) -> list[Json]:
    if not world.clustered:
        return []
    return [
        {"node": name, "name": name, "nodeid": str(n), "quorum_votes": str(votes)}
        | {"ring0_addr": f"10.0.0.{n}", "ring1_addr": f"10.1.0.{n}"}
        for n, (name, votes) in enumerate(world.votes.items(), 1)
    ]


async def links(request: web.Request) -> web.Response:
    """As GET /kvorum/links has it: all is well but what the world says."""
    world = request.app[WORLD]
    pairs = [(a, b) for a in world.votes for b in world.votes if a != b]
    rows = [
        {"node": a, "to": b, "link": link, "address": "", "to_address": "", "downs": 0, "latency_us": 400}
        | {"connected": 1, "loss_percent": 0.0} | world.bad_links.get((a, b, link), {})
        for a, b in pairs for link in (0, 1)
    ]  # fmt: skip
    clocks = [
        {
            "node": a,
            "to": b,
            "ahead_ms": world.clocks.get(b, 0) - world.clocks.get(a, 0),
            "unsure_ms": 1,
            "asked": 1,
        }
        for a, b in pairs
    ]
    return data({"links": rows, "clocks": clocks, "warnings": [], "silent": []})


async def quorum(request: web.Request) -> web.Response:
    return data(explained(request.app[WORLD]))


def explained(world: World) -> Json:
    """As GET /kvorum/quorum has it; two cautions are enough for a test."""
    missing = [name for name in world.votes if name not in world.online]
    present = sum(world.votes.get(name, 0) for name in world.online) + world.device_votes
    answer: Json = {"quorate": int(world.quorate), "total": world.total, "needed": world.needed}
    answer |= {"present": present, "missing": missing, "cautions": [], "losses": []}
    names = list(world.votes)
    heavy = [n for n in names if world.votes[n] > 1 and 2 * (world.total - world.votes[n]) <= world.total]
    for name in heavy:
        sentence = f"{name} has {world.votes[name]} of {world.total} votes."
        answer["cautions"].append({"kind": "heavy-node", "sentence": sentence, "node": name})
    if len(names) == 2 and not world.device and not heavy:
        answer["cautions"].append({"kind": "two-nodes", "sentence": "Two nodes without a third vote."})
    if len(set(world.votes.values())) == 1 and len(names) >= 3:
        answer["losses"] = [[{"count": 2, "of": names}]]
    return answer


async def forecast(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    node, votes = request.query["node"], int(request.query["votes"])
    then = World(online=world.online, votes=world.votes | {node: votes}, device=world.device)
    refusals = [] if then.quorate else ["the nodes that are here would have no quorum"]
    return data(explained(then) | {"refusals": refusals})


async def set_votes(request: web.Request) -> web.Response:
    world, form = request.app[WORLD], await request.post()
    node, votes = str(form["node"]), int(str(form["votes"]))
    steps = [f"{node} has {votes} votes"]
    return data(world.begin("pve", "clustervotes", node, steps, lambda: world.votes.update({node: votes})))


async def expect_votes(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    world.votes = {name: votes for name, votes in world.votes.items() if name in world.online}
    return data(None)


async def join_answer(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if not world.clustered:
        return refuse(424, "node is not in a cluster, no join info available!")
    rows = [
        row | {"pve_addr": f"10.0.0.{n}", "pve_fp": ":".join([f"A{n}"] * 32)}
        for n, row in enumerate(node_rows(world), 1)
    ]
    totem = {"cluster_name": "home", "version": "2", "interface": {"0": {"linknumber": "0"}}}
    return data({"nodelist": rows, "preferred_node": "pve", "totem": totem, "config_digest": "0" * 40})


async def create_cluster(request: web.Request) -> web.Response:
    world, form = request.app[WORLD], await request.post()
    if "bad" in str(form.get("link0", "")) or form["clustername"] == "taken":
        return refuse(400, "Parameter verification failed.", clustername="is taken", link0="is not here")
    world.votes = {"pve": 1}

    def done() -> None:
        world.clustered, world.online = True, {"pve"}

    steps = ["generate corosync authentication key", "start corosync", "wait for quorum"]
    return data(world.begin("pve", "clustercreate", str(form["clustername"]), steps, done))


async def join_cluster(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if world.refuse_joins:
        return refuse(400, "Parameter verification failed.", **world.refuse_joins)

    def done() -> None:
        world.clustered, world.certificate = True, "former"

    steps = ["Login succeeded.", "request addition of this node", "start corosync", "wait for quorum"]
    return data(world.begin("pve", "clusterjoin", "", steps, done))


async def join_tokens(request: web.Request) -> web.Response:
    return data(request.app[WORLD].join_tokens)


async def make_token(request: web.Request) -> web.Response:
    world, form = request.app[WORLD], await request.post()
    expires = int(time.time()) + 60 * int(str(form["minutes"]))
    world.join_tokens.append({"id": "a1b2c3", "by": "root@pam", "expires": expires, "state": "open"})
    return data({"id": "a1b2c3", "token": JOIN_TOKEN, "expires": expires, "hostname": "10.0.0.1"})


async def revoke_token(request: web.Request) -> web.Response:
    request.app[WORLD].join_tokens.clear()
    return data(None)


async def network(request: web.Request) -> web.Response:
    rows: list[Json] = [
        {"iface": f"eno{n + 1}", "type": "eth", "active": 1, "address": f"10.{n}.0.9"}
        | {"cidr": f"10.{n}.0.9/24"}
        for n in (0, 1, 2)
    ]
    bridge = {"iface": "vmbr0", "type": "bridge", "active": 1}
    return data([*rows, {"iface": "eno9", "type": "eth", "active": 0}, bridge])


async def certificate(request: web.Request) -> web.Response:
    prints = {"fingerprint": ":".join(["0F"] * 32), "cluster_fingerprint": ":".join(["C1"] * 32)}
    return data(prints | {"shows": request.app[WORLD].certificate})


async def take_certificate(request: web.Request) -> web.Response:
    request.app[WORLD].certificate = "cluster"
    return data(True)


async def fingerprint(request: web.Request) -> web.Response:
    return data(":".join(["A1"] * 32))


async def remove_node(request: web.Request) -> web.Response:
    world, node = request.app[WORLD], request.match_info["node"]
    world.votes = {name: votes for name, votes in world.votes.items() if name != node}
    world.guests = {vmid: guest for vmid, guest in world.guests.items() if guest["node"] != node}
    return data(None)


async def leave_cluster(request: web.Request) -> web.Response:
    if any(guest["node"] == "pve" for guest in request.app[WORLD].guests.values()):
        return refuse(500, "this node has guests: VM 100, VM 101; migrate or remove them first")
    return data(request.app[WORLD].begin("pve", "clusterleave", "", ["leaving"], lambda: None))


async def device(request: web.Request) -> web.Response:
    return data(request.app[WORLD].device)


async def host_key(request: web.Request) -> web.Response:
    if request.query["address"] == "10.0.0.99":
        return refuse(500, "10.0.0.99 does not answer by SSH: is it switched on?")
    return data("SHA256:" + "k" * 43)


async def set_up_device(request: web.Request) -> web.Response:
    world, form = request.app[WORLD], await request.post()
    if "manual" in form:
        steps = ["run these commands as root on the other machine:", "    corosync-qnetd-certutil -s"]
        return data(world.begin("pve", "qdevicemanual", "", steps, lambda: None))
    if form.get("password") == "wrong":
        return refuse(400, "Parameter verification failed.", password="root is not let in there")
    address = str(form["address"])
    facts = {"QNetd host": f"{address}:5403", "State": "Connected", "Algorithm": "Fifty-Fifty split"}
    done = lambda: world.device.update(facts)  # noqa: E731  # one line is what it is
    return data(world.begin("pve", "qdevicesetup", address, [f"the QDevice at {address} votes"], done))


async def remove_device(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    return data(world.begin("pve", "qdeviceremove", "", ["removed the QDevice"], world.device.clear))


async def tasks(request: web.Request) -> web.Response:
    return data([task.row() for task in reversed(request.app[WORLD].tasks)])


def task_of(request: web.Request) -> Task:
    wanted = request.match_info["upid"]
    for task in request.app[WORLD].tasks:
        if task.upid == wanted:
            return task
    raise web.HTTPNotFound


async def task_log(request: web.Request) -> web.Response:
    task = task_of(request)
    start, limit = int(request.query.get("start", 0)), int(request.query.get("limit", 50))
    lines = [{"n": n, "t": text} for n, text in enumerate(task.log, 1)]
    return web.json_response({"data": lines[start : start + limit], "total": len(lines)})


async def task_status(request: web.Request) -> web.Response:
    task = task_of(request)
    row = task.row() | {"status": "running"}
    if task.endtime is not None:
        row |= {"status": "stopped", "exitstatus": task.status}
    return data(row)


async def task_stop(request: web.Request) -> web.Response:
    task_of(request).end("received interrupt")
    return data(None)


async def node_status(request: web.Request) -> web.Response:
    name = request.match_info["node"]
    if name not in request.app[WORLD].online:
        return refuse(595, f"No route to host: {name}")
    return data(
        {"cpu": 0.08, "uptime": 400_000, "loadavg": ["0.21", "0.34", "0.30"], "wait": 0.0}
        | {"cpuinfo": {"model": "AMD Ryzen 7 5700G", "cpus": 8, "cores": 8, "sockets": 1}}
        | {"memory": {"total": 32 * GIB, "used": 6 * GIB, "free": 26 * GIB}}
        | {"rootfs": {"total": 100 * GIB, "used": 83 * GIB, "avail": 17 * GIB}}
        | {"pveversion": "kvorum/0.1.0", "current-kernel": {"sysname": "Linux", "release": "6.12.48-amd64"}}
    )


def guest_of(request: web.Request) -> tuple[int, Json]:
    vmid = int(request.match_info["vmid"])
    guest = request.app[WORLD].guests.get(vmid)
    node = request.match_info["node"]
    if guest is None or guest["node"] != node:
        name = f"nodes/{node}/qemu-server/{vmid}.conf"
        raise Refused(refuse(500, f"Configuration file '{name}' does not exist"))
    return vmid, guest


async def guest_status(request: web.Request) -> web.Response:
    vmid, guest = guest_of(request)
    running = guest["status"] == "running"
    row = guest_row(vmid, guest) | {"cpus": 2, "qmpstatus": guest["status"], "ha": {"managed": 0}}
    return data(
        row | ({"pid": 4242, "running-machine": "pc-q35-10.0", "running-qemu": "10.0.3"} if running else {})
    )


def inside_of(request: web.Request) -> Inside:
    vmid, guest = guest_of(request)
    return request.app[WORLD].inside_of(vmid, guest)


async def guest_config(request: web.Request) -> web.Response:
    _, guest = guest_of(request)
    return data(inside_of(request).settings | {"name": guest["name"], "digest": "0" * 40})


async def guest_pending(request: web.Request) -> web.Response:
    return data(inside_of(request).pending())


async def set_guest_config(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    if world.refuse_settings:
        return refuse(400, "Parameter verification failed.", **world.refuse_settings)
    form, inside = dict(await request.post()), inside_of(request)

    def done() -> None:
        inside.change(form, guest["status"] == "running")
        guest["name"] = inside.settings.get("name", guest["name"])

    if request.method == "POST":
        return data(world.begin(guest["node"], "qmconfig", vmid, ["update VM"], done))
    done()
    return data(None)


async def grow_disk(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    form = await request.post()
    inside = inside_of(request)
    disk, more = str(form["disk"]), float(str(form["size"]).strip("+G"))

    def done() -> None:
        text = inside.settings[disk]
        size = re.search(r"size=(\d+)G", text)
        assert size is not None
        inside.settings[disk] = text.replace(size[0], f"size={int(size[1]) + more:g}G")

    return data(world.begin(guest["node"], "resize", vmid, [f"resize {disk}"], done))


async def create_guest(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if world.refuse_settings:
        return refuse(400, "Parameter verification failed.", **world.refuse_settings)
    form, node = dict(await request.post()), request.match_info["node"]
    vmid, start = int(str(form.pop("vmid"))), form.pop("start", "0") == "1"
    if vmid in world.guests:
        return refuse(500, f"unable to create VM {vmid} - VM {vmid} already exists on node '{node}'")

    def done() -> None:
        world.inside[vmid] = Inside({})
        world.inside[vmid].change(form, False)
        name = str(form.get("name", f"VM {vmid}"))
        status = "running" if start else "stopped"
        world.guests[vmid] = {"name": name, "node": node, "status": status, "since": time.time()}

    return data(world.begin(node, "qmcreate", vmid, ["scsi0: created"], done))


async def destroy_guest(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    return data(world.begin(guest["node"], "qmdestroy", vmid, [], lambda: world.guests.pop(vmid)))


async def clone_guest(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    form = await request.post()
    inside = inside_of(request)
    newid, name = int(str(form["newid"])), str(form.get("name", f"VM {form['newid']}"))

    def done() -> None:
        world.inside[newid] = Inside(inside.settings | {"name": name})
        world.guests[newid] = {**guest, "name": name, "status": "stopped", "template": 0}

    return data(world.begin(guest["node"], "qmclone", vmid, ["cloning"], done))


async def make_template(request: web.Request) -> web.Response:
    vmid, guest = guest_of(request)
    world = request.app[WORLD]
    return data(world.begin(guest["node"], "qmtemplate", vmid, [], lambda: guest.update(template=1)))


async def next_id(request: web.Request) -> web.Response:
    vmid = next(number for number in range(100, 1000) if number not in request.app[WORLD].guests)
    return data(str(vmid))


async def node_storages(request: web.Request) -> web.Response:
    room = {"active": 1, "total": 100 * GIB, "avail": 60 * GIB}
    return data(
        [
            {"storage": "local", "type": "dir", "content": "iso,vztmpl,backup,images", **room},
            {"storage": "shared", "type": "dir", "content": "images", "shared": 1, **room},
        ]
    )


async def volumes(request: web.Request) -> web.Response:
    if request.query.get("content") != "iso":
        return data([])
    return data([{"volid": "local:iso/debian-13.iso", "content": "iso", "format": "iso", "size": GIB}])


async def cpu_models(request: web.Request) -> web.Response:
    return data([{"name": name, "custom": 0} for name in ("x86-64-v2-AES", "host", "max")])


async def machines(request: web.Request) -> web.Response:
    return data([{"id": f"pc-{kind}-10.0", "type": kind, "version": "10.0"} for kind in ("i440fx", "q35")])


async def snapshots(request: web.Request) -> web.Response:
    return data(inside_of(request).snapshot_rows())


async def take_snapshot(request: web.Request) -> web.Response:
    vmid, guest = guest_of(request)
    inside, form = inside_of(request), await request.post()
    name, text = str(form["snapname"]), str(form.get("description", ""))
    if any(row["name"] == name for row in inside.snapshots):
        return refuse(400, "Parameter verification failed.", snapname=f"there is a snapshot '{name}' already")
    memory = form.get("vmstate") == "1"
    begin = request.app[WORLD].begin
    done = inside.snapshot
    return data(begin(guest["node"], "qmsnapshot", vmid, ["saving"], lambda: done(name, text, memory)))


async def of_snapshot(request: web.Request) -> web.Response:
    """Roll back to it, or delete it."""
    vmid, guest = guest_of(request)
    inside, name, world = inside_of(request), request.match_info["name"], request.app[WORLD]
    if request.method == "POST":
        return data(
            world.begin(guest["node"], "qmrollback", vmid, [], lambda: setattr(inside, "parent", name))
        )

    def deleted() -> None:
        inside.snapshots = [row for row in inside.snapshots if row["name"] != name]

    return data(world.begin(guest["node"], "qmdelsnapshot", vmid, [], deleted))


async def describe_snapshot(request: web.Request) -> web.Response:
    text = str((await request.post())["description"])
    for row in inside_of(request).snapshots:
        if row["name"] == request.match_info["name"]:
            row["description"] = text
    return data(None)


async def offer_console(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if world.consoles.refuse:
        return refuse(500, world.consoles.refuse)
    port = 5901 if request.path.endswith("vncproxy") else 5902
    return data({"port": port, "ticket": TICKET, "user": "root@pam", "upid": "UPID:", "cert": ""})


async def console(request: web.Request) -> web.StreamResponse:
    """The websocket of a console: a display on port 5901, a terminal on 5902."""
    consoles = request.app[WORLD].consoles
    assert request.query["vncticket"] == TICKET
    socket = web.WebSocketResponse(protocols=("binary",))
    await socket.prepare(request)
    talk = fake_guests.display if request.query["port"] == "5901" else fake_guests.terminal
    talking = asyncio.create_task(talk(socket, consoles))
    consoles.open += 1
    try:
        while not talking.done() and not consoles.close_with:
            await asyncio.wait({talking}, timeout=0.05)
        if consoles.close_with:
            await socket.close(code=1008, message=consoles.close_with.encode())
    finally:
        consoles.open -= 1
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    return socket


async def screenshot(request: web.Request) -> web.Response:
    return web.Response(body=b"\x89PNG\r\n\x1a\n", content_type="image/png")


async def migrate_check(request: web.Request) -> web.Response:
    _, guest = guest_of(request)
    running = int(guest["status"] == "running")
    return data({"running": running, "local_disks": [], "local_resources": []})


async def power(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    action = request.match_info["action"]
    if not world.quorate:
        return refuse(500, "no quorum")
    if action == "start" and guest["name"] == "archive":
        return refuse(500, "storage 'tank' is not available on node 'pve3': import the pool first")

    def done() -> None:
        if action in ("start", "reboot"):
            inside_of(request).started()
        guest.update(
            status="running" if action in ("start", "reboot", "reset") else "stopped", since=time.time()
        )

    return data(world.begin(guest["node"], f"qm{action}", vmid, [f"{action} VM {vmid}"], done))


async def migrate(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    target = str((await request.post())["target"])
    steps = [f"starting migration of VM {vmid} to node '{target}' (10.0.0.2)"]
    steps += [f"migration active, transferred {part} % of 2.0 GiB" for part in (12, 37, 64, 91)]
    steps += ["migration completed, measured downtime 12 ms"]
    return data(world.begin(guest["node"], "qmigrate", vmid, steps, lambda: guest.update(node=target)))


def shown(world: World) -> dict[tuple[str, str], Json]:
    """All that events tell of, by event and key."""
    found = {("resource", row["id"]): row for row in resource_rows(world)}
    for row in found.values():
        row.pop("uptime", None)
    found |= {("task", task.upid): task.row() for task in reversed(world.tasks)}
    for vmid, guest in world.guests.items():
        path = f"nodes/{guest['node']}/qemu-server/{vmid}.conf"
        inside = world.inside_of(vmid, guest)
        told = [guest["name"], dict(inside.settings), dict(inside.waiting), inside.parent]
        found["store", path] = {"path": path, "version": 1, "told": [*told, json.dumps(inside.snapshots)]}
    online = [name for name in world.votes if name in world.online]
    offline = [name for name in world.votes if name not in world.online]
    for path in ("corosync.conf", "nodes/pve/former-ssl.pem"):
        found["store", path] = {"path": path, "version": 1, "told": [dict(world.votes), world.certificate]}
    membership = {
        "name": "home" if world.clustered else None,
        "device": bool(world.device),
        "quorate": world.quorate,
        "reason": "",
        "online": online,
        "offline": offline,
    }
    return found | {("cluster", ""): membership}


async def events(request: web.Request) -> web.StreamResponse:
    """What changes, compared 50 times a second; or one task's log."""
    world = request.app[WORLD]
    if world.events == "absent":
        return refuse(501, "Method 'GET /events' not implemented")
    if world.events == "cut":
        if request.transport is not None:
            request.transport.close()
        raise web.HTTPServiceUnavailable
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    if world.events == "held":
        await answer.prepare(request)
        await asyncio.sleep(120)
        return answer
    world.streams += 1
    try:
        await answer.prepare(request)
        if upid := request.query.get("task"):
            await tell_task(answer, request, world, upid)
        else:
            await tell_all(answer, request, world)
    except ConnectionError:
        pass
    finally:
        world.streams -= 1
    return answer


def frame(name: str, value: object, last_id: str = "") -> bytes:
    return (f"id: {last_id}\n" * bool(last_id) + f"event: {name}\ndata: {json.dumps(value)}\n\n").encode()


def is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def tell_all(answer: web.StreamResponse, request: web.Request, world: World) -> None:
    epoch, number = world.epoch, 0
    last = request.headers.get("Last-Event-ID", "")
    world.opened.append(last)
    if last.startswith(f"{epoch}-"):
        await answer.write(b": welcome back\n\n")
    else:
        await answer.write(frame("reset" if last else "hello", {}, f"{epoch}-0"))
    before = shown(world)
    while world.epoch == epoch and world.events == "told" and is_there(request):
        await asyncio.sleep(0.02)
        if world.expired:
            await answer.write(frame("expired", {"message": "permission denied - invalid PVE ticket"}))
            return
        now = shown(world)
        for (name, key), row in now.items():
            if before.get((name, key)) != row:
                number += 1
                await answer.write(frame(name, row, f"{epoch}-{number}"))
        for name, key in before.keys() - now.keys():
            gone = {"path": key, "version": 1} if name == "store" else {"id": key}
            await answer.write(frame(name, gone | {"gone": 1}))
        before = now


async def tell_task(answer: web.StreamResponse, request: web.Request, world: World, upid: str) -> None:
    epoch, told = world.epoch, int(request.headers.get("Last-Event-ID") or 0)
    task = next(task for task in world.tasks if task.upid == upid)
    progress = None
    while world.epoch == epoch and world.events == "told" and is_there(request):
        for number, text in list(enumerate(task.log, 1))[told:]:
            await answer.write(frame("log", {"n": number, "t": text}, str(number)))
        told = len(task.log)
        if task.progress is not None and task.progress != progress and task.endtime is None:
            progress = task.progress
            await answer.write(frame("progress", {"progress": progress, "doing": task.doing}))
        if task.endtime is not None:
            await answer.write(frame("end", {"exitstatus": task.status, "endtime": task.endtime}))
            return
        await asyncio.sleep(0.02)


async def page(request: web.Request) -> web.StreamResponse:
    name = request.match_info["file"] or "index.html"
    path = (PAGE / name).resolve()
    if not path.is_relative_to(PAGE) or not path.is_file():
        raise web.HTTPNotFound
    caching = "max-age=31536000, immutable" if name.startswith("assets/") else "no-store"
    return web.FileResponse(path, headers={"Cache-Control": caching})


def application(world: World) -> web.Application:
    """The whole server over one world."""
    app = web.Application(middlewares=[guard])
    app[WORLD] = world
    api = "/api2/json"
    cluster = f"{api}/kvorum/cluster"
    guest = f"{api}/nodes/{{node}}/qemu/{{vmid}}"
    task = f"{api}/nodes/{{node}}/tasks/{{upid}}"
    app.router.add_post(f"{api}/access/ticket", ticket)
    app.router.add_get("/api2/events", events)
    app.router.add_post(f"{api}/access/tfa/{{user}}", add_factor)
    app.router.add_delete(f"{api}/access/tfa/{{user}}/{{id}}", remove_factor)
    app.router.add_post(f"{api}/access/users/{{user}}/token/{{token}}", add_token)
    app.router.add_delete(f"{api}/access/users/{{user}}/token/{{token}}", remove_token)
    app.router.add_put(f"{api}/access/password", set_password)
    for path, handler in (
        (f"{api}/access/domains", domains),
        (f"{api}/access/tfa/{{user}}", factors),
        (f"{api}/access/users/{{user}}/token", tokens),
        (f"{api}/cluster/status", cluster_status),
        (f"{api}/cluster/resources", resources),
        (f"{api}/cluster/tasks", tasks),
        (f"{api}/cluster/config/nodes", config_nodes),
        (f"{api}/kvorum/quorum", quorum),
        (f"{api}/kvorum/links", links),
        (f"{cluster}/votes", forecast),
        (f"{cluster}/tokens", join_tokens),
        (f"{cluster}/fingerprint", fingerprint),
        (f"{cluster}/nodes/{{node}}/page-certificate", certificate),
        (f"{cluster}/qdevice/hostkey", host_key),
        (f"{api}/cluster/config/join", join_answer),
        (f"{api}/cluster/config/qdevice", device),
        (f"{api}/nodes/{{node}}/network", network),
        (f"{api}/nodes/{{node}}/status", node_status),
        (f"{guest}/status/current", guest_status),
        (f"{guest}/config", guest_config),
        (f"{guest}/migrate", migrate_check),
        (f"{guest}/pending", guest_pending),
        (f"{guest}/snapshot", snapshots),
        (f"{guest}/vncwebsocket", console),
        (f"{api}/nodes/{{node}}/vncwebsocket", console),
        (f"/api2/png/kvorum{guest.removeprefix(api)}/screenshot", screenshot),
        (f"{api}/cluster/nextid", next_id),
        (f"{api}/nodes/{{node}}/storage", node_storages),
        (f"{api}/nodes/{{node}}/storage/{{storage}}/content", volumes),
        (f"{api}/nodes/{{node}}/capabilities/qemu/cpu", cpu_models),
        (f"{api}/nodes/{{node}}/capabilities/qemu/machines", machines),
        (f"{task}/log", task_log),
        (f"{task}/status", task_status),
    ):
        app.router.add_get(path, handler)
    app.router.add_post(f"{guest}/status/{{action:start|stop|shutdown|reboot|reset}}", power)
    app.router.add_post(f"{guest}/migrate", migrate)
    app.router.add_put(f"{guest}/config", set_guest_config)
    app.router.add_put(f"{guest}/resize", grow_disk)
    app.router.add_put(f"{guest}/snapshot/{{name}}/config", describe_snapshot)
    app.router.add_delete(guest, destroy_guest)
    app.router.add_delete(f"{guest}/snapshot/{{name}}", of_snapshot)
    for path, handler in (
        (f"{guest}/config", set_guest_config),
        (f"{guest}/clone", clone_guest),
        (f"{guest}/template", make_template),
        (f"{guest}/snapshot", take_snapshot),
        (f"{guest}/snapshot/{{name}}/rollback", of_snapshot),
        (f"{guest}/{{kind:vncproxy|termproxy}}", offer_console),
        (f"{api}/nodes/{{node}}/{{kind:termproxy}}", offer_console),
        (f"{api}/nodes/{{node}}/qemu", create_guest),
    ):
        app.router.add_post(path, handler)
    for path, handler in (
        (f"{api}/cluster/config", create_cluster),
        (f"{api}/cluster/config/join", join_cluster),
        (f"{cluster}/tokens", make_token),
        (f"{cluster}/votes", set_votes),
        (f"{cluster}/expected", expect_votes),
        (f"{cluster}/leave", leave_cluster),
        (f"{cluster}/qdevice", set_up_device),
    ):
        app.router.add_post(path, handler)
    for path, handler in (
        (f"{cluster}/tokens/{{id}}", revoke_token),
        (f"{cluster}/nodes/{{node}}/page-certificate", take_certificate),
        (f"{cluster}/qdevice", remove_device),
        (f"{api}/cluster/config/nodes/{{node}}", remove_node),
    ):
        app.router.add_delete(path, handler)
    app.router.add_delete(task, task_stop)
    app.router.add_get("/{file:(?!api2/).*}", page)
    return app


if __name__ == "__main__":
    web.run_app(
        application(new_world()), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8007
    )
