"""Clones, moves and migrations keep to the limits of storages and cluster, whatever their caller asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import guests_world
import pytest

import kvorum.guests.methods.migrate as migrate_methods
from kvorum.guests.copies.clone import Clones
from kvorum.guests.disks import generated
from kvorum.guests.machine.commandline import NodeFacts
from kvorum.guests.manager import GuestManager
from kvorum.guests.move.move import Mover
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Caller, Identity, Router, Services, Work
from kvorum.server import rooms
from kvorum.storage import Storages

ROUTER = Router(rooms.methods())
ROOT, USER = Identity("root@pam"), Identity("kim@pve")
FACTS = NodeFacts("qemu-system-x86_64", "10.0.2", "tcg", {"pc": "pc-i440fx-10.0"})


class Rights:
    """Root may all, others all but allocate on storages and change the cluster's options."""

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return identity == ROOT or privilege not in ("Datastore.Allocate", "Sys.Modify")

    def groups(self, user: str) -> frozenset[str] | None:
        return frozenset()


@dataclass
class Asked:
    """Calls carried out as far as the wish that they make."""

    world: guests_world.World
    caller: Caller
    works: list[Work] = field(default_factory=list)
    wishes: list[Any] = field(default_factory=list)

    async def rate(self, what: str, who: Identity = ROOT, **given: str) -> int:
        match = ROUTER.match("POST", f"/nodes/n1/qemu/100/{what}")
        pairs = [
            (key.replace("_", "-") if key == "with_local_disks" else key, value)
            for key, value in given.items()
        ]
        self.caller.authorise(match, who, pairs)
        await self.caller.call(match, who, pairs)
        await self.works[-1].run(guests_world.Lines())
        rate: int = self.wishes[-1].rate_kib_s
        return rate


@pytest.fixture
async def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    world = guests_world.World(tmp_path, FACTS)
    await world.setup()
    node = world.nodes["n1"]
    config = world.shared.read("storage.cfg")
    assert config is not None
    limited = config.text.replace("dir: local\n", "dir: local\n\tbwlimit clone=300,migration=200\n")
    await world.shared.write("storage.cfg", limited)
    await world.shared.write("datacenter.cfg", "bwlimit: default=1000,move=500\n")
    volume = await node.storages.get("local").allocate(100, 1 << 20, "raw")
    await world.shared.write("nodes/n1/qemu-server/100.conf", f"memory: 32\nscsi0: {volume},size=1M\n")
    await world.shared.write("nodes/n1/qemu-server/101.conf", "memory: 32\n")
    services = Services()
    services.add(GuestManager, node.manager)
    services.add(Storages, node.storages)
    services.add(Unfinished, node.unfinished)
    services.add(Clones, node.clones)
    asked = Asked.__new__(Asked)

    class Runner:
        def start(self, work: Work, user: str) -> str:
            asked.works.append(work)
            return "UPID:kept"

    Asked.__init__(asked, world, Caller(node.store, services, Rights(), Runner()))  # type: ignore[arg-type]

    async def note(self: object, wish: object, *rest: object, **more: object) -> None:
        asked.wishes.append(wish)

    class Noted:
        def __init__(self, ctx: object, wish: object, log: object) -> None:
            asked.wishes.append(wish)

        async def run(self) -> None:
            return

    monkeypatch.setattr(Clones, "make", note)
    monkeypatch.setattr(Mover, "move", note)
    monkeypatch.setattr(migrate_methods, "migration_of", Noted)
    yield asked
    await world.close()


async def test_nobody_asks_and_the_smallest_limit_counts(asked: Asked) -> None:
    assert await asked.rate("clone", newid="200", full="1", storage="shared") == 300
    assert await asked.rate("move_disk", disk="scsi0", storage="shared") == 500
    assert await asked.rate("migrate", target="n2", with_local_disks="1") == 200


async def test_a_clone_s_addresses_begin_as_the_cluster_says(asked: Asked) -> None:
    await asked.world.shared.write("datacenter.cfg", "mac_prefix: 02:AB\n")
    await asked.rate("clone", newid="200")
    assert asked.wishes[-1].mac_prefix == "02:AB"
    made = generated(200, {"net0": "virtio,bridge=vmbr0"}, asked.wishes[-1].mac_prefix)
    assert made["net0"].startswith("virtio=02:AB:")


async def test_who_may_allocate_there_asks_for_what_it_wants(asked: Asked) -> None:
    assert await asked.rate("clone", newid="200", full="1", storage="shared", bwlimit="0") == 0
    assert await asked.rate("move_disk", disk="scsi0", storage="shared", bwlimit="9000") == 9000
    assert await asked.rate("migrate", target="n2", with_local_disks="1", bwlimit="9000") == 9000


async def test_others_ask_for_less_alone(asked: Asked) -> None:
    assert await asked.rate("clone", USER, newid="200", full="1", storage="shared", bwlimit="0") == 300
    assert await asked.rate("move_disk", USER, disk="scsi0", storage="shared", bwlimit="9000") == 500
    assert await asked.rate("migrate", USER, target="n2", with_local_disks="1", bwlimit="50") == 50
