"""The guests of the fake API: what they are made of, and what is done with them."""

from __future__ import annotations

import asyncio
import re
import time

import fake_guests
from aiohttp import web
from fake_cluster import guest_row
from fake_guests import TICKET, Inside
from fake_world import WORLD, Json, Refused, data, refuse


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


async def viewer_file(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    if world.consoles.refuse:
        return refuse(500, world.consoles.refuse)
    proxy = (await request.post())["proxy"]
    text = f"[virt-viewer]\ntype=spice\nproxy=http://{proxy}:3128\n"
    return web.Response(text=text, content_type="application/x-virt-viewer")


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


async def cloud_init(request: web.Request) -> web.Response:
    inside = inside_of(request)
    if request.method == "PUT":
        inside.renew_drive()
        return data(None)
    return data(inside.cloud_rows())


async def move_disk(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    vmid, guest = guest_of(request)
    form, inside = await request.post(), inside_of(request)
    disk = str(form["disk"])

    def done() -> None:
        value = str(inside.settings.pop(disk))
        if "target-vmid" in form:
            other = int(str(form["target-vmid"]))
            world.inside_of(other, world.guests[other]).settings[str(form["target-disk"])] = value
            return
        inside.settings[disk] = f"{form['storage']}:{value.partition(':')[2]}"
        if form.get("delete") != "1":
            inside.settings["unused0"] = value.partition(",")[0]

    return data(world.begin(guest["node"], "qmmove", vmid, ["copying", "in step"], done))
