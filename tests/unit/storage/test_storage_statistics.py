"""What a node tells about its storages."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.storage import StorageRecord, Storages, StorageStatus, read_records, service, storages
from kvorum.storage.directory import DirectoryStorage
from kvorum.storage.statistics import KEY, collect
from kvorum.store.memory import MemoryStore


def config(tmp_path: Path) -> str:
    """One storage that is there, one whose directory is missing, one of another node, one switched off."""
    (tmp_path / "here").mkdir()
    return (
        f"dir: here\n\tpath {tmp_path}/here\n\tcontent images\n\tshared 1\n\n"
        f"dir: gone\n\tpath {tmp_path}/gone\n\tis_mountpoint 1\n\n"
        f"dir: far\n\tpath {tmp_path}\n\tnodes other\n\n"
        f"dir: off\n\tpath {tmp_path}\n\tdisable 1\n"
    )


async def test_each_storage_of_this_node_is_told_with_its_room(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.write("storage.cfg", config(tmp_path))
    here, gone = await collect(Storages(store, Paths.under(tmp_path)), store.node)
    assert (here.storage, here.plugintype, here.content, here.shared) == ("here", "dir", "images", True)
    assert here.available and here.maxdisk > here.disk >= 0
    assert gone == StorageRecord(storage="gone", plugintype="dir", content="images,rootdir")


async def test_a_storage_that_hangs_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, let_go = MemoryStore(), threading.Event()
    answer = DirectoryStorage.status_blocking

    def status(self: DirectoryStorage) -> StorageStatus:
        if self.entry.id == "gone":
            let_go.wait(30)
        return answer(self)

    monkeypatch.setattr(DirectoryStorage, "status_blocking", status)
    monkeypatch.setattr(storages.Storages.state, "__defaults__", (0.2,))
    await store.write("storage.cfg", config(tmp_path))
    try:
        async with asyncio.timeout(5):
            here, gone = await collect(Storages(store, Paths.under(tmp_path)), store.node)
        assert here.available and not gone.available
    finally:
        let_go.set()


async def test_a_change_of_storage_cfg_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told = MemoryStore(), asyncio.Queue[list[str]]()
    publish = store.publish

    async def note(key: str, value: bytes, ttl: float = 30.0) -> None:
        await publish(key, value, ttl)
        told.put_nowait([record.storage for record in read_records(store)[store.node]])

    monkeypatch.setattr(store, "publish", note)
    async with asyncio.timeout(4), service.running(Services(), store, Paths.under(tmp_path)):
        assert await told.get() == ["local"]
        await store.write("storage.cfg", config(tmp_path))
        assert await told.get() == ["here", "gone"]


async def test_nonsense_of_another_version_is_left_out() -> None:
    store = MemoryStore()
    await store.publish(KEY, b"\xc1")
    assert read_records(store) == {}
