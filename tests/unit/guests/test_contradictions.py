"""Two contradicting commands at once: the second waits, or is refused with the name of what holds the guest.

Every method that changes VM 100 is held at its first write; then every other one is tried. The guest is real
where one must run; stores, nodes and calls are a test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import guests_world
import pytest
from guests_world import Node, World
from stand_ins import Everything

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.guests import manager as manager_room
from kvorum.guests.copies.clone import Clones
from kvorum.guests.copies.template import Templates
from kvorum.guests.errors import GuestError, GuestLocked
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods import clone, configuration, disks, migrate, snapshots, status
from kvorum.guests.snapshots.snapshots import Snapshots
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Context, Identity, Peers, Services, Work
from kvorum.storage import Storages

pytestmark = pytest.mark.skipif(
    not (shutil.which(guests_world.QEMU) and shutil.which("qemu-img")), reason="no QEMU here"
)
CONF = "nodes/n1/qemu-server/100.conf"
Method = Callable[..., Awaitable[Work | None]]
COMMANDS: dict[str, tuple[ModuleType, str, dict[str, object], str]] = {
    "start": (status, "start", {}, "start"),
    "config": (configuration, "update", {"name": "other"}, "config"),
    "resize": (configuration, "resize", {"disk": "scsi0", "size": "+1M"}, "resize"),
    "move disk": (disks, "move", {"disk": "scsi0", "storage": "local"}, "move disk"),
    "snapshot": (snapshots, "take", {"snapname": "new"}, "snapshot 'new'"),
    "delsnapshot": (snapshots, "delete", {"snapname": "old"}, "deletion of snapshot 'old'"),
    "rollback": (snapshots, "rollback", {"snapname": "old"}, "rollback to 'old'"),
    "clone": (clone, "clone", {"newid": 101, "full": True, "storage": "local"}, "clone to 101"),
    "migrate": (migrate, "migrate", {"target": "n2"}, "migrate to n2"),
    "destroy": (configuration, "destroy", {}, "destroy"),
}
"""Each command's method, what it is given, and how it says that it holds the guest."""
LOCKS = {"snapshot", "snapshot-delete", "rollback", "migrate", "clone"}


class Held:
    """A store whose writes wait until they are let go, once something is to be held."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        real = node.store.transact
        count = 0

        async def transact(operations: Any, *arguments: Any, **options: Any) -> int:
            nonlocal count
            count += 1
            if count == 1:
                self.reached.set()
                await self.go.wait()
            return await real(operations, *arguments, **options)

        patch.setattr(node.store, "transact", transact)


class Guest:
    """VM 100 of n1, with the snapshot ``old``, and the methods that change it as root calls them."""

    def __init__(self, world: World) -> None:
        self.world, self.node = world, world.nodes["n1"]
        services = Services()
        for kind, service in (
            (GuestManager, self.node.manager), (Storages, self.node.storages), (Clones, self.node.clones),
            (Unfinished, self.node.unfinished), (Snapshots, self.node.snapshots), (Peers, world.peers),
            (Templates, self.node.templates),
        ):  # fmt: skip
            services.add(kind, service)
        self.context = Context(self.node.store, services, Identity("root@pam"), Everything())

    async def setup(self) -> None:
        volume = await self.node.storages.get("shared").allocate(100, 1 << 20, "qcow2")
        text = f"memory: 32\nvga: none\nscsihw: virtio-scsi-pci\nscsi0: {volume},size=1M\n"
        await self.world.shared.write(CONF, text)
        await self.node.snapshots.take(100, "old", who="root@pam", log=self.world.log)

    async def do(self, name: str) -> None:
        """Call the method, and carry its work out."""
        module, function, values, _ = COMMANDS[name]
        method: Method = getattr(module, function)
        kind = method.__annotations__["p"]
        parameters = getattr(module, kind) if isinstance(kind, str) else kind
        work = await method(self.context, parameters(node="n1", vmid=100, **values))
        if work is not None:
            await work.run(self.world.log)

    @property
    def text(self) -> str:
        file = self.world.shared.read(CONF)
        return file.text if file is not None else ""


@pytest.fixture
async def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Guest]:
    world = World(tmp_path, await guests_world.qemu_facts())
    await world.setup()
    guest = Guest(world)
    await guest.setup()
    yield guest
    await world.close()


@pytest.mark.parametrize("first", COMMANDS)
async def test_whatever_holds_a_guest_all_others_are_refused_with_its_name(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(manager_room, "BUSY_WAIT_S", 0.02)
    held = Held(guest.node, monkeypatch)
    if first == "start":  # it writes nothing: it is held where its QEMU begins
        _hold_starting(guest, monkeypatch, held)
    doing = asyncio.create_task(guest.do(first))
    await asyncio.wait_for(held.reached.wait(), 10)
    before = guest.text
    for second in COMMANDS:
        with pytest.raises(GuestLocked) as refused:
            await guest.do(second)
        holder = f"VM 100 is busy ({COMMANDS[first][3]})"
        if (first, second) == ("clone", "clone"):
            holder = "VM 101 is busy (clone of 100)"
        assert str(refused.value) == f"{holder}; wait for it to end, then try again", (first, second)
    assert guest.text == before and guest.world.shared.read("nodes/n1/qemu-server/101.conf") is None
    held.go.set()
    await asyncio.wait_for(doing, 30)
    assert "lock:" not in guest.text


PAIRS = [
    ("clone", "destroy"), ("destroy", "clone"), ("snapshot", "migrate"), ("migrate", "snapshot"),
    ("move disk", "resize"), ("resize", "move disk"), ("start", "start"), ("destroy", "start"),
    ("start", "destroy"), ("rollback", "delsnapshot"), ("delsnapshot", "rollback"), ("clone", "clone"),
    ("migrate", "migrate"), ("snapshot", "snapshot"), ("destroy", "destroy"), ("migrate", "start"),
]  # fmt: skip
ENDS = re.compile(
    r"already (running|exists|used)|is running|does not exist|locked \(|can't migrate|to where it is|"
    r"was started or stopped|without --online|is on node|was changed"
)


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_the_second_waits_for_the_first_and_then_does_it_or_says_why_not(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    held = Held(guest.node, monkeypatch)
    if first == "start":
        _hold_starting(guest, monkeypatch, held)
    doing = asyncio.create_task(guest.do(first))
    await asyncio.wait_for(held.reached.wait(), 10)
    waiting = asyncio.create_task(guest.do(second))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    assert not waiting.done() or isinstance(waiting.exception(), KvorumError)
    held.go.set()
    await asyncio.wait_for(doing, 30)
    try:
        await asyncio.wait_for(waiting, 30)
    except (GuestError, KvorumError, ParameterError) as error:
        assert ENDS.search(str(error)), (first, second, str(error))
    assert "lock:" not in guest.text
    assert not list(guest.node.paths.state.glob("unfinished/*"))
    owners = [n for n in ("n1", "n2") if guest.world.shared.read(f"nodes/{n}/qemu-server/100.conf")]
    assert len(owners) == (0 if "destroy" in (first, second) and not guest.node.manager.running(100) else 1)


def _hold_starting(guest: Guest, patch: pytest.MonkeyPatch, held: Held) -> None:
    real = guest.node.manager.workshop.start

    async def start(*arguments: Any, **options: Any) -> Any:
        held.reached.set()
        await held.go.wait()
        return await real(*arguments, **options)

    patch.setattr(guest.node.manager.workshop, "start", start)
