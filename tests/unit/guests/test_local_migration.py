"""A real QEMU moves between two nodes of one process."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import guests_world
import pytest
from guests_world import World

from kvorum.core.errors import Conflict, NoQuorum, OutcomeUnknown
from kvorum.core.ids import VolumeId
from kvorum.guests.config import GuestConfig
from kvorum.guests.copies.plan import Wish as CloneWish
from kvorum.guests.errors import MigrationFailed
from kvorum.guests.machine import nodes
from kvorum.guests.machine.qmp import Monitor
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration import network
from kvorum.guests.migration.recovery import recover_source, recover_stopped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here"),
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, await guests_world.qemu_facts())
    await world.setup()
    yield world
    await world.close()


async def create(world: World, storage: str = "shared", extra: str = "") -> None:
    volume = await world.nodes["n1"].storages.get(storage).allocate(100, 8 << 20, "qcow2")
    disk = f"scsihw: virtio-scsi-pci\nscsi0: {volume},size=8M\n"
    text = f"memory: 32\nname: t\n{disk}serial0: socket\nvga: none\n{extra}"
    await world.shared.write("nodes/n1/qemu-server/100.conf", text)


async def begin(world: World, storage: str = "shared", extra: str = "") -> None:
    await create(world, storage, extra)
    await world.nodes["n1"].manager.start(100)


def assert_still_at_source(world: World) -> None:
    assert world.nodes["n1"].manager.need_running(100).status == "running"
    assert world.nodes["n2"].manager.running(100) is None
    assert world.shared.read("nodes/n2/qemu-server/100.conf") is None
    file = world.shared.read("nodes/n1/qemu-server/100.conf")
    assert file is not None and "lock:" not in file.text
    assert not list(world.nodes["n2"].paths.state.glob("incoming/*"))
    assert not list(world.nodes["n2"].paths.guests_run.glob("*.tls"))


async def assert_at_target(world: World) -> None:
    assert world.nodes["n1"].manager.running(100) is None
    guest = world.nodes["n2"].manager.need_running(100)
    assert await guest.refresh() == "running"
    assert world.shared.read("nodes/n1/qemu-server/100.conf") is None
    file = world.shared.read("nodes/n2/qemu-server/100.conf")
    assert file is not None and "lock:" not in file.text
    # Where the source's word came late, the target has gone on by the store's and is not at its end yet.
    async with asyncio.timeout(10):
        while list(world.nodes["n2"].paths.state.glob("incoming/*.json")):
            await asyncio.sleep(0.01)


async def test_a_running_guest_on_a_shared_storage_moves(world: World) -> None:
    await begin(world)
    await world.migration().run()
    await assert_at_target(world)
    assert any("downtime" in line for line in world.log.lines)
    assert not world.log.warnings


@pytest.mark.parametrize("secure", [True, False])
async def test_the_memory_goes_under_tls_unless_told_otherwise(world: World, secure: bool) -> None:
    await begin(world)
    await world.migration(secure=secure).run()
    await assert_at_target(world)
    guest = world.nodes["n2"].manager.running(100)
    assert guest is not None
    parameters = await guest.monitor.execute("query-migrate-parameters")
    assert bool(parameters.get("tls-creds")) == secure


async def test_memory_and_disks_go_to_the_target_s_address_in_the_network_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback has all of 127.0.0.0/8; the target says it has this one."""
    monkeypatch.setattr(network, "own_addresses", lambda: ["127.0.0.1", "127.9.0.7"])
    execute, told = Monitor.execute, list[str]()

    async def listening(self: Monitor, command: str, arguments: Any = None, **more: Any) -> Any:
        if command in ("migrate", "blockdev-add"):
            told.append(str(arguments))
        return await execute(self, command, arguments, **more)

    monkeypatch.setattr(Monitor, "execute", listening)
    await begin(world, "local")
    await world.migration(with_local_disks=True, network="127.9.0.0/16").run()
    await assert_at_target(world)
    assert any("'tcp:127.9.0.7:" in one for one in told)
    assert any("'driver': 'nbd'" in one and "127.9.0.7" in one for one in told)
    assert "memory and disks go to 127.9.0.7, in the network 127.9.0.0/16" in world.log.lines


async def test_a_target_without_an_address_in_the_network_is_refused(world: World) -> None:
    await begin(world)
    with pytest.raises(MigrationFailed, match=r"'n2' has no address in the migration network 203\.0"):
        await world.migration(network="203.0.113.0/24").run()
    assert_still_at_source(world)


async def test_a_running_guest_takes_its_local_disk_along(world: World) -> None:
    await begin(world, "local")
    old = world.root / "local/images/100/vm-100-disk-0.qcow2"
    assert old.exists()
    await world.migration(with_local_disks=True).run()
    await assert_at_target(world)
    assert not old.exists()
    assert (world.root / "local/images/100/vm-100-disk-1.qcow2").exists()
    assert "vm-100-disk-1.qcow2" in world.shared.read("nodes/n2/qemu-server/100.conf").text


