"""Guests of two nodes started, suspended, shut down and moved by one call to one of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import guests_world
import pytest

from kvorum.core.errors import ParameterError, PermissionDenied, Unreachable
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods import cluster_bulk
from kvorum.interface import Caller, Identity, Peers, Router, Services
from kvorum.server import rooms
from kvorum.tasks import TaskRunner
from kvorum.tasks.archive import Archive

pytestmark = pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
SMALL = "memory: 32\nvga: none\n"
ROUTER = Router(rooms.methods())
ROOT, USER = Identity("root@pam"), Identity("user@pve")


class Rights:
    """Root may all, others power VM 101 alone."""

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return identity == ROOT or (path, privilege) == ("/vms/101", "VM.PowerMgmt")

    def rights(self, identity: Identity) -> Callable[[str, str], bool]:
        return lambda path, privilege: self.allowed(identity, path, privilege)

    def groups(self, user: str) -> frozenset[str] | None:
        return frozenset()


class Daemons(Peers):
    """Two nodes' daemons, each of which calls the other as a node; ``away`` are those that don't answer."""

    def __init__(self, world: Any, root: Path) -> None:
        self.world, self.away = world, set[str]()
        self.runners: dict[str, TaskRunner] = {}
        self.callers: dict[str, Caller] = {}
        for name, node in world.nodes.items():
            archive = Archive(root / f"{name}-tasks")
            archive.prepare()
            services = Services()
            services.add(GuestManager, node.manager)
            self.runners[name] = TaskRunner(name, archive)
            services.add(TaskRunner, self.runners[name])
            services.add(Peers, self)
            self.callers[name] = Caller(node.store, services, Rights(), self.runners[name])

    async def call(
        self,
        node: str,
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
    ) -> object:
        if node in self.away:
            raise Unreachable(f"can't reach node '{node}'")
        pairs = [
            (name, str(int(value) if isinstance(value, bool) else value))
            for name, value in (parameters or {}).items()
        ]
        match, who = ROUTER.match(verb, path), Identity("n1@node", node="n1")
        self.callers[node].authorise(match, who, pairs)
        return await self.callers[node].call(match, who, pairs)

    async def bulk(
        self, action: str, given: Mapping[str, str] | None = None, who: Identity = ROOT
    ) -> tuple[str, list[str]]:
        """Ask n1; how its task ended, and the types and users of all tasks that ended."""
        match = ROUTER.match("POST", f"/cluster/bulk-action/guest/{action}")
        pairs = list((given or {}).items())
        self.callers["n1"].authorise(match, who, pairs)
        upid = str(await self.callers["n1"].call(match, who, pairs))
        ended = await self.runners["n1"].wait(upid, 60)
        tasks = [record.upid for runner in self.runners.values() for record in runner.latest()]
        return ended.status, sorted(f"{one.node} {one.type} {one.id} {one.user}" for one in tasks)

    def states(self) -> dict[int, str]:
        return {
            record.vmid: record.qmpstatus
            for node in self.world.nodes.values()
            for record in node.manager.records()
        }


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    world = guests_world.World(tmp_path, await guests_world.qemu_facts())
    await world.setup()
    for node, vmid, more in (("n1", 100, ""), ("n2", 101, ""), ("n2", 102, "template: 1\n")):
        await world.shared.write(f"nodes/{node}/qemu-server/{vmid}.conf", SMALL + more)
    for node in world.nodes.values():
        node.telling = asyncio.create_task(node.manager.publish_forever())
    await asyncio.sleep(0)
    yield Daemons(world, tmp_path)
    for node in world.nodes.values():
        node.telling.cancel()
        await asyncio.gather(node.telling, return_exceptions=True)
        for guest in node.manager.all_running():
            await guest.stop("the test is over")
    await world.close()


async def test_every_guest_is_a_task_of_its_own_node_in_the_name_of_who_asked(daemons: Daemons) -> None:
    status, tasks = await daemons.bulk("start", {"vms": "100,101"})
    assert status == "OK"
    assert tasks == ["n1 bulkstart  root@pam", "n1 qmstart 100 root@pam", "n2 qmstart 101 root@pam"]
    assert daemons.states() == {100: "running", 101: "running", 102: "stopped"}
    assert (await daemons.bulk("suspend"))[0] == "OK"
    assert daemons.states() == {100: "paused", 101: "paused", 102: "stopped"}
    assert (await daemons.bulk("start", {"vms": "100,101"}))[0] == "OK"
    assert daemons.states()[101] == "running", "a start lets go on what stands still"
    assert (await daemons.bulk("shutdown", {"timeout": "0"}))[0] == "OK"
    assert set(daemons.states().values()) == {"stopped"}


async def test_a_guest_that_fails_or_whose_node_is_away_is_a_warning(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_bulk, "AGAIN_S", 0.0)
    daemons.away.add("n2")
    status, _ = await daemons.bulk("start", {"vms": "100,101"})
    assert status == "WARNINGS: 1" and daemons.states()[100] == "running"
    await daemons.world.shared.write("nodes/n1/qemu-server/103.conf", SMALL + "lock: backup\n")
    assert (await daemons.bulk("start", {"vms": "103"}))[0] == "WARNINGS: 1"


async def test_who_may_only_power_one_must_name_it(daemons: Daemons) -> None:
    with pytest.raises(PermissionDenied, match=r"/, VM\.PowerMgmt"):
        await daemons.bulk("start", {}, USER)
    with pytest.raises(PermissionDenied, match=r"/vms/100, VM\.PowerMgmt"):
        await daemons.bulk("shutdown", {"vms": "100,101"}, USER)
    to_disk = {"vms": "101", "to-disk": "1", "statestorage": "local"}
    with pytest.raises(PermissionDenied, match=r"/vms/101, VM\.Config\.Disk"):
        await daemons.bulk("suspend", to_disk, USER)
    with pytest.raises(PermissionDenied, match=r"/vms/101, VM\.Migrate"):
        await daemons.bulk("migrate", {"vms": "101", "target": "n1"}, USER)
    status, tasks = await daemons.bulk("start", {"vms": "101"}, USER)
    assert status == "OK" and tasks == ["n1 bulkstart  user@pve", "n2 qmstart 101 user@pve"]


@pytest.mark.parametrize(
    ("action", "given", "wrong"),
    [
        ("start", {"vms": "999"}, "vms"),
        ("migrate", {"target": "n9"}, "target"),
        ("suspend", {"statestorage": "local"}, "statestorage"),
        ("shutdown", {"timeout": "-1"}, "timeout"),
    ],
)
async def test_what_is_wrong_is_named(
    daemons: Daemons, action: str, given: dict[str, str], wrong: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        await daemons.bulk(action, given)
    assert list(caught.value.errors) == [wrong]


async def test_only_a_node_may_ask_for_a_part(daemons: Daemons) -> None:
    match = ROUTER.match("POST", "/kvorum/nodes/n2/bulk/101")
    with pytest.raises(PermissionDenied):
        daemons.callers["n2"].authorise(match, ROOT, [("action", "start"), ("user", "root@pam")])
