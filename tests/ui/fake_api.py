"""A small world that answers as the API does: three nodes, some guests, tasks that run in steps.

For the page's tests, and to work on the page without a lab: ``python tests/ui/fake_api.py [PORT]``, then
open http://127.0.0.1:PORT and log in as root with the password ``kvorum``. It serves the built page with the
strictest Content-Security-Policy that the page keeps.
"""

from __future__ import annotations

import sys

import fake_access
import fake_cluster
import fake_events
import fake_node
import fake_vms
from aiohttp import web
from fake_world import CSP, PAGE, WORLD, Handler, Refused, Task, World, data, new_world, refuse


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
    app.router.add_post(f"{api}/access/ticket", fake_access.ticket)
    app.router.add_get("/api2/events", fake_events.events)
    app.router.add_post(f"{api}/access/tfa/{{user}}", fake_access.add_factor)
    app.router.add_delete(f"{api}/access/tfa/{{user}}/{{id}}", fake_access.remove_factor)
    app.router.add_post(f"{api}/access/users/{{user}}/token/{{token}}", fake_access.add_token)
    app.router.add_delete(f"{api}/access/users/{{user}}/token/{{token}}", fake_access.remove_token)
    app.router.add_put(f"{api}/access/password", fake_access.set_password)
    for path, handler in (
        (f"{api}/access/domains", fake_access.domains),
        (f"{api}/access/tfa/{{user}}", fake_access.factors),
        (f"{api}/access/users/{{user}}/token", fake_access.tokens),
        (f"{api}/cluster/status", fake_cluster.cluster_status),
        (f"{api}/cluster/resources", fake_cluster.resources),
        (f"{api}/cluster/tasks", tasks),
        (f"{api}/cluster/config/nodes", fake_cluster.config_nodes),
        (f"{api}/kvorum/quorum", fake_cluster.quorum),
        (f"{api}/kvorum/links", fake_cluster.links),
        (f"{cluster}/votes", fake_cluster.forecast),
        (f"{cluster}/tokens", fake_cluster.join_tokens),
        (f"{cluster}/fingerprint", fake_cluster.fingerprint),
        (f"{cluster}/nodes/{{node}}/page-certificate", fake_cluster.certificate),
        (f"{cluster}/qdevice/hostkey", fake_cluster.host_key),
        (f"{api}/cluster/config/join", fake_cluster.join_answer),
        (f"{api}/cluster/config/qdevice", fake_cluster.device),
        (f"{api}/nodes/{{node}}/network", fake_node.network),
        (f"{api}/nodes/{{node}}/status", fake_node.node_status),
        (f"{guest}/status/current", fake_vms.guest_status),
        (f"{guest}/config", fake_vms.guest_config),
        (f"{guest}/migrate", fake_vms.migrate_check),
        (f"{guest}/cloudinit", fake_vms.cloud_init),
        (f"{guest}/pending", fake_vms.guest_pending),
        (f"{guest}/snapshot", fake_vms.snapshots),
        (f"{guest}/vncwebsocket", fake_vms.console),
        (f"{api}/nodes/{{node}}/vncwebsocket", fake_vms.console),
        (f"/api2/png/kvorum{guest.removeprefix(api)}/screenshot", fake_vms.screenshot),
        (f"{api}/cluster/nextid", fake_vms.next_id),
        (f"{api}/nodes/{{node}}/storage", fake_node.node_storages),
        (f"{api}/nodes/{{node}}/storage/{{storage}}/content", fake_node.volumes),
        (f"{api}/nodes/{{node}}/capabilities/qemu/cpu", fake_node.cpu_models),
        (f"{api}/nodes/{{node}}/capabilities/qemu/machines", fake_node.machines),
        (f"{task}/log", task_log),
        (f"{task}/status", task_status),
    ):
        app.router.add_get(path, handler)
    app.router.add_post(f"{guest}/status/{{action:start|stop|shutdown|reboot|reset}}", fake_vms.power)
    app.router.add_post(f"{guest}/migrate", fake_vms.migrate)
    app.router.add_post(f"{api}/nodes/{{node}}/network", fake_node.change_network)
    app.router.add_put(f"{api}/nodes/{{node}}/network", fake_node.apply_network)
    app.router.add_delete(f"{api}/nodes/{{node}}/network", fake_node.change_network)
    app.router.add_put(f"{api}/nodes/{{node}}/network/{{iface}}", fake_node.change_network)
    app.router.add_delete(f"{api}/nodes/{{node}}/network/{{iface}}", fake_node.change_network)
    app.router.add_post(f"{api}/kvorum/nodes/{{node}}/network/confirm", fake_node.confirm_network)
    app.router.add_put(f"{guest}/cloudinit", fake_vms.cloud_init)
    app.router.add_put(f"{guest}/config", fake_vms.set_guest_config)
    app.router.add_put(f"{guest}/resize", fake_vms.grow_disk)
    app.router.add_put(f"{guest}/snapshot/{{name}}/config", fake_vms.describe_snapshot)
    app.router.add_delete(guest, fake_vms.destroy_guest)
    app.router.add_delete(f"{guest}/snapshot/{{name}}", fake_vms.of_snapshot)
    for path, handler in (
        (f"{guest}/config", fake_vms.set_guest_config),
        (f"{guest}/move_disk", fake_vms.move_disk),
        (f"{guest}/clone", fake_vms.clone_guest),
        (f"{guest}/template", fake_vms.make_template),
        (f"{guest}/snapshot", fake_vms.take_snapshot),
        (f"{guest}/snapshot/{{name}}/rollback", fake_vms.of_snapshot),
        (f"{guest}/{{kind:vncproxy|termproxy}}", fake_vms.offer_console),
        (f"{api}/nodes/{{node}}/{{kind:termproxy}}", fake_vms.offer_console),
        ("/api2/spiceconfig/nodes/{node}/qemu/{vmid}/spiceproxy", fake_vms.viewer_file),
        (f"{api}/nodes/{{node}}/qemu", fake_vms.create_guest),
    ):
        app.router.add_post(path, handler)
    for path, handler in (
        (f"{api}/cluster/config", fake_cluster.create_cluster),
        (f"{api}/cluster/config/join", fake_cluster.join_cluster),
        (f"{cluster}/tokens", fake_cluster.make_token),
        (f"{cluster}/votes", fake_cluster.set_votes),
        (f"{cluster}/expected", fake_cluster.expect_votes),
        (f"{cluster}/leave", fake_cluster.leave_cluster),
        (f"{cluster}/qdevice", fake_cluster.set_up_device),
    ):
        app.router.add_post(path, handler)
    for path, handler in (
        (f"{cluster}/tokens/{{id}}", fake_cluster.revoke_token),
        (f"{cluster}/nodes/{{node}}/page-certificate", fake_cluster.take_certificate),
        (f"{cluster}/qdevice", fake_cluster.remove_device),
        (f"{api}/cluster/config/nodes/{{node}}", fake_cluster.remove_node),
    ):
        app.router.add_delete(path, handler)
    app.router.add_delete(task, task_stop)
    app.router.add_get("/{file:(?!api2/).*}", page)
    return app


if __name__ == "__main__":
    web.run_app(
        application(new_world()), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8007
    )
