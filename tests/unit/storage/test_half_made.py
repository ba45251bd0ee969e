"""A daemon that dies while it makes a volume leaves none.

At every step the whole node is copied, and a next daemon begins on the copy.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from stand_ins import Everything, Lines

from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.core.paths import Paths
from kvorum.interface import Context, Identity, Services
from kvorum.storage import HalfMade, StorageError, Storages, disk_files, images
from kvorum.storage.arrival import Arrival
from kvorum.storage.methods import storages as storage_methods
from kvorum.storage.methods import volumes
from kvorum.store.memory import MemoryStore

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")


class Node:
    """A node whose all lies under a directory."""

    def __init__(self, root: Path) -> None:
        self.root, paths = root, Paths.under(root)
        self.notes, self.place = paths.state / "half-made", paths.state / "vz"
        storages, services = Storages(MemoryStore("n1"), paths), Services()
        self.half_made = HalfMade(storages, self.notes)
        services.add(Storages, storages)
        services.add(HalfMade, self.half_made)
        self.context = Context(MemoryStore("n1"), services, Identity("root@pam"), Everything())

    @property
    def volumes(self) -> set[str]:
        return {path.name for path in self.place.rglob("*") if path.is_file()}

    def assert_sound(self, before: set[str], after: set[str]) -> None:
        assert self.volumes in (before, after)
        assert not self.notes.exists() or not list(self.notes.glob("*.json"))
        assert all(list(folder.iterdir()) for folder in self.place.glob("images/*")), "an empty folder stays"


async def allocate(node: Node) -> None:
    given = {"node": "n1", "storage": "local", "vmid": 100, "filename": "vm-100-disk-7.qcow2", "size": "1024"}
    await storage_methods.allocate(node.context, storage_methods.AllocateParameters(**given))  # type: ignore[arg-type]


async def copy(node: Node) -> None:
    given = {"node": "n1", "volume": "local:100/vm-100-disk-0.raw", "target": "local:200/vm-200-disk-0.qcow2"}
    work = await volumes.copy(node.context, volumes.CopyParameters(**given))
    await work.run(Lines())


async def arrive(node: Node) -> None:
    async def data() -> Any:
        yield b"data"

    arrival = Arrival(node.place / "template/iso/x.iso", node.half_made)
    await arrival.take(data())
    await arrival.settle(replace=True)


MAKING: dict[str, Callable[[Node], Coroutine[Any, Any, None]]] = {
    "allocate": allocate,
    "copy": copy,
    "arrive": arrive,
}


async def begun(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node")
    await node.context.service(Storages).get("local").allocate(100, 1 << 20, "raw")
    return node


@pytest.mark.parametrize("making", MAKING)
async def test_whenever_the_daemon_dies_the_next_one_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, making: str
) -> None:
    node = await begun(tmp_path)
    before, moments = node.volumes, list[tuple[Path, str]]()

    def copied(when: str) -> None:
        at = tmp_path / f"copy{len(moments)}"
        shutil.copytree(node.root, at)
        for note in Node(at).notes.glob("*.json"):
            note.write_text(note.read_text().replace(str(node.root), str(at)))
        moments.append((at, when))

    def around(kind: Any, name: str) -> None:
        real = getattr(kind, name)

        def blocking(*arguments: Any, **options: Any) -> Any:
            copied(f"before {name}")
            try:
                return real(*arguments, **options)
            finally:
                copied(f"after {name}")

        async def waiting(*arguments: Any, **options: Any) -> Any:
            copied(f"before {name}")
            try:
                return await real(*arguments, **options)
            finally:
                copied(f"after {name}")

        monkeypatch.setattr(kind, name, waiting if asyncio.iscoroutinefunction(real) else blocking)

    with monkeypatch.context():
        for kind, name in (
            (HalfMade, "note"), (HalfMade, "whole"), (disk_files, "make_folder"), (images, "create"),
            (images, "convert"), (Arrival, "_write"), (Arrival, "_rename"),
        ):  # fmt: skip
            around(kind, name)
        await MAKING[making](node)
        monkeypatch.undo()
    after = node.volumes
    node.assert_sound(after, after)
    assert len(after - before) == 1 and len(moments) >= 8
    for at, when in moments:
        later = Node(at)
        await later.half_made.settle()
        try:
            later.assert_sound(before, after)
        except AssertionError as error:
            raise AssertionError(f"{when} ({at.name}): {error}") from error
        if later.volumes == before:
            await MAKING[making](later)
            later.assert_sound(after, after)


@pytest.mark.parametrize("error", [StorageError("no room"), asyncio.CancelledError()])
async def test_what_fails_or_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    node = await begun(tmp_path)
    before = node.volumes

    async def fails(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(images, "convert", fails)
    with pytest.raises(type(error)):
        await copy(node)
    node.assert_sound(before, before)


async def test_what_cant_be_removed_is_said_and_stays_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = await begun(tmp_path)
    node.half_made.note(volume="local:100/vm-100-disk-0.raw")
    (node.notes / "garbage.json").write_text("{")
    await node.half_made.settle()
    assert node.volumes == {"vm-100-disk-0.raw"}, "what is under way is left alone"
    node = Node(node.root)

    def stuck(path: Path, is_disk: bool) -> bool:
        raise StorageError(f"could not remove '{path}': Read-only file system")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(disk_files, "remove", stuck)
        await node.half_made.settle()
    assert "Read-only file system" in caplog.text and "garbage.json" in caplog.text
    assert len(list(node.notes.glob("*.json"))) == 2 and node.volumes == {"vm-100-disk-0.raw"}
    await node.half_made.settle()
    assert [note.name for note in node.notes.glob("*.json")] == ["garbage.json"] and not node.volumes


async def test_a_name_that_another_took_is_not_touched(tmp_path: Path) -> None:
    node = await begun(tmp_path)
    before = node.volumes
    with pytest.raises(KvorumError, match="exists"):
        async with node.half_made.making() as reserving:
            kind = node.context.service(Storages).get("local")
            await kind.allocate(100, 1024, "raw", "vm-100-disk-0.raw", reserving)
    node.assert_sound(before, before)


def test_a_name_taken_meanwhile_is_noted_no_longer(tmp_path: Path) -> None:
    node = Node(tmp_path)

    async def taken() -> None:
        async with node.half_made.making() as reserving:
            reserving(VolumeId.parse("local:100/vm-100-disk-0.raw"))
            reserving(None)
            assert not list(node.notes.glob("*.json"))

    asyncio.run(taken())
