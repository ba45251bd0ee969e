"""The rows of single files: through the kernel, after another node, by the socket, and sixteen at once."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from baseline import timed_ms
from rows import PATHS, WRITERS, Rows, measuring

from kvorum.store import StoreClient

FOLDER = "kvorum-bench"
"""The directory in the store that all this happens in."""
LOCK = "priv/lock/kvorum-bench"
SMALL = b"a line of some configuration, 40 bytes.\n" * 15
LARGE = b"a line of some configuration, 40 bytes.\n" * 10_000
ANSWER_S = 120.0
FRESH_S = 1.0
"""How long the kernel may keep what another node has replaced."""
APART_S = 0.05
"""Between changes that are watched one by one; under a steady flow watchers are told of many at once."""


def measure(count: int, elsewhere: str) -> dict[str, object]:
    """All rows; ``elsewhere`` is the ADDRESS:PORT of elsewhere.py on another node."""
    folder = PATHS.etc_pve / FOLDER
    folder.mkdir(exist_ok=True)
    with measuring(count) as rows, other_node(elsewhere) as ask:
        through_the_kernel(rows, folder)
        after_another_node(rows, folder, ask)
        asyncio.run(through_the_socket(rows, ask))
        rows.crowd("write_16_at_once", lambda each: crowd_of_files(folder, each))
        rows.crowd("socket_write_16_at_once", lambda each: asyncio.run(crowd_of_requests(each)))
    return dict(rows.rows)


def through_the_kernel(rows: Rows, folder: Path) -> None:
    """What a shell, an editor or a script meets."""
    existing, temporary = str(folder / "small-0"), folder / "temporary"
    replaced, locked = folder / "replaced", str(PATHS.etc_pve / LOCK)
    small = [str(folder / f"small-{number}") for number in range(rows.count)]

    def replace(_: int) -> None:
        put(temporary, SMALL)
        temporary.rename(replaced)

    def lock(_: int) -> None:  # the calls alone: a Path costs a fortieth of what is measured
        os.mkdir(locked)  # noqa: PTH102
        os.rmdir(locked)  # noqa: PTH106

    def forget_pages(_: int) -> None:
        opened = os.open(existing, os.O_RDONLY)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(opened)

    rows.measure("create_write_600", lambda n: put(small[n], SMALL, os.O_EXCL))
    rows.measure("replace_by_rename", replace)
    rows.measure("read", lambda _: get(existing), before_each=forget_pages)
    rows.measure("read_again", lambda _: get(existing))
    rows.measure("stat", lambda _: os.stat(existing))  # noqa: PTH116
    rows.measure("listdir", lambda _: os.listdir(folder))  # noqa: PTH208
    rows.measure("write_400_kb", lambda _: put(folder / "large", LARGE), count=max(10, rows.count // 6))
    rows.measure("lock_unlock", lock)
    rows.measure("unlink", lambda n: os.unlink(small[n]))  # noqa: PTH108


def after_another_node(rows: Rows, folder: Path, ask: Callable[..., object]) -> None:
    """Read what another node has written just before, and again where the kernel still had what was there.

    It is told beside the acknowledgement (docs/design/store.md); nothing else but that may be read.
    """
    path = folder / "elsewhere"
    contents = [b"%d\n" % number * 100 for number in range(rows.count)]
    stale = 0

    def read(number: int) -> None:
        nonlocal stale
        found = get(path)
        stale += found != contents[number]
        until = time.monotonic() + FRESH_S
        while found != contents[number]:
            if found != contents[number - 1] or time.monotonic() > until:
                sys.exit(f"'{path}' was read as {found[:20]!r} after another node had written {number}")
            found = get(path)

    name = "read_changed_elsewhere"
    rows.measure(name, read, before_each=lambda n: ask(write=str(path), hex=contents[n].hex()))
    rows.rows[name]["stale"] = stale


async def through_the_socket(rows: Rows, ask: Callable[..., object]) -> None:
    """What our own daemons do, and how soon another node's daemon is told."""

    def stamped() -> bytes:
        return (b"%d\n" % time.monotonic_ns() + SMALL)[: len(SMALL)]

    async with StoreClient(PATHS.store_socket) as store:
        await rows.measure_async("socket_write_600", lambda _: store.write(f"{FOLDER}/socket", SMALL))
        for name, apart_s in (
            ("write_to_watch_elsewhere", APART_S),
            ("steady_writes_to_watch_elsewhere", 0.0),
        ):

            async def write(_: int, apart_s: float = apart_s) -> None:
                await asyncio.sleep(apart_s)
                await store.write(f"{FOLDER}/stamped", stamped())

            ask(watch=f"{FOLDER}/stamped", count=rows.count)
            await rows.measure_async(name, write)
            rows.rows[name]["ms"] = ask()


def crowd_of_files(folder: Path, each: int) -> list[float]:
    """16 threads, each writing a file of its own again and again through the kernel."""
    took: list[float] = []

    def write(number: int) -> None:
        took.extend(timed_ms(lambda _: put(folder / f"crowd-{number}", SMALL), each))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


async def crowd_of_requests(each: int) -> list[float]:
    """16 tasks of one daemon, each writing a file of its own again and again by the socket."""
    took: list[float] = []

    async def write(number: int) -> None:
        for _ in range(each):
            begin = time.perf_counter()
            await store.write(f"{FOLDER}/crowd-{number}", SMALL)
            took.append((time.perf_counter() - begin) * 1000)

    async with StoreClient(PATHS.store_socket) as store, asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(write(number))
    return took


def put(path: str | Path, data: bytes, more: int = os.O_TRUNC) -> None:
    """Write a whole file: open, write, close."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | more, 0o640)
    try:
        os.write(opened, data)
    finally:
        os.close(opened)


def get(path: str | Path) -> bytes:
    """Read a whole file: open, read until nothing comes, close."""
    opened = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(opened, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(opened)


@contextmanager
def other_node(address: str) -> Iterator[Callable[..., object]]:
    """Ask the other node (see elsewhere.py); without words, only hear its next answer."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=ANSWER_S) as connection,
        connection.makefile("rw") as stream,
    ):

        def ask(**words: object) -> object:
            if words:
                stream.write(json.dumps(words) + "\n")
                stream.flush()
            if not (line := stream.readline()):
                sys.exit("the other node's part of the bench ended: its words are above")
            return json.loads(line)

        yield ask
