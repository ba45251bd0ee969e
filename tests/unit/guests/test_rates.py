"""Clones, moves, migrations and imports keep to the limits of storages and cluster, whoever asks for more."""

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
from kvorum.storage import Storages, images

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

    async def import_rate(self, path: str, who: Identity = ROOT, **given: str) -> int:
        """KiB/s that qemu-img is asked for when a call imports an image."""
        told: list[int] = []
        real = images.convert

        async def convert(*arguments: Any, rate_bytes_s: int, **options: Any) -> None:
            told.append(rate_bytes_s // 1024)
            await real(*arguments, **options)

        verb, _, path = path.partition(" ")
        match, pairs = ROUTER.match(verb, path), list(given.items())
        self.caller.authorise(match, who, pairs)
        before = len(self.works)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(images, "convert", convert)
            await self.caller.call(match, who, pairs)
            for work in self.works[before:]:
                await work.run(guests_world.Lines())
        (rate,) = told
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


CREATE, CONFIG = "POST /nodes/n1/qemu", "/nodes/n1/qemu/101/config"
IMPORT = "POST /kvorum/nodes/n1/qemu/101/import-disk"


@pytest.fixture
async def image(tmp_path: Path, asked: Asked) -> str:
    """An image on the node's disk; in the storage ``shared`` lies another."""
    config = asked.world.shared.read("storage.cfg")
    assert config is not None
    limited = config.text.replace("bwlimit clone=300", "bwlimit restore=700,clone=300")
    limited = limited.replace("\tshared 1\n", "\tshared 1\n\tbwlimit restore=600\n")
    await asked.world.shared.write("storage.cfg", limited)
    await asked.world.nodes["n1"].storages.get("shared").allocate(100, 1 << 20, "raw")
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(1 << 20))
    return str(path)


async def test_an_import_keeps_to_the_storage_s_limit_for_restores(asked: Asked, image: str) -> None:
    disk = f"local:0,import-from={image}"
    assert await asked.import_rate(CREATE, vmid="200", scsi0=disk) == 700
    assert await asked.import_rate(f"PUT {CONFIG}", scsi0=disk) == 700
    assert await asked.import_rate(f"POST {CONFIG}", scsi1=disk) == 700
    assert await asked.import_rate(IMPORT, source=image, storage="local") == 700


async def test_who_may_allocate_there_imports_as_fast_as_it_wants(asked: Asked, image: str) -> None:
    disk = f"local:0,import-from={image}"
    assert await asked.import_rate(CREATE, vmid="200", scsi0=disk, bwlimit="0") == 0
    assert await asked.import_rate(CREATE, vmid="201", scsi0=disk, bwlimit="9000") == 9000
    source = {"source": image, "storage": "local"}
    assert await asked.import_rate(IMPORT, bwlimit="0", **source) == 0
    assert await asked.import_rate(IMPORT, bwlimit="50", **source) == 50


async def test_an_import_from_a_storage_keeps_to_its_limit_too(asked: Asked, image: str) -> None:
    disk = "local:0,import-from=shared:100/vm-100-disk-0.raw"
    assert await asked.import_rate(CREATE, USER, vmid="200", scsi0=disk) == 600
    assert await asked.import_rate(CREATE, USER, vmid="201", scsi0=disk, bwlimit="9000") == 600
    assert await asked.import_rate(CREATE, USER, vmid="202", scsi0=disk, bwlimit="50") == 50


async def test_where_the_storages_say_nothing_the_cluster_s_limit_counts(asked: Asked, image: str) -> None:
    await asked.world.shared.write("datacenter.cfg", "bwlimit: default=1000,restore=800\n")
    config = asked.world.shared.read("storage.cfg")
    assert config is not None
    await asked.world.shared.write("storage.cfg", config.text.replace("restore=700,", ""))
    disk = f"local:0,import-from={image}"
    assert await asked.import_rate(CREATE, vmid="200", scsi0=disk) == 800
