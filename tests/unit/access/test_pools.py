"""Pools and their members as callers see them, and what a cluster's lists show to whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from access_world import World

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.interface import Identity
from kvorum.store.memory import MemoryStore

JOE = Identity("joe@pve")
STORAGES = "dir: local\n\tpath /var/lib/vz\n\ndir: nas\n\tpath /mnt/nas\n"


@pytest.fixture
async def world(store: MemoryStore) -> World:
    made = World(store)
    for vmid in (100, 101, 102):
        await store.write(f"nodes/n1/qemu-server/{vmid}.conf", "")
    await store.write("storage.cfg", STORAGES)
    await made.call("POST", "/pools", poolid="dev", comment="Development")
    await made.call("POST", "/pools", poolid="dev/test")
    await made.call("PUT", "/pools", poolid="dev", vms="100,999", storage="local")
    await made.call("PUT", "/pools", poolid="dev/test", vms="101")
    return made


def ids(rows: object) -> list[str]:
    assert isinstance(rows, list)
    return [row["id"] for row in rows]


async def members(world: World, pool: str, who: Identity, **more: object) -> list[str]:
    rows = await world.call("GET", "/pools", who, poolid=pool, **more)
    assert isinstance(rows, list)
    return ids(rows[0]["members"]) if rows else []


async def test_a_pool_shows_its_members_once_each_and_forgets_none_that_exist(world: World) -> None:
    root = Identity("root@pam")
    assert await members(world, "dev", root) == ["qemu/100", "storage/n1/local"]
    assert await members(world, "dev", root, type="storage") == ["storage/n1/local"]
    assert await members(world, "dev/test", root, type="qemu") == ["qemu/101"]
    shown = await world.call("GET", "/pools/dev", root)
    assert isinstance(shown, dict)
    assert shown["comment"] == "Development" and ids(shown["members"]) == ["qemu/100", "storage/n1/local"]
    with pytest.raises(KvorumError, match="pool 'none' does not exist"):
        await world.call("GET", "/pools/none", root)
    with pytest.raises(ParameterError):
        await world.call("GET", "/pools", root, type="qemu")


async def test_pools_are_listed_for_those_who_may_audit_them(world: World) -> None:
    assert (
        await world.call("GET", "/pools", JOE) == await world.call("GET", "/pools", JOE, poolid="dev") == []
    )
    with pytest.raises(PermissionDenied):
        await world.call("GET", "/pools/dev", JOE)
    await world.call("PUT", "/access/acl", path="/pool/dev/test", roles="PVEPoolUser", users="joe@pve")
    assert await world.call("GET", "/pools", JOE) == [{"poolid": "dev/test"}]
    assert await members(world, "dev/test", JOE) == [], "its guests are not joe's to see"
    await world.call("PUT", "/access/acl", path="/pool/dev", roles="PVEAuditor", users="joe@pve")
    assert await members(world, "dev", JOE) == ["qemu/100", "storage/n1/local"]


async def test_the_clusters_list_shows_what_the_caller_may_see_with_its_pool(world: World) -> None:
    nobody = ids(await world.call("GET", "/cluster/resources", JOE))
    assert nobody == ["node/n1"]
    await world.call("PUT", "/access/acl", path="/pool/dev", roles="PVEAuditor", users="joe@pve")
    rows = await world.call("GET", "/cluster/resources", JOE)
    assert isinstance(rows, list)
    assert sorted(ids(rows)) == sorted(
        ["node/n1", "qemu/100", "qemu/101", "storage/n1/local", "/pool/dev", "/pool/dev/test"]
    )
    pool = {row["vmid"]: row.get("pool") for row in rows if row["type"] == "qemu"}
    assert pool == {100: "dev", 101: "dev/test"}
    everything = await world.call("GET", "/cluster/resources")
    assert isinstance(everything, list)
    assert {row["vmid"]: row.get("pool") for row in everything if row["type"] == "qemu"}[102] is None


async def test_a_list_is_emptied_at_once_when_a_right_is_taken(world: World, tmp_path: Path) -> None:
    change = {"path": "/vms/102", "roles": "PVEVMUser", "users": "joe@pve"}
    await world.call("PUT", "/access/acl", **change)
    assert "qemu/102" in ids(await world.call("GET", "/cluster/resources", JOE, type="vm"))
    await world.call("PUT", "/access/acl", **change, delete=1)
    assert ids(await world.call("GET", "/cluster/resources", JOE, type="vm")) == []
