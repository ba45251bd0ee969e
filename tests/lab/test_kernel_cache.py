"""The kernel keeps nothing that is no longer so, whatever two programs and another node do to a file."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import sys
from collections.abc import Callable

import pytest
import store_face
from store_face import Face, Running

from kvorum.store import Delete, Write

pytestmark = pytest.mark.skipif(bool(store_face.unavailable()), reason=store_face.unavailable() or "-")

WALKS = 10_000 if os.environ.get("KVORUM_SOAK") else 500
TOLD_S = 10
STEPS = 10
WAYS_OF_A_WALK = 6
FILES = ("a", "b")
SIZES = (1, 100, 4096, 5000)

PROGRAM = """
import json, mmap, os, sys
held, maps = {}, []
def opened(name, flags):
    descriptor = os.open(name, flags, 0o640)
    held[descriptor] = name
    return descriptor
def some():
    return next(iter(held))
ways = {
    "make": lambda name, size: opened(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    "make to read": lambda name, size: opened(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC),
    "open": lambda name, size: opened(name, os.O_RDWR),
    "look": lambda name, size: opened(name, os.O_RDONLY),
    "write": lambda name, size: os.write(some(), os.urandom(size)),
    "write at": lambda name, size: os.pwrite(some(), os.urandom(size), 2000),
    "read": lambda name, size: os.pread(some(), 10_000, 0),
    "read by name": lambda name, size: open(name, "rb").read(),
    "stat": lambda name, size: os.stat(name),
    "stat a handle": lambda name, size: os.fstat(some()),
    "list": lambda name, size: [entry.stat() for entry in os.scandir(".")],
    "sync": lambda name, size: os.fsync(some()),
    "cut": lambda name, size: os.ftruncate(some(), size),
    "cut by name": lambda name, size: os.truncate(name, size),
    "touch": lambda name, size: os.utime(name),
    "close": lambda name, size: (held.pop(one := some()), os.close(one)),
    "close a copy": lambda name, size: os.close(os.dup(some())),
    "remove": lambda name, size: os.unlink(name),
    "rename": lambda name, size: os.rename(name, "b"),
}
def held_by_kernel(name):
    try:
        shown = os.stat(name)
        with open(name, "rb") as file:
            return [file.read().hex(), shown.st_size, shown.st_mtime_ns]
    except FileNotFoundError:
        return None
print(json.dumps(list(ways)), flush=True)
for line in sys.stdin:
    way, name, size = json.loads(line)
    if way == "show":
        answer = held_by_kernel(name)
    elif way == "map":
        maps.append(mmap.mmap(some(), size, prot=mmap.PROT_READ))
        answer = "done"
    elif way == "read the map":
        answer = maps[0][:].hex()
    elif way == "close all":
        answer = [os.close(one) for one in held]
        held.clear()
    else:
        try:
            ways[way](name, size)
            answer = "done"
        except (OSError, StopIteration) as error:
            answer = str(error)
    print(json.dumps(answer), flush=True)
"""


async def ask(program: Running, way: str, name: str = "", size: int = 0) -> object:
    program.tell(json.dumps([way, name, size]))
    return json.loads(await program.line())


def held_by_store(face: Face, name: str) -> object:
    file = face.host.tree.read(name)
    return [file.data.hex(), len(file.data), int(file.mtime * 1e9)] if file else None


@pytest.mark.timeout(600)
async def test_what_the_kernel_shows_is_what_the_store_has(face: Face) -> None:
    argv = [sys.executable, "-c", PROGRAM]
    async with face.running(argv) as one, face.running(argv) as two:
        ways = json.loads(await one.line())
        assert json.loads(await two.line()) == ways
        for seed in range(WALKS):
            chance, did = random.Random(seed), []
            used = chance.sample([*ways, "elsewhere", "removed elsewhere"], WAYS_OF_A_WALK)
            files = chance.choice((FILES, FILES[:1]))
            for _ in range(STEPS):
                program, way = chance.choice((one, two)), chance.choice(used)
                name, size = chance.choice(files), chance.choice(SIZES)
                did.append((1 if program is one else 2, way, name, size))
                if way == "elsewhere":
                    await face.client.transact([Write(name, chance.randbytes(size))])
                elif way == "removed elsewhere":
                    if face.host.tree.read(name) is not None:
                        await face.client.transact([Delete(name)])
                else:
                    await ask(program, way, name, size)
            for program in (one, two):
                await ask(program, "close all")
            for name in FILES:
                there = functools.partial(held_by_store, face, name)
                await assert_told(one, "show", name, there, f"walk {seed}: {did}")


async def assert_told(program: Running, way: str, name: str, there: Callable[[], object], after: str) -> None:
    """Raise unless the kernel shows a program what is there, now or when it has been told.

    What is there is looked at each time: a file that was only emptied is committed after its close.
    """
    deadline = asyncio.get_running_loop().time() + TOLD_S
    while (shown := await ask(program, way, name)) != (now := there()):
        assert asyncio.get_running_loop().time() < deadline, f"'{name}' is {shown}, not {now}, after {after}"


@pytest.mark.parametrize("opened", ["before", "meanwhile"])
async def test_what_another_maps_while_a_file_is_written_is_not_kept(face: Face, opened: str) -> None:
    """What the file was comes into the page where nothing is written yet."""
    await face.sh("yes old | head -c 4096 > a", check=True)
    argv = [sys.executable, "-c", PROGRAM]
    async with face.running(argv) as writer, face.running(argv) as reader:
        assert await writer.line() == await reader.line()
        steps = [(writer, "make", 0), (writer, "write at", 1)]
        steps.insert(0 if opened == "before" else 2, (reader, "look", 0))
        for program, way, size in (*steps, (reader, "map", 2001)):
            assert await ask(program, way, "a", size) == "done"
        assert "6f6c640a" in str(await ask(reader, "read the map"))
        await ask(writer, "write", "a", 1)
        await ask(writer, "close")
        new = face.host.tree.read("a")
        assert new is not None
        await assert_told(reader, "read the map", "a", new.data.hex, "the writer's close")