async def test_local_disks_are_not_copied_unasked(world: World) -> None:
    await begin(world, "local")
    with pytest.raises(MigrationFailed, match="with-local-disks"):
        await world.migration().run()
    assert_still_at_source(world)


@pytest.mark.parametrize("error", [NoQuorum("no quorum"), Conflict("changed")])
async def test_a_commit_that_did_not_happen_leaves_the_guest_running_at_the_source(
    world: World, error: Exception
) -> None:
    await begin(world)
    migration = world.migration()
    commit = migration._commit

    async def failing() -> None:
        world.nodes["n1"].store.failures = [error]
        await commit()

    migration._commit = failing
    with pytest.raises(MigrationFailed, match=str(error)):
        await migration.run()
    assert_still_at_source(world)


async def test_a_commit_of_unknown_fate_is_settled_before_anybody_runs(world: World) -> None:
    await begin(world)
    migration = world.migration()
    commit = migration._commit

    async def lost() -> None:
        await commit()
        raise OutcomeUnknown("the answer was lost")

    migration._commit = lost
    await migration.run()
    await assert_at_target(world)


async def test_a_target_whose_qemu_dies_leaves_the_guest_running_at_the_source(world: World) -> None:
    await begin(world)
    migration = world.migration()
    send = migration._send

    async def dying() -> None:
        guest = world.nodes["n2"].manager.running(100)
        await guest.process.kill()
        await send()

    migration._send = dying
    with pytest.raises(MigrationFailed):
        await migration.run()
    assert_still_at_source(world)


