"""A standalone store of this process with its file system, under real programs, for the tests of /etc/pve.

Whatever touches the file system must be another process: the event loop here answers it. So nothing of it is
opened, and no working directory set, by Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kvorum.core.paths import Paths
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store
from kvorum.store.host import Host
from kvorum.store.protocol import Left, MembersChanged

END = "the-end-of-the-test"
DEADLINE_S = 30


def unavailable() -> str:
    """Say why nothing can be mounted here; empty when it can."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        return "mounting needs root and /dev/fuse"
    return ""


@dataclass
class Running:
    """A program that is talked to line by line."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)).decode().strip()

    def tell(self, text: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())


@dataclass
class Face:
    """The mounted file system and the store behind it."""

    place: Path
    host: Host
    client: StoreClient

    async def sh(self, script: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a script of bash in the file system; with ``check`` it may not complain."""
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", f"cd {shlex.quote(str(self.place))} && {{ {script}\n}}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
        if check:
            assert (done.returncode, done.stderr) == (0, ""), done
        return done

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[list[tuple[str, str | None]]]:
        """While open, list what another reader is shown: path and content of each version; None is a removal.

        The list is whole when it closes.
        """
        await self.client.transact([])  # with the answer it is told what came before, and not a moment later
        seen: list[tuple[str, str | None]] = []
        began = asyncio.Event()

        async def watch() -> None:
            changes = self.client.watch()
            coming = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            began.set()
            while True:
                change = await coming
                if change.path == END:
                    return
                if not change.directory:
                    seen.append((change.path, change.file.text if change.file else None))
                coming = asyncio.ensure_future(anext(changes))

        watching = asyncio.create_task(watch())
        await began.wait()
        try:
            yield seen
            await self.client.write(END, b"")
            await asyncio.wait_for(watching, DEADLINE_S)
        finally:
            watching.cancel()

    @contextlib.asynccontextmanager
    async def running(self, argv: list[str]) -> AsyncIterator[Running]:
        """A program at work in the file system; it is asked to end by the end of its input."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f"cd {shlex.quote(str(self.place))} && exec {shlex.join(argv)}",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Running(process)
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def lose_quorum(self) -> None:
        """The store leaves its group, as when Corosync dies."""
        self.host.feed(Left("corosync is away"))

    async def regain_quorum(self) -> None:
        """It is a member again, and writable."""
        writable = asyncio.Event()
        forget = self.host.listen(lambda _: writable.set() if self.host.status.writable else None)
        self.host.feed(MembersChanged((0, 2), frozenset({(self.host.nodeid, 0)}), time.time()))
        await asyncio.wait_for(writable.wait(), DEADLINE_S)
        forget()


@contextlib.asynccontextmanager
async def mounted_store(root: Path) -> AsyncIterator[Face]:
    """A standalone store that is writable, mounted at ``root``/pve."""
    paths = Paths.under(root)
    async with (
        running_store(paths, node="n1", fuse=True, corosync=False) as host,
        StoreClient(paths.store_socket) as client,
    ):
        await client.write("ready", b"")
        yield Face(paths.etc_pve, host, client)
