"""Settings of running guests changed, with real QEMUs. No system runs in them that would let a device go."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import guests_world
import pytest
from guests_world import MemoryStore, Node

from kvorum.core.errors import Conflict, OutcomeUnknown, ParameterError
from kvorum.guests.change import Changes, Wish
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine import usb
from kvorum.guests.machine.qmp import Monitor
from kvorum.storage import Storages

pytestmark = pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
BASE = (
    "memory: 32\nvga: none\nscsihw: virtio-scsi-pci\nide2: none,media=cdrom\nnet0: virtio=BC:24:11:00:00:01\n"
)


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr("kvorum.guests.machine.plug.UNPLUG_DEADLINE_S", 0.3)
    node = Node("n1", tmp_path, MemoryStore("n1"), await guests_world.qemu_facts())
    await node.store.write("nodes/n1/qemu-server/100.conf", BASE)
    yield node
    await node.close()


async def change(node: Node, changes: dict[str, str], *delete: str, **wish: object) -> None:
    changing = Changes(node.manager, node.storages, node.unfinished)
    await changing.make(100, Wish(changes, frozenset(delete), **wish), who="root@pam")  # type: ignore[arg-type]


def config(node: Node) -> GuestConfig:
    found: GuestConfig = node.manager.registry.config(100)
    return found


async def devices(node: Node) -> set[str]:
    monitor = node.manager.need_running(100).monitor
    found = await monitor.execute("qom-list", {"path": "/machine/peripheral"})
    return {entry["name"] for entry in found if entry["type"].startswith("child<")}


def volumes(storages: Storages) -> list[object]:
    return list(storages.get("local").list_blocking(100))


async def test_disks_and_cards_are_plugged_while_the_guest_runs(node: Node) -> None:
    await node.manager.start(100)
    await change(node, {
        "scsi1": "local:0.01,format=qcow2", "virtio0": "local:0.01", "net1": "virtio=BC:24:11:00:00:02",
    })  # fmt: skip
    assert {"virtioscsi0", "scsi1", "virtio0", "net1"} <= await devices(node)
    assert not config(node).pending
    assert {"scsi1", "virtio0", "net1"} <= config(node).settings.keys()
    blocks = await node.manager.need_running(100).monitor.execute("query-named-block-nodes", {"flat": True})
    assert {"drive-scsi1", "drive-virtio0"} <= {block["node-name"] for block in blocks}


async def test_a_plugged_guest_is_the_one_a_new_command_line_makes(node: Node) -> None:
    """Else it could not migrate: same devices, same addresses."""
    await node.manager.start(100)
    await change(node, {"scsi1": "local:0.01", "virtio3": "local:0.01", "net2": "e1000=BC:24:11:00:00:02"})
    plugged = await _addresses(node)
    await node.manager.stop(100)
    await node.manager.start(100)
    assert await _addresses(node) == plugged


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Has QEMU refuse a command whose arguments name this, as it refuses a volume that another one holds."""
    execute = Monitor.execute

    def refuse(wanted: str, name: str) -> None:
        async def but(self: Monitor, command: str, arguments: Any = None, **more: Any) -> Any:
            if command == wanted and name in str(arguments):
                raise QmpError(f"VM 100: QEMU refused '{wanted}': Failed to get \"write\" lock")
            return await execute(self, command, arguments, **more)

        monkeypatch.setattr(Monitor, "execute", but)

    return refuse


async def test_a_disk_that_can_not_be_opened_brings_no_controller(
    node: Node, refusing: Callable[[str, str], None]
) -> None:
    await node.manager.start(100)
    refusing("blockdev-add", "scsi0")
    with pytest.raises(ParameterError, match="scsi0"):
        await change(node, {"scsi0": "local:0.01"})
    assert "virtioscsi0" not in await devices(node)


