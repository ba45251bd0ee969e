"""The kernel's caches are taken back under load: nothing hangs, and no reader sees a mixture or the past."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
import store_face
from store_face import Face

from kvorum.store import MakeDirectory, Operation, Rename, Write

pytestmark = pytest.mark.skipif(bool(store_face.unavailable()), reason=store_face.unavailable() or "-")

SECONDS = 60 if os.environ.get("KVORUM_SOAK") else 10
FILES = 5
WORDS = 25_000

READER = """
import os, sys, threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
print("reading", flush=True)
newest, reads = {}, 0
while not ended.is_set():
    for name in os.listdir("d"):
        path = f"d/{name}"
        size = os.stat(path).st_size
        with open(path, "rb", buffering=0) as file:
            parts = []
            while part := file.read(30_000):
                parts.append(part)
        content = b"".join(parts)
        word = content[:8]
        assert content == word * (len(content) // 8), f"{path} is a mixture"
        assert len(content) == size == 8 * int(sys.argv[1]), f"{path}: {len(content)} bytes, {size} by stat"
        assert int(word) >= newest.get(name, 0), f"{path} went back from {newest[name]} to {int(word)}"
        newest[name] = int(word)
        reads += 1
print(reads, min(newest.values()), flush=True)
"""


def step(number: int) -> list[Operation]:
    """Every file's next content, by turns written and renamed over."""
    content = f"{number:08d}".encode() * WORDS
    operations: list[Operation] = []
    for file in range(FILES):
        path = f"d/{file}"
        over = number % 2
        operations += (
            [Write(f"next-{file}", content), Rename(f"next-{file}", path)] if over else [Write(path, content)]
        )
    return operations


@pytest.mark.timeout(SECONDS + 120)
async def test_three_readers_see_whole_files_that_only_get_newer(face: Face) -> None:
    await face.client.transact([MakeDirectory("d"), *step(1)])
    loop = asyncio.get_running_loop()
    argv = [sys.executable, "-c", READER, str(WORDS)]
    async with face.running(argv) as one, face.running(argv) as two, face.running(argv) as three:
        readers = (one, two, three)
        for reader in readers:
            assert await reader.line() == "reading"
        until, number = loop.time() + SECONDS, 1
        while loop.time() < until:
            number += 1
            await face.client.transact(step(number), timeout=30)
        for reader in readers:
            reader.tell("end")
        for reader in readers:
            reads, oldest = (int(word) for word in (await reader.line()).split())
            assert reads > FILES and oldest > 1
    done = await face.sh("head -qc 8 d/*", check=True)
    assert done.stdout == f"{number:08d}" * FILES, "and when all is quiet everything is the newest"
