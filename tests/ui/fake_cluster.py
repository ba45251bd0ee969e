"""The cluster of the fake API: its members, votes and quorum, joining and leaving, the QDevice."""

from __future__ import annotations

import time

from aiohttp import web
from fake_world import GIB, JOIN_TOKEN, WORLD, Json, World, data, refuse


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
