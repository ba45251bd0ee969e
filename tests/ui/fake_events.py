"""The fake API's stream of events."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web
from fake_cluster import resource_rows
from fake_world import WORLD, Json, World, refuse


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
    last = request.headers.get("Last-Event-ID", "")
    world.opened.append(last)  # before it counts: who sees the count finds its place among them
    world.streams += 1
    try:
        await answer.prepare(request)
        if upid := request.query.get("task"):
            await tell_task(answer, request, world, upid, last)
        else:
            await tell_all(answer, request, world, last)
    except ConnectionError:
        pass
    finally:
        world.streams -= 1
    return answer


def frame(name: str, value: object, last_id: str = "") -> bytes:
    return (f"id: {last_id}\n" * bool(last_id) + f"event: {name}\ndata: {json.dumps(value)}\n\n").encode()


def is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def tell_all(answer: web.StreamResponse, request: web.Request, world: World, last: str) -> None:
    epoch, number = world.epoch, 0
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


async def tell_task(
    answer: web.StreamResponse, request: web.Request, world: World, upid: str, last: str
) -> None:
    epoch, told = world.epoch, int(last or 0)
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
