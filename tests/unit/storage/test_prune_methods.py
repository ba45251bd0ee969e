"""Backups shown and pruned by the API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from stand_ins import Everything, Lines

from kvorum.core.errors import ParameterError, PermissionDenied
from kvorum.core.paths import Paths
from kvorum.interface import Authority, Context, Identity, Services
from kvorum.storage import StorageConfigError, Storages
from kvorum.storage.methods.prune import PruneParameters, preview, remove
from kvorum.store.memory import MemoryStore

DAYS = ("2026_05_01", "2026_05_02", "2026_05_03")


class Granted(Everything):
    """Just what is named as ``PATH PRIVILEGE``."""

    def __init__(self, *granted: str) -> None:
        self._granted = granted

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return f"{path} {privilege}" in self._granted


class World:
    def __init__(self, root: Path) -> None:
        self.dump, self.store = root / "vz/dump", MemoryStore("n1")
        self.storages = Storages(self.store, Paths.under(root / "node"))
        self.dump.mkdir(parents=True)
        for day in DAYS:
            for vmid in (100, 101):
                (self.dump / f"vzdump-qemu-{vmid}-{day}-01_00_00.vma.zst").write_bytes(b"x")
        (self.dump / "vzdump-qemu-100-2026_05_01-01_00_00.vma.zst.protected").touch()
        (self.dump / "vzdump-qemu-100-2026_05_02-01_00_00.vma.zst.notes").write_text("before")

    async def configure(self, more: str = "") -> None:
        path = self.dump.parent
        await self.store.write("storage.cfg", f"dir: local\n\tpath {path}\n\tcontent backup\n{more}")

    def context(self, authority: Authority) -> Context:
        services = Services()
        services.add(Storages, self.storages)
        return Context(self.store, services, Identity("user@pve"), authority)

    async def pruned(self, given: Mapping[str, object], authority: Authority | None = None) -> Lines:
        work = await remove(self.context(authority or Everything()), parameters(**given))
        assert (work.type, work.id) == ("prunebackups", "local")
        log = Lines()
        await work.run(log)
        return log

    @property
    def left(self) -> set[str]:
        return {path.name[12:26] for path in self.dump.glob("*.zst")}


def parameters(**given: object) -> PruneParameters:
    return PruneParameters.model_validate({"node": "n1", "storage": "local", **given})


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.configure("\tprune-backups keep-last=1\n")
    return world


async def test_a_preview_shows_what_the_storages_rules_make_of_each_backup(world: World) -> None:
    rows = await preview(world.context(Everything()), parameters(vmid=100))
    assert [(row["volid"][29:48], row["mark"], row.get("vmid")) for row in rows] == [
        ("2026_05_03-01_00_00", "keep", 100),
        ("2026_05_02-01_00_00", "remove", 100),
        ("2026_05_01-01_00_00", "protected", 100),
    ]
    assert len(world.left) == 6


async def test_the_rules_of_the_call_count_before_the_storages(world: World) -> None:
    given = parameters(**{"prune-backups": "keep-last=2"})
    rows = await preview(world.context(Everything()), given)
    assert [row["mark"] for row in rows].count("remove") == 1


async def test_pruning_removes_backups_with_their_notes_and_keeps_what_is_protected(world: World) -> None:
    log = await world.pruned({})
    assert world.left == {"100-2026_05_01", "100-2026_05_03", "101-2026_05_03"}
    assert not (world.dump / "vzdump-qemu-100-2026_05_02-01_00_00.vma.zst.notes").exists()
    assert "prune options: keep-last=1" in log.lines[0] and not log.warnings


async def test_one_guests_backups_are_pruned_alone(world: World) -> None:
    await world.pruned({"vmid": 101})
    assert {name for name in world.left if name.startswith("101")} == {"101-2026_05_03"}
    assert len([name for name in world.left if name.startswith("100")]) == 3


async def test_without_rules_nothing_goes(world: World) -> None:
    await world.configure()
    await world.pruned({})
    assert len(world.left) == 6


async def test_who_may_back_a_guest_up_prunes_its_backups_and_no_others(world: World) -> None:
    own = Granted("/storage/local Datastore.AllocateSpace", "/vms/101 VM.Backup")
    with pytest.raises(PermissionDenied, match=r"Datastore\.Allocate\)"):
        await world.pruned({}, own)
    with pytest.raises(PermissionDenied):
        await world.pruned({"vmid": 100}, own)
    await world.pruned({"vmid": 101}, own)
    assert "101-2026_05_01" not in world.left and "100-2026_05_02" in world.left
    await world.pruned({}, Granted("/storage/local Datastore.Allocate"))
    assert "100-2026_05_02" not in world.left


async def test_wrong_rules_are_named_where_they_stand(world: World) -> None:
    with pytest.raises(ParameterError) as caught:
        await world.pruned({"prune-backups": "keep-often=1"})
    assert "'keep-often' is no rule" in caught.value.errors["prune-backups"]
    await world.configure("\tprune-backups keep-last=some\n")
    with pytest.raises(StorageConfigError, match="storage 'local': prune-backups: keep-last=some"):
        await world.pruned({})
