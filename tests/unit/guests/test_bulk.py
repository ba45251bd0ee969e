"""Starting and stopping what a node has, all in one task."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import guests_world
import pytest

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.guests.config.hardware import Startup
from kvorum.guests.manager import GuestManager
from kvorum.guests.order import Group, backwards, groups
from kvorum.interface import Caller, Identity, Router, Services, Work
from kvorum.server import rooms

pytestmark = pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
SMALL = "memory: 32\nvga: none\n"
ROUTER = Router(rooms.methods())
ROOT = Identity("root@pam")


class Rights:
    """Root may all, others power VM 101 alone."""

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return identity == ROOT or (path, privilege) == ("/vms/101", "VM.PowerMgmt")

    def groups(self, user: str) -> frozenset[str] | None:
        return frozenset()


class Bulk:
    def __init__(self, node: object) -> None:
        self.node = node
        self.works: list[Work] = []
        services = Services()
        services.add(GuestManager, node.manager)  # type: ignore[attr-defined]
        self.caller = Caller(node.store, services, Rights(), self)  # type: ignore[attr-defined]

    def start(self, work: Work, user: str) -> str:
        self.works.append(work)
        return "UPID:kept"

    async def call(
        self, what: str, given: Mapping[str, str] | None = None, who: Identity = ROOT
    ) -> list[str]:
        """Carry a whole call out and return the task's log."""
        match = ROUTER.match("POST", f"/nodes/n1/{what}")
        pairs = list((given or {}).items())
        self.caller.authorise(match, who, pairs)
        await self.caller.call(match, who, pairs)
        log = guests_world.Lines()
        await self.works[-1].run(log)
        lines: list[str] = [*log.lines, *log.warnings]
        return lines

    @property
    def awake(self) -> list[int]:
        return sorted(guest.vmid for guest in self.node.manager.all_running())  # type: ignore[attr-defined]


@pytest.fixture
async def bulk(tmp_path: Path) -> AsyncIterator[Bulk]:
    node = guests_world.Node("n1", tmp_path, guests_world.MemoryStore("n1"), await guests_world.qemu_facts())
    await node.store.write("nodes/n1/qemu-server/100.conf", f"{SMALL}onboot: 1\n")
    await node.store.write("nodes/n1/qemu-server/101.conf", SMALL)
    await node.store.write("nodes/n1/qemu-server/102.conf", f"{SMALL}onboot: 1\nlock: backup\n")
    yield Bulk(node)
    await node.close()


async def test_boot_starts_what_shall_run_and_says_what_could_not(bulk: Bulk) -> None:
    lines = await bulk.call("startall")
    assert bulk.awake == [100]
    assert any("102" in line and "locked (backup)" in line for line in lines), lines
    assert bulk.works[-1].type == "startall"


def test_guests_go_in_the_order_of_their_startup_and_back_in_reverse() -> None:
    parse = Startup.parse
    startups = {
        103: parse("order=2"), 102: parse("order=1,up=5"), 101: parse("up=9"), 100: parse("1,up=3"),
    }  # fmt: skip
    assert groups(startups) == [Group((100, 102), 5), Group((103,), 0), Group((101,), 9)]
    assert backwards(startups) == [Group((101,), 0), Group((103,), 0), Group((100, 102), 0)]
    assert groups({}) == []


async def test_a_group_waits_for_the_one_before_and_its_delay(bulk: Bulk) -> None:
    for vmid, startup in ((100, "order=2"), (101, "order=1,up=1")):
        text = SMALL + f"onboot: 1\nstartup: {startup}\n"
        await bulk.node.store.write(f"nodes/n1/qemu-server/{vmid}.conf", text)  # type: ignore[attr-defined]
    lines = await bulk.call("startall", {"vms": "100,101"})
    assert lines == ["Starting VM 101", "waiting 1 s before the next guests", "Starting VM 100"]


async def test_stopping_all_ends_those_that_ignore_the_power_button(bulk: Bulk) -> None:
    await bulk.call("startall", {"vms": "100,101"})
    assert bulk.awake == [100, 101]
    await bulk.call("stopall", {"timeout": "0"})
    assert bulk.awake == []


async def test_who_may_only_power_one_must_name_it(bulk: Bulk) -> None:
    user = Identity("user@pve")
    with pytest.raises(PermissionDenied, match=r"/, VM\.PowerMgmt"):
        await bulk.call("startall", {}, user)
    with pytest.raises(PermissionDenied, match="/vms/100"):
        await bulk.call("startall", {"vms": "100;101"}, user)
    await bulk.call("startall", {"vms": "101"}, user)
    assert bulk.awake == [101]


async def test_a_guest_that_is_elsewhere_is_named(bulk: Bulk) -> None:
    with pytest.raises(ParameterError) as caught:
        await bulk.call("stopall", {"vms": "100,900"})
    assert caught.value.errors == {"vms": "VM 900 is not on node 'n1'"}
