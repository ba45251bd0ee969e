"""A node whose guests are off and whose images are real, copied at any moment as one would find it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guests_world import Lines, MemoryStore, Node
from moments import around

from kvorum.guests.config import GuestConfig

FACTS: Any = None
"""Nothing is started here."""
VMIDS = (100, 101)


class ImagesWorld:
    """One node under a directory, with the storages ``local`` and ``other``; VMs 100 and 101 may be there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "vz").mkdir(parents=True, exist_ok=True)
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        self.log = Lines()

    async def configure(self, texts: dict[int, str]) -> None:
        """Write the storages, and these guests' configurations."""
        storages = f"dir: local\n\tpath {self.root}/vz\n\tcontent images\n\n"
        storages += f"dir: other\n\tpath {self.root}/other\n\tcontent images\n"
        await self.store.write("storage.cfg", storages)
        for vmid, text in texts.items():
            await self.store.write(config_path(vmid), text)

    async def next_daemon(self) -> None:
        """Do what a daemon does at its start."""
        await self.node.unfinished.settle_earlier()
        await self.node.snapshots.settle_earlier()
        await self.node.templates.settle_earlier()
        await self.node.unfinished.settle_earlier()

    @property
    def texts(self) -> dict[int, str]:
        """The guests' configurations."""
        files = {vmid: self.store.read(config_path(vmid)) for vmid in VMIDS}
        return {vmid: file.text for vmid, file in files.items() if file is not None}

    def config(self, vmid: int = 100) -> GuestConfig:
        return GuestConfig.parse(vmid, self.texts[vmid])

    def assert_nothing_noted(self) -> None:
        assert list(self.node.paths.state.glob("unfinished/*")) == []


@dataclass(frozen=True, slots=True)
class Moment:
    """What is there when the daemon dies: a copy of the node's directory, and the store."""

    at: Path
    texts: dict[int, str]
    when: str


async def copy_of(world: ImagesWorld, at: Path) -> Any:
    """Another world of the same kind, with all that one has."""
    shutil.copytree(world.root, at)
    return await opened(type(world), at, world.texts)


async def opened(kind: type[ImagesWorld], at: Path, texts: dict[int, str]) -> Any:
    """What a next daemon finds under a directory."""
    world = kind(at)
    await world.configure(texts)
    return world


async def moments_of(
    world: ImagesWorld, writes: Iterable[tuple[Any, str]], step: Callable[[Any], Awaitable[None]], place: Path
) -> list[Moment]:
    """Take a step; the node is copied before and after each of its writes."""
    found: list[Moment] = []

    def copied(when: str) -> None:
        at = place / f"copy{len(found)}"
        shutil.copytree(world.root, at)
        found.append(Moment(at, world.texts, when))

    with pytest.MonkeyPatch.context() as patch:
        around(patch, writes, copied)
        await step(world)
    return found


async def fails_at(
    world: ImagesWorld,
    writes: Iterable[tuple[Any, str]],
    step: Callable[[Any], Awaitable[None]],
    number: int,
    error: BaseException,
) -> bool:
    """Take a step whose write of this number fails; whether it had so many, and ended otherwise."""
    count = 0

    def fails(when: str) -> None:
        nonlocal count
        count += 1
        if count == number + 1:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        around(patch, writes, fails)
        await step(world)
    return count <= number


def config_path(vmid: int) -> str:
    return f"nodes/n1/qemu-server/{vmid}.conf"


def image_io(path: Path, format: str, command: str) -> str:
    """What qemu-io says to a command; raises where it fails."""
    flags = ["-r"] if command.startswith("read") else []
    arguments = ["qemu-io", *flags, "-f", format, "-c", command, str(path)]
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