async def test_a_disk_that_can_not_be_plugged_takes_its_controller_and_its_thread_out_again(
    node: Node, refusing: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def lets_go(monitor: Monitor, device: str) -> None:
        asked.append(device)

    monkeypatch.setattr("kvorum.guests.machine.hotplug.unplug", lets_go)
    await node.manager.start(100)
    refusing("device_add", "'scsi0'")
    with pytest.raises(ParameterError) as refused:
        await change(node, {"scsi0": "local:0.01"})
    assert asked == ["virtioscsi0"]
    assert "stays" not in refused.value.errors["scsi0"]
    refusing("device_add", "'virtio0'")
    with pytest.raises(ParameterError):
        await change(node, {"virtio0": "local:0.01,iothread=1"})
    monitor = node.manager.need_running(100).monitor
    assert await monitor.execute("query-iothreads") == []


async def test_a_controller_that_the_guest_keeps_serves_the_next_disk(
    node: Node, refusing: Callable[[str, str], None]
) -> None:
    await node.manager.start(100)
    refusing("device_add", "'scsi0'")
    with pytest.raises(ParameterError) as refused:
        await change(node, {"scsi0": "local:0.01"})
    assert "virtioscsi0 stays until the next start" in refused.value.errors["scsi0"]
    refusing("nothing", "")
    await change(node, {"scsi1": "local:0.01"})
    assert {"virtioscsi0", "scsi1"} <= await devices(node)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tablets of QEMU's own where devices of the host would be; the descriptors are real."""
    (tmp_path / "stick").touch()
    monkeypatch.setattr(usb, "find", lambda key, wish, sysfs, devices: tmp_path / "stick")
    monkeypatch.setattr(usb, "device", lambda key: f"usb-tablet,id={key},bus=xhci.0,port={int(key[3:]) + 1}")


async def _sets(node: Node) -> set[int]:
    found = await node.manager.need_running(100).monitor.execute("query-fdsets")
    return {each["fdset-id"] for each in found if each["fds"]}


async def test_usb_devices_are_plugged_with_their_controller_as_a_new_command_line_has_them(
    node: Node, stand_in: None
) -> None:
    await node.manager.start(100)
    await change(node, {"usb1": "host=1-2"})
    await change(node, {"usb3": "host=1050:0407,usb3=1"})
    assert not config(node).pending and config(node).usbs.keys() == {"usb1", "usb3"}
    assert {"xhci", "usb1", "usb3"} <= await devices(node)
    assert await _sets(node) == {901, 903}
    plugged = await _addresses(node), await _ports(node)
    await node.manager.stop(100)
    await node.manager.start(100)
    assert (await _addresses(node), await _ports(node)) == plugged


async def _ports(node: Node) -> list[str]:
    monitor = node.manager.need_running(100).monitor
    shown = await monitor.execute("human-monitor-command", {"command-line": "info usb"})
    return sorted(
        line.partition("Port ")[2] for line in str(shown).splitlines() if "xhci" in line or "usb" in line
    )


async def test_a_usb_device_goes_or_is_another_and_the_last_goes_with_its_controller(
    node: Node, stand_in: None
) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", f"{BASE}usb0: host=1-2\nusb1: host=1-3\n")
    await node.manager.start(100)
    await change(node, {"usb1": "host=1-4"})
    assert config(node).settings["usb1"] == "host=1-4" and await _sets(node) == {900, 901}
    await change(node, {}, "usb1")
    assert not config(node).pending and await _sets(node) == {900}
    assert "usb1" not in await devices(node)
    with pytest.raises(ParameterError, match="xhci: the guest did not let it go"):
        await change(node, {}, "usb0")
    assert {"xhci", "usb0"} <= await devices(node) and config(node).pending.delete.keys() == {"usb0"}


async def test_a_usb_device_that_qemu_does_not_take_is_pending_and_leaves_nothing(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain file is no device: what QEMU itself says of it."""
    monkeypatch.setattr("kvorum.guests.machine.hotplug.unplug", _at_once)
    await node.manager.start(100)
    with pytest.raises(ParameterError) as absent:
        await change(node, {"usb0": "host=dead:beef"})
    assert "is not on this node" in absent.value.errors["usb0"]
    assert "xhci" not in await devices(node)
    (tmp_path / "stick").touch()
    monkeypatch.setattr(usb, "find", lambda key, wish, sysfs, devices: tmp_path / "stick")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ParameterError) as refused:
        await change(node, {"usb0": "host=1-2"})
    assert "QEMU refused 'device_add'" in refused.value.errors["usb0"]
    assert await _sets(node) == set() and config(node).pending.changes.keys() == {"usb0"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def _at_once(monitor: Monitor, device: str) -> None:
    return


async def _addresses(node: Node) -> dict[str, object]:
    monitor = node.manager.need_running(100).monitor
    (bus,) = await monitor.execute("query-pci")
    return {device["qdev_id"]: device["slot"] for device in bus["devices"] if device["qdev_id"]}


async def test_a_cd_is_changed_while_the_guest_runs(node: Node) -> None:
    images = node.storages.get("local").root / "template" / "iso"
    images.mkdir(parents=True)
    (images / "a.iso").write_bytes(bytes(2048))
    await node.manager.start(100)
    monitor = node.manager.need_running(100).monitor
    for disk, inserted in (("local:iso/a.iso", True), ("none", False), ("local:iso/a.iso", True)):
        await change(node, {"ide2": f"{disk},media=cdrom"})
        (drive,) = [block for block in await monitor.execute("query-block") if block["qdev"] == "ide2"]
        assert ("inserted" in drive) is inserted
    assert not config(node).pending


async def test_a_guest_that_closes_its_tray_meanwhile_gets_the_cd_all_the_same(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firmware that looks for what to boot from does so."""
    images = node.storages.get("local").root / "template" / "iso"
    images.mkdir(parents=True)
    (images / "a.iso").write_bytes(bytes(2048))
    execute, closed = Monitor.execute, list[str]()

    async def and_the_guest_closes(self: Monitor, command: str, arguments: Any = None, **more: Any) -> Any:
        if command in ("blockdev-insert-medium", "blockdev-remove-medium") and command not in closed:
            closed.append(command)
            await execute(self, "blockdev-close-tray", {"id": "ide2"})
        return await execute(self, command, arguments, **more)

    await node.manager.start(100)
    monkeypatch.setattr(Monitor, "execute", and_the_guest_closes)
    for disk in ("local:iso/a.iso", "none"):
        await change(node, {"ide2": f"{disk},media=cdrom"})
    assert closed == ["blockdev-insert-medium", "blockdev-remove-medium"]
    assert not config(node).pending and config(node).disks["ide2"].file == "none"


async def test_a_cable_is_unplugged_and_stays_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU tells nobody the state of a link, so what it was asked is what can be seen."""
    asked: list[object] = []
    execute = Monitor.execute

    async def spy(self: Monitor, command: str, arguments: Any = None, **more: Any) -> Any:
        if command == "set_link":
            asked.append((arguments["name"], arguments["up"]))
        return await execute(self, command, arguments, **more)

    monkeypatch.setattr(Monitor, "execute", spy)
    await node.manager.start(100)
    await change(node, {"net0": "virtio=BC:24:11:00:00:01,link_down=1"})
    assert asked == [("net0", False)]
    assert (bool(config(node).pending), config(node).nics["net0"].link_down) == (False, True)
    await node.manager.stop(100)
    await node.manager.start(100)
    assert asked == [("net0", False)] * 2, "a new QEMU has every cable plugged in"


async def test_what_qemu_can_not_take_waits_for_the_next_start(node: Node) -> None:
    await node.manager.start(100)
    await change(node, {"cores": "2", "name": "db", "sata0": "local:0.01"}, "vga")
    assert (config(node).cores, config(node).name) == (1, "db")
    assert set(config(node).pending.changes) == {"cores", "sata0"}
    await node.manager.stop(100)
    await node.manager.start(100)
    assert (config(node).cores, bool(config(node).pending)) == (2, False)
    assert {"sata0", "vga"} <= await devices(node)


async def test_a_device_that_the_guest_does_not_let_go_is_said_and_waits(node: Node) -> None:
    await change(node, {"scsi0": "local:0.01"})
    await node.manager.start(100)
    with pytest.raises(ParameterError) as caught:
        await change(node, {}, "net0", "scsi0")
    assert caught.value.errors.keys() == {"net0", "scsi0"}
    assert "did not let it go" in caught.value.errors["net0"]
    assert "scsi0" in config(node).settings
    assert {"net0", "scsi0"} <= await devices(node)
    await node.manager.stop(100)
    await node.manager.start(100)
    assert not {"scsi0", "net0"} & await devices(node)
    assert "unused0" in config(node).settings


async def test_a_disk_that_is_destroyed_later_is_there_until_then(node: Node) -> None:
    await change(node, {"sata0": "local:0.01"})
    await node.manager.start(100)
    await change(node, {}, "sata0", destroy=True)
    assert len(volumes(node.storages)) == 1
    await node.manager.stop(100)
    await node.manager.start(100)
    assert volumes(node.storages) == []
    assert not {"sata0", "unused0"} & config(node).settings.keys()


async def test_an_unused_volume_is_destroyed_when_its_setting_goes(node: Node) -> None:
    await change(node, {"scsi0": "local:0.01"})
    await change(node, {}, "scsi0")
    assert len(volumes(node.storages)) == 1
    await change(node, {}, "unused0")
    assert volumes(node.storages) == []


async def test_a_change_that_waits_can_be_dropped(node: Node) -> None:
    await node.manager.start(100)
    await change(node, {"sata0": "local:0.01", "cores": "2"})
    await change(node, {}, revert=frozenset({"sata0", "cores"}))
    assert not config(node).pending
    assert "unused0" in config(node).settings, "its volume was made already, and is not lost"


async def test_a_daemon_that_dies_after_it_plugged_leaves_the_change_waiting(node: Node) -> None:
    await node.manager.start(100)
    node.store.failures = [None, OutcomeUnknown("the daemon is gone")]
    with pytest.raises(OutcomeUnknown):
        await change(node, {"net1": "virtio=BC:24:11:00:00:02"})
    assert "net1" in config(node).pending.changes
    await node.manager.stop(100)
    await node.manager.start(100)
    assert "net1" in await devices(node)


async def test_a_change_of_what_another_has_changed_is_refused(node: Node) -> None:
    before = config(node)
    await node.store.write("nodes/n1/qemu-server/100.conf", BASE + "cores: 2\n")
    with pytest.raises(Conflict):
        await node.manager.registry.replace(before, before.edit({"cores": "3"}), who="root@pam")


async def test_a_setting_can_not_be_set_and_dropped_at_once(node: Node) -> None:
    with pytest.raises(ParameterError, match="cores"):
        await change(node, {"cores": "2"}, "cores")
    with pytest.raises(ParameterError, match="cores"):
        await change(node, {"cores": "2"}, revert=frozenset({"cores"}))


async def grow(node: Node, key: str, size: str) -> None:
    await Changes(node.manager, node.storages, node.unfinished).grow(100, key, size, who="root@pam")


async def length(node: Node, key: str) -> int:
    volume = config(node).disks[key].volume
    return int(await node.storages.of(volume).size(volume))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("format", ["qcow2", "raw"])
async def test_a_disk_grows_to_a_size_and_by_one(node: Node, running: bool, format: str) -> None:
    await change(node, {"scsi0": f"local:0.01,format={format},discard=on"})
    if running:
        await node.manager.start(100)
    await grow(node, "scsi0", "16M")
    assert await length(node, "scsi0") == 16 << 20
    await grow(node, "scsi0", "+1.5M")
    assert await length(node, "scsi0") == 35 << 19
    assert config(node).disks["scsi0"].options == {"discard": "on", "size": "17920K"}


async def test_a_disk_never_shrinks(node: Node) -> None:
    await change(node, {"scsi0": "local:0.01"})
    with pytest.raises(GuestError, match="shrinking disks is not supported"):
        await grow(node, "scsi0", "1M")
    with pytest.raises(GuestError, match="CD drive"):
        await grow(node, "ide2", "1G")


async def test_a_noted_size_that_is_behind_is_told_anew(node: Node) -> None:
    """The daemon died after the disk grew."""
    await change(node, {"scsi0": "local:0.01"})
    volume = config(node).disks["scsi0"].volume
    await node.storages.of(volume).grow(volume, 16 << 20)
    await grow(node, "scsi0", "+0")
    assert config(node).disks["scsi0"].options["size"] == "16M"


async def test_a_limit_holds_from_the_start_and_changes_while_the_guest_runs(node: Node) -> None:
    await change(node, {"scsi0": "local:0.01,iops=100"})
    await node.manager.start(100)
    assert await _limit(node, "iops") == 100
    volume = config(node).disks["scsi0"].volume
    await change(node, {"scsi0": f"{volume},mbps=2"})
    assert (await _limit(node, "iops"), await _limit(node, "bps")) == (0, 2 << 20)
    assert not config(node).pending


async def _limit(node: Node, name: str) -> int:
    blocks = await node.manager.need_running(100).monitor.execute("query-block")
    (block,) = [block for block in blocks if block["qdev"].endswith("scsi0")]
    return int(block["inserted"][name])


async def cpus(node: Node) -> int:
    return len(await node.manager.need_running(100).monitor.execute("query-cpus-fast"))


async def modules(node: Node) -> list[str]:
    found = await node.manager.need_running(100).monitor.execute("query-memory-devices")
    return [device["data"]["id"] for device in found]


PLUGGABLE = "memory: 1024\nvga: none\nhotplug: cpu,memory\nsockets: 2\ncores: 2\nvcpus: 1\n"


async def test_cpus_and_memory_are_plugged_and_the_guest_is_the_one_a_new_command_line_makes(
    node: Node,
) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", PLUGGABLE)
    await node.manager.start(100)
    await change(node, {"vcpus": "3", "memory": "2048"})
    assert (await cpus(node), await modules(node)) == (3, ["dimm0", "dimm1"])
    assert not config(node).pending
    monitor = node.manager.need_running(100).monitor
    places = [cpu["props"] for cpu in await monitor.execute("query-cpus-fast")]
    memory = [device["data"]["addr"] for device in await monitor.execute("query-memory-devices")]
    await node.manager.stop(100)
    await node.manager.start(100)
    monitor = node.manager.need_running(100).monitor
    assert [cpu["props"] for cpu in await monitor.execute("query-cpus-fast")] == places
    assert [d["data"]["addr"] for d in await monitor.execute("query-memory-devices")] == memory


async def test_a_guest_that_keeps_cpus_and_memory_has_them_until_its_next_start(node: Node) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", PLUGGABLE + "numa: 1\n")
    await node.manager.start(100)
    await change(node, {"vcpus": "2", "memory": "1536"})
    with pytest.raises(ParameterError, match="the guest keeps its 2 CPUs: without KVM"):
        await change(node, {"vcpus": "1"})
    with pytest.raises(ParameterError, match="dimm0: the guest did not let it go"):
        await change(node, {"memory": "1024"})
    assert (await cpus(node), await modules(node)) == (2, ["dimm0"])
    assert (config(node).cpus, config(node).memory_mib) == (2, 1536)
    assert dict(config(node).pending.changes) == {"memory": "1024", "vcpus": "1"}


async def test_what_is_no_amount_of_modules_waits(node: Node) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", PLUGGABLE)
    await node.manager.start(100)
    with pytest.raises(ParameterError, match=r"1300 MiB can't be made of modules .* 1536 MiB can"):
        await change(node, {"memory": "1300"})
    with pytest.raises(ParameterError, match="room for 4 CPUs; 5 need a new start"):
        await change(node, {"vcpus": "5"})


async def test_affinity_and_limits_change_while_the_guest_runs(node: Node) -> None:
    await node.manager.start(100)
    pid = node.manager.need_running(100).record.pid
    await change(node, {"affinity": "0", "cpulimit": "0.5", "cpuunits": "50"})
    assert not config(node).pending
    assert os.sched_getaffinity(pid) == {0}
