"""Guests come up with their host once there is quorum, in order, and go down before it, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_qemu import Qemu
from guests_world import Lines, MemoryStore, Node

from kvorum.core.errors import NoQuorum
from kvorum.guests import together
from kvorum.guests.config import GuestConfig
from kvorum.guests.host import boot
from kvorum.guests.host.boot import HostGuests
from kvorum.guests.machine.guest import Workshop
from kvorum.guests.suspend import state
from kvorum.interface import Work
from kvorum.store import MakeDirectory, Rename

FACTS: Any = None
DEADLINE_S = 10.0


class Tasks:
    """Runs tasks, and remembers what they said."""

    def __init__(self) -> None:
        self.logs: list[Lines] = []
        self.running: dict[str, asyncio.Task[None]] = {}

    def start(self, work: Work, user: str) -> str:
        log, upid = Lines(), f"UPID:{len(self.logs)}"
        self.logs.append(log)
        self.running[upid] = asyncio.ensure_future(_awaited(work.run(log)))
        return upid

    async def stop(self, upid: str, user: str) -> None:
        self.running[upid].cancel()
        await asyncio.gather(self.running[upid], return_exceptions=True)


async def _awaited(work: Any) -> None:
    await work


class World:
    """A node whose QEMUs are stand-ins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root, self.store, FACTS)
        self.manager = self.node.manager
        self.tasks = Tasks()
        self.mark = root / "run/guests-at-boot"
        self.host = self.daemon()
        self.begun: list[int] = []
        self.ended: list[int] = []

    def daemon(self) -> HostGuests:
        return HostGuests(self.manager, self.tasks, self.mark, self.settle)  # type: ignore[arg-type]

    async def settle(self) -> None:
        await self.node.unfinished.settle_earlier()
        await self.node.snapshots.settle_earlier()

    async def guest(self, vmid: int, text: str, node: str = "n1") -> None:
        await self.store.write(f"nodes/{node}/qemu-server/{vmid}.conf", f"memory: 64\n{text}")

    def quorum(self, quorate: bool) -> None:
        reason = "" if quorate else "1 vote of 3"
        membership = msgspec.structs.replace(self.store.membership, quorate=quorate, reason=reason)
        self.store.set_membership(membership)

    async def up(self) -> Lines:
        """Come up, and to the end of it."""
        upid = self.host.come_up()
        await asyncio.wait_for(self.tasks.running[upid], DEADLINE_S)
        return self.tasks.logs[-1]

    async def down(self) -> Lines:
        log = Lines()
        await asyncio.wait_for(_awaited(self.host.going_down().run(log)), DEADLINE_S)
        return log


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    it = World(tmp_path)
    it.manager.workshop.files.prepare()

    async def start(workshop: Workshop, config: GuestConfig, **options: Any) -> Qemu:
        it.begun.append(config.vmid)
        qemu = Qemu(config, status="inmigrate" if options.get("incoming") else "prelaunch")
        qemu.vmid = config.vmid
        return qemu

    monkeypatch.setattr(Workshop, "start", start)
    monkeypatch.setattr(it.manager.workshop, "facts", Facts())
    yield it
    for task in it.tasks.running.values():
        task.cancel()
    await asyncio.gather(*it.tasks.running.values(), return_exceptions=True)


class Facts:
    accelerator = "kvm"
    reason = ""


async def test_guests_with_onboot_come_up_in_their_order_and_the_rest_stays_off(world: World) -> None:
    for vmid, text in {
        100: "onboot: 1\nstartup: order=2\n", 101: "onboot: 1\nstartup: order=1\n", 102: "",
        103: "onboot: 1\n", 104: "onboot: 1\ntemplate: 1\n", 105: "onboot: 1\nlock: backup\n",
    }.items():  # fmt: skip
        await world.guest(vmid, text)
    said = await world.up()
    assert world.begun == [101, 100, 103]
    assert said.warnings == ["VM 105: VM is locked (backup)"]
    assert not world.mark.exists()


async def test_without_quorum_nothing_starts_until_there_is_and_what_went_elsewhere_stays_there(
    world: World,
) -> None:
    await world.guest(100, "onboot: 1\n")
    await world.guest(101, "onboot: 1\n")
    world.quorum(False)
    upid = world.host.come_up()
    assert world.host.come_up() == upid, "one is enough"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.begun == [] and "waiting for quorum" in world.tasks.logs[0].text
    assert "1 vote of 3" in world.tasks.logs[0].text
    world.quorum(True)
    here, there = (f"nodes/{node}/qemu-server/101.conf" for node in ("n1", "n2"))
    await world.store.transact([MakeDirectory("nodes/n2/qemu-server"), Rename(here, there)])
    await asyncio.wait_for(world.tasks.running[upid], DEADLINE_S)
    assert world.begun == [100]


