"""``digest``, the API's optimistic lock: taken wherever the known API takes it, and an old one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.access import AccessAuthority
from kvorum.core.errors import Conflict
from kvorum.core.paths import Paths
from kvorum.guests import GuestManager
from kvorum.guests.methods import configuration
from kvorum.guests.methods.configuration import ConfigParameters, ReadParameters
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Context, Identity, Services
from kvorum.server import rooms
from kvorum.storage import Storages
from kvorum.storage.methods import storages as storage
from kvorum.storage.methods.storages import StoragePath, UpdateParameters
from kvorum.store.memory import MemoryStore

TAKE_IT = """
POST /nodes/{node}/hosts
POST /nodes/{node}/qemu/{vmid}/config
POST /nodes/{node}/qemu/{vmid}/move_disk
PUT /access/domains/{realm}
PUT /cluster/ha/groups/{group}
PUT /cluster/ha/resources/{sid}
PUT /cluster/ha/rules/{rule}
PUT /cluster/metrics/server/{id}
PUT /cluster/replication/{id}
PUT /nodes/{node}/config
PUT /nodes/{node}/qemu/{vmid}/config
PUT /nodes/{node}/qemu/{vmid}/resize
PUT /storage/{storage}
"""
"""The methods of the known API with this parameter, without SDN, firewalls and the like."""

REFUSED = r"^detected modified configuration - file changed by other user\? Try again\.$"
OLD = "0" * 40
VM = "name: before\nmemory: 64\n"


@pytest.fixture
async def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    store, services = MemoryStore("n1"), Services()
    await store.write("nodes/n1/qemu-server/100.conf", VM)
    await store.write("storage.cfg", f"dir: local\n\tpath {tmp_path}\n\tcontent images\n")
    storages = Storages(store, Paths.under(tmp_path))
    services.add(Storages, storages)
    manager = GuestManager(store, None)  # type: ignore[arg-type]  # nothing is started
    services.add(GuestManager, manager)
    services.add(Unfinished, Unfinished(manager, storages, tmp_path / "unfinished"))
    return Context(store, services, Identity("root@pam"), AccessAuthority(store))


def test_every_method_that_should_takes_a_digest() -> None:
    wanted = set(TAKE_IT.split("\n")) - {""}
    declared = {f"{method.verb} {method.path}": method.parameters.model_fields for method in rooms.methods()}
    lacking = [key for key in sorted(wanted & declared.keys()) if "digest" not in declared[key]]
    assert lacking == []
    assert len(wanted & declared.keys()) >= 3


async def test_a_guests_configuration_is_changed_by_whoever_saw_it_last(ctx: Context, tmp_path: Path) -> None:
    seen = (await configuration.read(ctx, ReadParameters(node="n1", vmid=100)))["digest"]
    await configuration.update(ctx, ConfigParameters(node="n1", vmid=100, name="after", digest=seen))
    for change in ({"name": "late"}, {"delete": "memory"}, {"scsi0": "local:1"}):
        with pytest.raises(Conflict, match=REFUSED) as refused:
            await configuration.update(ctx, ConfigParameters(node="n1", vmid=100, digest=seen, **change))
        assert refused.value.code == 500
        with pytest.raises(Conflict, match=REFUSED):
            await configuration.update_task(ctx, ConfigParameters(node="n1", vmid=100, digest=seen, **change))
    file = ctx.store.read("nodes/n1/qemu-server/100.conf")
    assert file is not None and file.text == VM.replace("before", "after")
    assert not list(tmp_path.rglob("vm-100-disk*")), "no disk was made for a change that is refused"


async def test_a_change_that_comes_between_the_check_and_the_write_is_refused_too(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ctx.store
    seen = (await configuration.read(ctx, ReadParameters(node="n1", vmid=100)))["digest"]
    transact = store.transact

    async def overtaken(*args: object, **kwargs: object) -> int:
        monkeypatch.undo()
        await store.write("nodes/n1/qemu-server/100.conf", VM + "onboot: 1\n")
        return await transact(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "transact", overtaken)
    with pytest.raises(Conflict, match="changed by another user meanwhile"):
        await configuration.update(ctx, ConfigParameters(node="n1", vmid=100, name="late", digest=seen))
    file = store.read("nodes/n1/qemu-server/100.conf")
    assert file is not None and file.text == VM + "onboot: 1\n"


async def test_a_storage_is_changed_by_whoever_saw_it_last(ctx: Context) -> None:
    seen = (await storage.read(ctx, StoragePath(storage="local")))["digest"]
    await storage.update(ctx, UpdateParameters(storage="local", content="images,iso", digest=str(seen)))
    for digest in (str(seen), OLD):
        with pytest.raises(Conflict, match=REFUSED):
            await storage.update(ctx, UpdateParameters(storage="local", content="iso", digest=digest))
    file = ctx.store.read("storage.cfg")
    assert file is not None and "content images,iso" in file.text
