"""The lab's warden: the one process that owns a running lab, in namespaces of its own.

``main`` leaves the host's mount, network and process namespaces first, so that every mount, link and process
of the lab ends with them: whoever kills the namespace's init has taken the lab down. The host
keeps a control group, two directories and one listening socket, which ``down`` removes.

It answers requests on ``Places.socket``: a line of JSON in, a line of JSON out, then the connection closes.
An answer may carry a descriptor: a pidfd to enter a machine by, or a socket in the lab's network.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from kvorum.core.errors import Conflict, KvorumError
from kvorum.lab import cache, faults, kernel, plan, relay
from kvorum.lab.cgroup import Cgroup
from kvorum.lab.machine import MachineRuntime, run

Answer = tuple[dict[str, object], list[int]]


class Warden:
    """Carries out requests on a lab's machines; one at a time for each machine."""

    def __init__(self, lab: plan.Plan, places: plan.Places, base: Cgroup) -> None:
        self._lab = lab
        self._places = places
        self._faults = faults.Faults()
        self._machines = {
            m.name: MachineRuntime(m, lab, places, Cgroup(base.path / m.name)) for m in lab.machines
        }
        self._locks = {name: asyncio.Lock() for name in self._machines}
        self._ops: dict[str, Callable[[dict[str, object]], Awaitable[Answer]]] = {
            "status": self._status,
            "cut": self._cut,
            "power": self._power,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "partition": self._partition,
            "loss": self._loss,
            "heal": self._heal,
            "clock": self._clock,
            "enter": self._enter,
            "socket": self._socket,
            "down": self._down,
        }

    async def up(self, roots: dict[str, Path], password_hash: str) -> None:
        """Build the switch and boot all machines at once; raises ``KvorumError`` or ``OSError``."""
        await run("ip", "-batch", "-", text=plan.switch_setup())
        self._places.shared.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for name, runtime in self._machines.items():
                    root = roots["plain" if runtime.machine.plain else "node"]
                    group.create_task(self._first_boot(name, root, password_hash))
        except* (KvorumError, OSError) as several:
            raise several.exceptions[0] from None

    async def _first_boot(self, name: str, root: Path, password_hash: str) -> None:
        async with self._locks[name]:
            await self._machines[name].lay_out(root, password_hash)
            await self._machines[name].boot()

    async def answer(self, request: dict[str, object]) -> Answer:
        """Carry one request out; raises ``KvorumError`` or ``ValueError`` with a sentence."""
        op = self._ops.get(str(request.get("op")))
        if op is None:
            raise ValueError(f"the lab's warden knows no '{request.get('op')}'")
        return await op(request)

    def _find(self, request: dict[str, object]) -> MachineRuntime:
        name = str(request.get("machine"))
        if name not in self._machines:
            raise ValueError(f"there is no machine '{name}' in this lab, only {', '.join(self._machines)}")
        return self._machines[name]

    async def _status(self, request: dict[str, object]) -> Answer:
        machines = [
            {
                "name": m.name,
                "plain": m.plain,
                "state": runtime.state,
                "addresses": [m.address(n) for n in m.networks],
            }
            for m, runtime in ((r.machine, r) for r in self._machines.values())
        ]
        return {"machines": machines, "faults": self._faults.sentences(), "lossy": self._lab.lossy}, []

    async def _cut(self, request: dict[str, object]) -> Answer:
        machine = self._find(request)
        async with self._locks[machine.machine.name]:
            if machine.state == "cut":
                raise Conflict(f"{machine.machine.name} is cut already: switch it on by `kvorum lab power`")
            await machine.cut()
        return {}, []

    async def _power(self, request: dict[str, object]) -> Answer:
        machine = self._find(request)
        async with self._locks[machine.machine.name]:
            if machine.state not in ("cut", "off"):
                raise Conflict(
                    f"{machine.machine.name} is {machine.state}: only a machine without power boots"
                )
            await machine.boot()
        return {}, []

    async def _freeze(self, request: dict[str, object]) -> Answer:
        return await self._set_frozen(self._find(request), frozen=True)

    async def _thaw(self, request: dict[str, object]) -> Answer:
        return await self._set_frozen(self._find(request), frozen=False)

    async def _set_frozen(self, machine: MachineRuntime, *, frozen: bool) -> Answer:
        async with self._locks[machine.machine.name]:
            wanted = "running" if frozen else "frozen"
            if machine.state != wanted:
                raise Conflict(f"{machine.machine.name} is {machine.state}, not {wanted}")
            await machine.freeze(frozen)
        return {}, []

    async def _partition(self, request: dict[str, object]) -> Answer:
        link = request.get("link")
        more = faults.parse_partition(
            str(request.get("sides")), self._machines, None if link is None else int(str(link))
        )
        return await self._apply(self._faults.and_partitions(more))

    async def _loss(self, request: dict[str, object]) -> Answer:
        link = request.get("link")
        loss = faults.parse_loss(float(str(request.get("percent"))), None if link is None else int(str(link)))
        return await self._apply(self._faults.with_loss(loss))

    async def _heal(self, request: dict[str, object]) -> Answer:
        return await self._apply(faults.Faults())

    async def _apply(self, wanted: faults.Faults) -> Answer:
        await run("nft", "-f", "-", text=[faults.ruleset(wanted, self._lab.machines)])
        self._faults = wanted
        return {"faults": wanted.sentences()}, []

    async def _clock(self, request: dict[str, object]) -> Answer:
        machine = self._find(request)
        if machine.state != "running":
            raise Conflict(f"{machine.machine.name} is {machine.state}: its clock can be set while it runs")
        seconds = float(str(request.get("seconds")))
        root = self._places.machine(machine.machine.name).root
        units = root / "etc/systemd/system"
        for unit in plan.CLOCKED_UNITS:
            drop_in = units / f"{unit}.d" / "50-kvorum-lab-clock.conf"
            if seconds:
                drop_in.parent.mkdir(exist_ok=True)
                drop_in.write_text(plan.clock_drop_in(seconds))
            else:
                drop_in.unlink(missing_ok=True)
        return {}, []

    async def _enter(self, request: dict[str, object]) -> Answer:
        if request.get("machine") == "switch":
            return {"cgroup": None}, [os.pidfd_open(os.getpid())]
        machine = self._find(request)
        name = machine.machine.name
        if machine.state == "booting":
            raise Conflict(f"{name} is booting: try again when it runs")
        if machine.state != "running":
            hint = "thaw" if machine.state == "frozen" else "power"
            raise Conflict(f"{name} is {machine.state}: first `kvorum lab {hint} {name}`")
        inside = Cgroup(machine.cgroup.path / "exec")
        try:
            if machine.leader is None:
                raise ProcessLookupError
            inside.create()
            return {"cgroup": f"{name}/exec"}, [os.pidfd_open(machine.leader)]
        except (ProcessLookupError, FileNotFoundError):
            raise Conflict(f"{name} went down just now: try again when it runs") from None

    async def _socket(self, request: dict[str, object]) -> Answer:
        made = socket.socket(int(str(request["family"])), int(str(request["type"])))
        return {}, [made.detach()]

    async def _down(self, request: dict[str, object]) -> Answer:
        for runtime in self._machines.values():
            if runtime.state != "cut":
                await runtime.cut()
            await runtime.take_apart()
        return {}, []