async def test_what_was_under_way_when_the_power_went_keeps_no_guest_off(world: World) -> None:
    section = "[one]\nmemory: 64\nsnaptime: 1\nsnapstate: prepare\n"
    await world.guest(100, f"lock: snapshot\nonboot: 1\n{section}")
    said = await world.up()
    assert world.begun == [100] and said.warnings == []


async def test_quorum_that_does_not_come_is_said_with_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "QUORUM_DEADLINE_S", 0.01)
    await world.guest(100, "onboot: 1\n")
    world.quorum(False)
    with pytest.raises(NoQuorum, match=r"not started; once there is: pvesh create /nodes/n1/startall"):
        await world.up()
    assert world.begun == [] and not world.mark.exists()


async def test_the_next_daemon_goes_on_with_what_one_that_ended_had_begun(world: World) -> None:
    await world.guest(100, "onboot: 1\n")
    world.quorum(False)
    upid = world.host.come_up()
    await asyncio.sleep(0)
    world.host.leave()
    await world.tasks.stop(upid, "root@pam")
    assert world.mark.exists()
    world.quorum(True)
    world.host = world.daemon()
    world.host.resume()
    await asyncio.wait_for(world.tasks.running["UPID:1"], DEADLINE_S)
    assert world.begun == [100] and not world.mark.exists()
    world.daemon().resume()
    assert len(world.tasks.logs) == 2, "what has ended is not begun again"


async def test_a_coming_up_that_somebody_stops_is_not_gone_on_with(world: World) -> None:
    world.quorum(False)
    upid = world.host.come_up()
    await asyncio.sleep(0)
    await world.tasks.stop(upid, "root@pam")
    world.host = world.daemon()
    world.host.resume()
    assert len(world.tasks.logs) == 1


async def test_going_down_presses_each_button_in_reverse_order_without_quorum_and_whatever_the_lock(
    world: World,
) -> None:
    for vmid, text in {
        100: "onboot: 1\nstartup: order=1\n", 101: "onboot: 1\nstartup: order=2\n",
        102: "startup: order=3,down=0\n",
    }.items():  # fmt: skip
        await world.guest(vmid, text)
    await world.up()
    await world.manager.start(102)
    stubborn: Any = world.manager.running(102)
    stubborn.obeys = False
    await world.guest(101, "onboot: 1\nstartup: order=2\nlock: backup\n")
    world.quorum(False)
    said = await world.down()
    assert world.manager.all_running() == []
    assert said.lines == [
        "Stopping VM 102 (timeout = 0 seconds)", "Stopping VM 101 (timeout = 180 seconds)",
        "Stopping VM 100 (timeout = 180 seconds)",
    ]  # fmt: skip
    assert said.warnings == [] and stubborn.end_reason == "stopped by request"


async def test_going_down_ends_a_coming_up(world: World) -> None:
    await world.guest(100, "onboot: 1\n")
    world.quorum(False)
    upid = world.host.come_up()
    await asyncio.sleep(0)
    said = await world.down()
    assert world.tasks.running[upid].done() and not world.mark.exists()
    assert "not waited for" in said.text
    world.quorum(True)
    assert world.begun == []


async def test_going_down_waits_for_what_holds_a_guest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.guests.manager.BUSY_WAIT_S", 0.01)
    await world.guest(100, "onboot: 1\n")
    await world.up()
    released = asyncio.Event()

    async def holds() -> None:
        async with world.manager.exclusive(100, "migration"):
            await released.wait()

    task = asyncio.create_task(holds())
    await asyncio.sleep(0)
    log = Lines()
    log.wanted["is busy (migration)"] = told = asyncio.Event()
    down = asyncio.ensure_future(_awaited(world.host.going_down().run(log)))
    await asyncio.wait_for(told.wait(), DEADLINE_S)
    released.set()
    await asyncio.wait_for(down, DEADLINE_S)
    await task
    assert world.manager.all_running() == [] and log.warnings == []


async def test_a_guest_suspended_to_disk_wakes_at_boot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []

    async def wake(config: GuestConfig, say: object) -> None:
        woken.append(config.vmid)

    world.manager.wakes_by(wake)
    await world.guest(100, f"onboot: 1\nlock: {state.SUSPENDED}\n")
    await world.guest(101, f"lock: {state.SUSPENDED}\n")
    await world.up()
    assert woken == [100]


def test_a_host_gives_a_guest_three_minutes() -> None:
    assert together.SHUTDOWN_TIMEOUT_S == 180
