"""Real QEMUs started, taken up again by a later daemon, stopped, and missed when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import guests_world
import pytest
from guests_world import MemoryStore, Node

from kvorum.core.errors import NoQuorum
from kvorum.guests.errors import GuestError, GuestLocked, StartFailed
from kvorum.guests.machine.process import left_over
from kvorum.guests.manager import GuestManager
from kvorum.guests.statistics import read_records
from kvorum.storage import StorageError

pytestmark = pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
SMALL = "memory: 32\nvga: none\nserial0: socket\n"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    facts = await guests_world.qemu_facts()
    node = Node("n1", tmp_path, MemoryStore("n1"), facts)
    yield node
    await node.close()


async def configure(node: Node, text: str) -> None:
    await node.store.write("nodes/n1/qemu-server/100.conf", text)


@pytest.mark.parametrize(
    "text",
    [
        SMALL,
        "memory: 32\nscsihw: virtio-scsi-single\nscsi0: DISK\nscsi3: DISK\nagent: 1\nvga: virtio\n",
        "memory: 32\nide0: DISK\nide2: none,media=cdrom\nsata1: DISK\nscsi0: DISK\nvirtio0: DISK\n"
        "virtio7: DISK\n"
        "net0: e1000=BC:24:11:00:00:01\nnet7: virtio=BC:24:11:00:00:07,bridge=vmbr0\nvga: qxl\nballoon: 0\n",
        "memory: 32\nmachine: q35\nide0: DISK\nsata0: DISK\nscsi0: DISK,cache=unsafe,discard=on,serial=A1\n"
        "net0: virtio=BC:24:11:00:00:01\ncores: 2\nsockets: 2\nvcpus: 3\nostype: win11\n"
        "smbios1: uuid=11111111-2222-3333-4444-555555555555\nvmgenid: 11111111-2222-3333-4444-555555555556\n",
        "memory: 64\nmachine: q35,viommu=intel,aw-bits=48,enable-s3=1\nrng0: source=/dev/urandom\n"
        "watchdog: model=i6300esb,action=pause\naudio0: device=ich9-intel-hda,driver=none\n"
        "vga: std,clipboard=vnc\n"
        "keyboard: de\nstartdate: 2026-11-28T1:2:3\ntdf: 1\naffinity: 0\ncpu: max,phys-bits=40\n"
        "cores: 2\nnuma: 1\nnuma0: cpus=0,memory=32\nnuma1: cpus=1,memory=32\n"
        "args: -device 'pvpanic,id=a-b'\n",
        "memory: 1536\nhotplug: cpu,memory\nnuma: 1\nsockets: 2\nvcpus: 1\nwatchdog: ib700\n"
        "audio0: device=AC97,driver=none\nrng0: /dev/random,max_bytes=0\n",
    ],
    ids=["small", "single", "every-bus", "q35", "peripherals", "modules"],
)
async def test_qemu_makes_what_the_configuration_says(node: Node, text: str) -> None:
    while "DISK" in text:
        volume = await node.storages.get("local").allocate(100, 1 << 20, "qcow2")
        text = text.replace("DISK", str(volume), 1)
    await configure(node, text)
    await node.manager.start(100)
    record = node.manager.record(100)
    assert (record.status, record.qmpstatus, record.accelerator) == ("running", "running", "tcg")
    assert (node.paths.guests_run / "100.pid").read_text() == f"{record.pid}\n"
    await node.manager.stop(100)
    assert node.manager.record(100).status == "stopped"
    assert [p.name for p in node.paths.guests_run.iterdir()] == ["100.log"]


async def test_a_later_daemon_takes_a_guest_up_again(node: Node) -> None:
    await configure(node, SMALL)
    await node.manager.start(100)
    pid = node.manager.record(100).pid
    await node.manager.detach()
    node.manager = GuestManager(node.store, node.manager.workshop)
    await node.manager.attach()
    assert node.manager.record(100).pid == pid
    assert await node.manager.need_running(100).refresh() == "running"


async def test_a_guest_whose_start_was_interrupted_is_ended_by_the_later_daemon(node: Node) -> None:
    await configure(node, SMALL)
    guest = await node.manager.workshop.start(node.manager.registry.config(100))
    await guest.detach()  # the daemon dies before it lets the guest run
    await node.manager.attach()
    assert node.manager.record(100).status == "stopped"
    assert not node.manager.workshop.files.vmids()
    await node.manager.start(100)


async def test_a_process_left_over_by_a_killed_daemon_is_ended_and_no_other(tmp_path: Path) -> None:
    groups = {
        "10": "0::/system.slice/pvedaemon.service\n",
        "11": "0::/system.slice/pvedaemon.service\n",
        "12": "0::/qemu.slice/100.scope\n",
        "13": "0::/system.slice/pvedaemon.service.other\n",
    }
    for pid, text in groups.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(text)
    assert left_over(tmp_path, 10) == [11]
    assert left_over(tmp_path, 12) == [], "a scope is no service of ours: nothing there is left over"


async def test_a_crash_is_noticed_and_logged_within_a_second(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    await configure(node, SMALL)
    await node.manager.start(100)
    told: list[str] = []
    node.manager.tells_crashes_by(told.append)
    with caplog.at_level(logging.ERROR):
        os.kill(pid := node.manager.record(100).pid, signal.SIGKILL)
        await asyncio.wait_for(node.manager._gone(100), 1.0)
    assert f"VM 100: QEMU (pid {pid}) died by SIGKILL" in caplog.text and told[0] in caplog.text
    assert node.manager.record(100).status == "stopped"


async def test_two_starts_at_once_make_one_guest(node: Node) -> None:
    await configure(node, SMALL)
    results = await asyncio.gather(node.manager.start(100), node.manager.start(100), return_exceptions=True)
    assert sorted(str(r) for r in results) == ["None", "VM 100 already running"]


async def test_what_stands_against_a_start_is_said(node: Node) -> None:
    with pytest.raises(GuestError, match=r"'nodes/n1/qemu-server/100.conf' does not exist"):
        await node.manager.start(100)
    await configure(node, SMALL + "lock: backup\n")
    with pytest.raises(GuestLocked, match=r"VM is locked \(backup\)"):
        await node.manager.start(100)
    await configure(node, SMALL + "scsi0: local:100/vm-100-disk-9.raw\n")
    with pytest.raises(GuestError, match=r"vm-100-disk-9\.raw' does not exist"):
        await node.manager.start(100)
    await configure(node, SMALL + "ide2: local:iso/gone.iso,media=cdrom\n")
    with pytest.raises(GuestError, match=r"ide2: volume 'local:iso/gone\.iso' does not exist"):
        await node.manager.start(100)
    await configure(node, SMALL + "scsi0: gone:100/vm-100-disk-0.raw\n")
    with pytest.raises(StorageError, match=r"storage 'gone' does not exist; storage.cfg has: local"):
        await node.manager.start(100)
    for option in ("tag=5", "trunks=2;3"):
        await configure(node, SMALL + f"net0: virtio=BC:24:11:00:00:01,{option}\n")
        with pytest.raises(GuestError, match="net0: there are no VLANs without bridges"):
            await node.manager.start(100)
    await configure(node, SMALL + "cpu: pentium9000\n")
    with pytest.raises(StartFailed, match="pentium9000"):
        await node.manager.start(100)
    assert list(node.paths.guests_run.glob("100.qmp")) == []


SCRIPT = """#!/bin/sh
echo "$2 of VM $1"
echo "$2" >> PHASES
[ "$2" != "FAILS" ]
"""


async def hookscript(node: Node, fails: str = "") -> Path:
    """Give the guest a script; where it notes its phases."""
    storage = node.storages.get("local")
    script, phases = storage.root / "snippets/hook.sh", storage.root / "phases"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(SCRIPT.replace("PHASES", str(phases)).replace("FAILS", fails))
    script.chmod(0o755)
    await configure(node, SMALL + "hookscript: local:snippets/hook.sh\n")
    return phases


async def test_a_hookscript_accompanies_the_guest(node: Node) -> None:
    phases = await hookscript(node)
    said: list[str] = []
    await node.manager.start(100, say=said.append)
    await node.manager.stop(100, say=said.append)
    assert phases.read_text().split() == ["pre-start", "post-start", "pre-stop", "post-stop"]
    assert {"pre-start of VM 100", "post-start of VM 100", "pre-stop of VM 100"} <= set(said)


async def test_a_hookscript_that_fails_before_the_start_stops_it_and_later_changes_nothing(
    node: Node,
) -> None:
    await hookscript(node, fails="pre-start")
    with pytest.raises(GuestError, match=r"snippets/hook.sh', phase pre-start: it failed with exit code 1"):
        await node.manager.start(100)
    assert node.manager.running(100) is None
    await hookscript(node, fails="post-start")
    said: list[str] = []
    await node.manager.start(100, say=said.append)
    assert node.manager.running(100) is not None
    assert any("phase post-start: it failed" in line for line in said)


async def test_a_hookscript_that_is_none_is_said(node: Node) -> None:
    for volume, why in (
        ("local:snippets/none.sh", "can't be run: No such file"),
        ("local:iso/x.iso", "is no snippet"),
    ):
        await configure(node, SMALL + f"hookscript: {volume}\n")
        with pytest.raises(GuestError, match=why):
            await node.manager.start(100)


async def test_a_guest_that_begins_frozen_waits_for_its_resume(node: Node) -> None:
    await configure(node, SMALL + "freeze: 1\n")
    await node.manager.start(100)
    assert await node.manager.need_running(100).refresh() == "prelaunch"
    await node.manager.resume(100)
    assert await node.manager.need_running(100).refresh() == "running"


async def test_all_threads_of_a_guest_run_where_its_affinity_says(node: Node) -> None:
    await configure(node, SMALL + "affinity: 0\n")
    await node.manager.start(100)
    pid = node.manager.need_running(100).record.pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        assert os.sched_getaffinity(int(task.name)) == {0}
    await node.manager.stop(100)
    await configure(node, SMALL + "affinity: 8000\n")
    with pytest.raises(GuestError, match="none of the CPUs 8000 can be used here"):
        await node.manager.start(100)
    assert node.manager.running(100) is None


async def test_limits_that_can_not_be_kept_are_said(node: Node) -> None:
    await configure(node, SMALL + "cpulimit: 0.5\ncpuunits: 50\n")
    said: list[str] = []
    await node.manager.start(100, say=said.append)
    assert "cpulimit and cpuunits need a node with systemd" in said


async def test_without_quorum_nothing_starts(node: Node) -> None:
    await configure(node, SMALL)
    shared = node.store._shared
    shared.set_membership(
        guests_world.Membership(cluster="c", members=(), quorate=False, version=2, reason="1 of 3")
    )
    with pytest.raises(NoQuorum, match="1 of 3"):
        await node.manager.start(100)


async def test_a_guest_that_ignores_the_power_button_is_stopped_only_by_force(node: Node) -> None:
    await configure(node, SMALL)
    await node.manager.start(100)
    with pytest.raises(GuestError, match="timeout"):
        await node.manager.shutdown(100, timeout=0.1)
    assert node.manager.record(100).status == "running"
    await node.manager.shutdown(100, timeout=0.1, force=True)
    assert node.manager.record(100).status == "stopped"


async def test_all_nodes_are_told(node: Node) -> None:
    await configure(node, SMALL + "name: told\n")
    task = asyncio.create_task(node.manager.publish_forever())
    await asyncio.sleep(0)
    await node.manager.start(100)
    async with asyncio.timeout(5):
        while not any(r.status == "running" for r in read_records(node.store).get("n1", [])):
            await asyncio.sleep(0.01)
    task.cancel()
    assert [r.name for r in read_records(node.store)["n1"]] == ["told"]


async def test_a_guest_is_suspended_goes_on_and_is_asked_things(node: Node) -> None:
    await configure(node, SMALL)
    with pytest.raises(GuestError, match="not running"):
        await node.manager.suspend(100)
    await node.manager.start(100)
    await node.manager.suspend(100)
    assert await node.manager.need_running(100).refresh() == "paused"
    await node.manager.resume(100)
    assert await node.manager.need_running(100).refresh() == "running"
    with pytest.raises(GuestError, match="No QEMU guest agent configured"):
        node.manager.agent(100)