async def _converse(warden: Warden, connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    descriptors: list[int] = []
    with connection:
        try:
            data = b""
            while not data.endswith(b"\n"):
                more = await loop.sock_recv(connection, 65536)
                if not more:
                    return
                data += more
            told, descriptors = await warden.answer(json.loads(data))
            told = {"ok": True, **told}
        except (KvorumError, ValueError, OSError, TimeoutError) as error:
            told = {"ok": False, "error": str(error) or type(error).__name__}
        except Exception as error:
            traceback.print_exc()
            told = {"ok": False, "error": f"the lab's warden failed: {error!r}"}
        try:
            socket.send_fds(connection, [json.dumps(told).encode() + b"\n"], descriptors)
        except OSError as error:
            sys.stderr.write(f"an answer could not be given: {error}\n")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


async def _serve(order: dict[str, object], report: int, page: int | None) -> None:
    places = plan.Places(Path(str(order["state"])), Path(str(order["machines"])))
    lab = plan.Plan(int(str(order["nodes"])), int(str(order["plain"])), bool(order["lossy"]))
    warden = Warden(lab, places, Cgroup(Path("/sys/fs/cgroup") / places.cgroup))
    roots = order["roots"]
    assert isinstance(roots, dict)
    for root in roots.values():
        cache.hold(Path(root))  # also while all machines are off: they are to boot from it again
    try:
        await warden.up(
            {k: Path(v) for k, v in roots.items()}, kernel.password_hash(places.password.read_text().strip())
        )
        if page is not None:
            _page = await relay.serve(socket.socket(fileno=page), lab.machines[0].address(0), 8006)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listening.bind(str(places.socket))
        places.socket.chmod(0o600)
        listening.listen(64)
    except (KvorumError, OSError, TimeoutError) as error:
        os.write(report, json.dumps({"error": str(error) or type(error).__name__}).encode())
        raise
    os.write(report, b"{}")
    os.close(report)
    running: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listening)
        task = asyncio.create_task(_converse(warden, connection))
        running.add(task)
        task.add_done_callback(running.discard)


def _prepare_namespaces() -> None:
    kernel.mount("none", Path("/"), "", kernel.MS_REC | kernel.MS_SLAVE)
    kernel.mount("proc", Path("/proc"), "proc")
    kernel.mount("none", Path("/sys/fs/cgroup"), "cgroup2")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():  # each network namespace has its own
        bridged.write_text("0")
    Path("/run/netns").mkdir(exist_ok=True)
    kernel.mount("none", Path("/run/netns"), "tmpfs")


def _be_init(child: int) -> int:
    """Reap whatever ends, as a process namespace's first process must, until ``child`` has ended."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Start a lab, as ``kvorum lab up`` does: ``python -m kvorum.lab.warden ORDER REPORT_FD [PAGE_FD]``."""
    order = json.loads(sys.argv[1])
    report = int(sys.argv[2])
    page = int(sys.argv[3]) if len(sys.argv) > 3 else None
    places = plan.Places(Path(order["state"]), Path(order["machines"]))
    try:
        own = Cgroup(Path(order["cgroup"]) / "warden")
        own.create()
        own.join()
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID)
        init = os.fork()
        if init:
            places.record.write_text(json.dumps({**order, "init": init}))
            os._exit(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _prepare_namespaces()
        warden = os.fork()
        if warden:
            os.close(report)
            if page is not None:
                os.close(page)
            os._exit(_be_init(warden) & 0xFF)
    except OSError as error:
        os.write(report, json.dumps({"error": str(error)}).encode())
        raise
    asyncio.run(_serve(order, report, page))


if __name__ == "__main__":
    main()