async def test_cancelling_cleans_up_both_sides(world: World) -> None:
    await begin(world, "local")
    reached = world.log.wanted["sending the memory"] = asyncio.Event()
    task = asyncio.create_task(world.migration(with_local_disks=True, rate_kib_s=64).run())
    await asyncio.wait_for(reached.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_still_at_source(world)
    assert [p.name for p in (world.root / "local/images/100").iterdir()] == ["vm-100-disk-0.qcow2"]


async def test_the_target_runs_the_guest_when_the_source_dies_right_after_the_commit(world: World) -> None:
    await begin(world)
    migration = world.migration()
    world.peers.fail["resume"] = OSError("the source is dead and says nothing")
    await migration.run()
    guest = world.nodes["n2"].manager.running(100)
    async with guest.monitor.listen("RESUME") as events:
        if guest.status != "running":
            await events.next(10)
    assert guest.status == "running"


async def test_the_target_takes_back_when_the_sources_lock_goes_without_a_word(world: World) -> None:
    """The source's daemon dies before any memory moves; the next one only unlocks the guest."""
    await begin(world, "local")
    migration, reached, over = world.migration(with_local_disks=True), asyncio.Event(), asyncio.Event()

    async def dead() -> None:
        reached.set()
        await over.wait()

    migration._send = dead
    task = asyncio.create_task(migration.run())
    await asyncio.wait_for(reached.wait(), 20)
    watcher = world.nodes["n2"].incoming._sessions[100].watcher
    await world.nodes["n1"].manager.registry.edit(100, {}, frozenset({"lock"}), who="root@pam")
    await asyncio.wait_for(asyncio.shield(watcher), 10)
    assert world.nodes["n2"].incoming._sessions == {}
    assert [p.name for p in (world.root / "local/images/100").iterdir()] == ["vm-100-disk-0.qcow2"]
    over.set()
    with pytest.raises(MigrationFailed):
        await asyncio.wait_for(task, 30)


async def test_a_stopped_guest_moves_with_its_disk(world: World) -> None:
    await create(world, "local")
    await world.migration(with_local_disks=True).run()
    assert world.shared.read("nodes/n2/qemu-server/100.conf") is not None
    assert world.nodes["n2"].manager.running(100) is None
    assert [p.name for p in (world.root / "local/images/100").iterdir()] == ["vm-100-disk-1.qcow2"]


@pytest.mark.parametrize("format", ["qcow2", "raw"])
@pytest.mark.parametrize("start", [create, begin])
@pytest.mark.parametrize("storage", ["local", "shared"])
async def test_an_unused_volume_of_this_node_goes_along(
    world: World, start: Callable[..., Awaitable[None]], storage: str, format: str
) -> None:
    local = world.nodes["n1"].storages.get("local")
    spare = await local.allocate(100, 8 << 20, format)
    _io(local.path(spare), format, "write -P 7 1M 1M")
    await start(world, storage, f"unused0: {spare}\n")
    await world.migration(with_local_disks=True).run()
    file = world.shared.read("nodes/n2/qemu-server/100.conf")
    assert file is not None
    (there,) = (disk.volume for disk in GuestConfig.parse(100, file.text).unused.values())
    assert there is not None and there != spare
    guest = world.nodes["n2"].manager.running(100)
    if start is begin:
        assert guest is not None
        await assert_at_target(world)
        assert "drive-unused0" not in await nodes.present(guest.monitor)
    _io(local.path(there), format, "read -P 7 1M 1M")
    assert not local.path(spare).exists()


async def test_unused_volumes_are_local_disks_that_go_along_only_when_asked(world: World) -> None:
    spare = await world.nodes["n1"].storages.get("local").allocate(100, 8 << 20, "qcow2")
    await begin(world, extra=f"unused0: {spare}\n")
    with pytest.raises(MigrationFailed, match=f"local disks .{spare}.*--with-local-disks"):
        await world.migration().run()
    assert_still_at_source(world)


async def test_a_template_goes_alone_and_stays_where_clones_rest_on_it(world: World) -> None:
    await create(world, "local")
    node = world.nodes["n1"]
    await node.templates.make(100, who="root@pam", log=world.log)
    await node.clones.make(CloneWish(100, 101), who="root@pam", log=world.log)
    told = (
        "can't migrate template VM 100: its disk 'local:100/base-100-disk-0.qcow2' lies on this node alone, "
        "and 'local:100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2' rest on it"
    )
    with pytest.raises(MigrationFailed, match=re.escape(told)):
        await world.migration().run()
    assert world.peers.calls == []
    await node.storages.get("local").free(
        VolumeId("local", "100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2")
    )
    await world.migration().run()
    file = world.shared.read("nodes/n2/qemu-server/100.conf")
    assert file is not None and "template: 1" in file.text and "lock" not in file.text
    (base,) = (disk.volume for disk in GuestConfig.parse(100, file.text).disks.values())
    assert base is not None and "base-100-disk" in base.name
    path = node.storages.get("local").path(base)
    assert path.stat().st_mode & 0o777 == 0o444
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    await world.nodes["n2"].clones.make(CloneWish(100, 102), who="root@pam", log=world.log)


async def test_a_template_on_a_shared_storage_moves_and_its_clones_rest_on_it(world: World) -> None:
    await create(world, "shared")
    node = world.nodes["n1"]
    await node.templates.make(100, who="root@pam", log=world.log)
    await node.clones.make(CloneWish(100, 101), who="root@pam", log=world.log)
    await world.migration().run()
    assert world.shared.read("nodes/n2/qemu-server/100.conf") is not None
    await node.manager.start(101)


async def test_a_missing_storage_is_said_before_anything_changes(world: World) -> None:
    await begin(world)
    text = world.shared.read("storage.cfg").text
    await world.shared.write("storage.cfg", text.replace("shared 1", "shared 1\n\tnodes n1"))
    with pytest.raises(MigrationFailed, match="not available on node 'n2'"):
        await world.migration().run()
    assert_still_at_source(world)
    assert world.peers.calls == ["check"]


@pytest.mark.parametrize("moment", ["while memory moves", "guest stands still at both sides"])
async def test_the_next_daemon_lets_the_guest_go_on_at_the_source(world: World, moment: str) -> None:
    await begin(world)
    node, migration, reached = world.nodes["n1"], world.migration(rate_kib_s=64), asyncio.Event()
    over = asyncio.Event()

    async def dead(*_: object) -> None:
        reached.set()
        await over.wait()
        raise NoQuorum("the daemon was dead all the time")

    if moment == "while memory moves":
        world.log.wanted["sending the memory"] = reached
    else:
        migration = world.migration()
        migration._commit = dead
    task = asyncio.create_task(migration.run())
    await asyncio.wait_for(reached.wait(), 20)
    migration._carry_out = dead  # nothing is undone
    await node.manager.detach()
    node.manager = GuestManager(node.store, node.manager.workshop)
    await node.manager.attach()
    await recover_source(node.manager, node.manager.need_running(100))
    assert await node.manager.need_running(100).refresh() == "running"
    assert "lock:" not in world.shared.read("nodes/n1/qemu-server/100.conf").text
    assert world.shared.read("nodes/n2/qemu-server/100.conf") is None
    over.set()
    with pytest.raises(MigrationFailed):
        await asyncio.wait_for(task, 10)


async def test_a_stopped_guest_whose_source_daemon_died_is_unlocked_and_the_target_lets_go(
    world: World,
) -> None:
    """The next daemon finds the lock and no QEMU; the target takes the lock's end as the word."""
    await create(world, "local", "")
    migration, hanging = world.migration(with_local_disks=True), asyncio.Event()

    async def hang() -> None:
        hanging.set()
        await asyncio.get_running_loop().create_future()

    migration._copy = hang
    task = asyncio.create_task(migration.run())
    await asyncio.wait_for(hanging.wait(), 20)
    made = world.root / "local/images/100/vm-100-disk-1.qcow2"
    assert made.exists()
    node = world.nodes["n1"]
    node.manager = GuestManager(node.store, node.manager.workshop)
    await recover_stopped(node.manager)
    assert "lock:" not in world.shared.read("nodes/n1/qemu-server/100.conf").text
    async with asyncio.timeout(10):
        while made.exists():
            await asyncio.sleep(0.02)
    assert (world.root / "local/images/100/vm-100-disk-0.qcow2").exists()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _io(path: Path, format: str, command: str) -> None:
    flags = ["-r", "-U"] if command.startswith("read") else []
    done = subprocess.run(
        ["qemu-io", *flags, "-f", format, "-c", command, path], check=True, capture_output=True, text=True
    )
    assert "verification failed" not in done.stdout, done.stdout
