"""One node of the fake API: how it is, its storages and what its QEMU can."""

from __future__ import annotations

from aiohttp import web
from fake_world import GIB, WORLD, Network, data, refuse


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


async def node_storages(request: web.Request) -> web.Response:
    room = {"active": 1, "total": 100 * GIB, "avail": 60 * GIB}
    return data(
        [
            {"storage": "local", "type": "dir", "content": "iso,vztmpl,backup,images,import", **room},
            {"storage": "shared", "type": "dir", "content": "images", "shared": 1, **room},
        ]
    )


async def volumes(request: web.Request) -> web.Response:
    if request.query.get("content") == "import":
        return data([{"volid": "local:import/old.vmdk", "content": "import", "format": "vmdk", "size": GIB}])
    if request.query.get("content") != "iso":
        return data([])
    return data([{"volid": "local:iso/debian-13.iso", "content": "iso", "format": "iso", "size": GIB}])


async def cpu_models(request: web.Request) -> web.Response:
    return data([{"name": name, "custom": 0} for name in ("x86-64-v2-AES", "host", "max")])


async def machines(request: web.Request) -> web.Response:
    return data([{"id": f"pc-{kind}-10.0", "type": kind, "version": "10.0"} for kind in ("i440fx", "q35")])


async def network(request: web.Request) -> web.Response:
    network = request.app[WORLD].network
    beside = {"changes": network.changes} if network.changes else {}
    return web.json_response({"data": network.rows, "total": len(network.rows), **beside})


async def change_network(request: web.Request) -> web.Response:
    """Make, change or remove an interface; without a name, take back what waits."""
    world, form = request.app[WORLD], dict(await request.post())
    network = world.network
    name = request.match_info.get("iface") or str(form.get("iface", ""))
    if world.refuse_settings:
        return refuse(400, "Parameter verification failed.", **world.refuse_settings)
    if request.method == "DELETE" and not name:
        world.network = Network()
        return data(None)
    before = next((row for row in network.rows if row["iface"] == name), {})
    gone = str(form.pop("delete", "")).split(",")
    row = {key: value for key, value in {**before, **form, "iface": name}.items() if key not in gone}
    network.rows = [each for each in network.rows if each["iface"] != name]
    network.changes += f"@@ -1 +1 @@\n auto lo\n-iface {name} before\n" if before else ""
    if request.method != "DELETE":
        network.rows = sorted([*network.rows, row], key=lambda each: str(each["iface"]))
        network.changes += f"+iface {name} inet static\n+\taddress {row.get('cidr')}\n"
    return data(None)


async def apply_network(request: web.Request) -> web.Response:
    """As the real one: kept when the page tells that it reaches the node, else taken back."""
    world = request.app[WORLD]
    network = world.network

    def done() -> None:
        if network.confirmed:
            network.changes = ""
            return
        why = "nothing heard from who asked for the change"
        world.tasks[-1].end(f"{why}; the old configuration is back and the change still waits")

    steps = ["ifreload", "waiting", *["still waiting"] * 8]
    return data(world.begin("pve", "srvreload", "networking", steps, done))


async def confirm_network(request: web.Request) -> web.Response:
    network = request.app[WORLD].network
    if not network.reachable:
        return refuse(500, "no network configuration waits to be confirmed")
    network.confirmed += 1
    return data(None)
