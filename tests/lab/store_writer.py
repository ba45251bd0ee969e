"""A writer of the fault walk: runs inside a node (``python -c``), and reports each operation on its output.

    NAME WAY SEED    WAY is ``fuse`` (through /etc/pve) or ``socket`` (through StoreClient)

Two JSON lines for each operation, with the host's monotonic time in seconds: one before it begins, one with
its outcome. ``done``: acknowledged. ``refused`` and ``conflict``: nothing happened. ``unknown``: it may have.
It ends when its input does.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = "/etc/pve"
EPOCH_S = 15
"""The shared files are new ones so often: a checker decides short histories."""
NOTHING_HAPPENED = {errno.EROFS: "refused", errno.EEXIST: "conflict"}


class Writer:
    """Names its operations, chooses them by a seed and reports them."""

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.number = 0
        self.ended = threading.Event()
        threading.Thread(target=self._await_end, daemon=True).start()

    def _await_end(self) -> None:
        sys.stdin.read()
        self.ended.set()

    def begin(self, name: str, kind: str, path: str, data: bytes, **more: object) -> None:
        """Report that an operation begins."""
        told = {"id": name, "kind": kind, "path": path, "sha": hashlib.sha256(data).hexdigest(), **more}
        say({**told, "start": time.monotonic()})

    def next(self) -> str:
        """A name for an operation, which no other has."""
        self.number += 1
        return f"{self.name}.{self.number}"

    def content(self, name: str) -> bytes:
        """What a file of its own holds: its name, and something of a usual or a large size."""
        size = 270_000 if self.random.random() < 0.01 else self.random.randint(50, 2000)
        return (name + "\n").encode() * (size // (len(name) + 1) + 1)

    def shared(self, kind: str) -> str:
        """A file that all writers change just now."""
        return f"chaos/{kind}/{int(time.monotonic()) // EPOCH_S}-{self.random.randint(0, 1)}"


def say(told: dict[str, object]) -> None:
    """One line in one write: it arrives whole or not at all."""
    os.write(1, json.dumps(told).encode() + b"\n")


def answered(name: str, outcome: str, text: str = "", version: int = 0) -> None:
    """Report how an operation ended."""
    say({"id": name, "end": time.monotonic(), "outcome": outcome, "text": text[:300], "version": version})


# --- through /etc/pve --------------------------------------------------------------------------------------


class Files(Writer):
    """Creates, replaces and renames files by system calls."""

    def run(self) -> None:
        """Write until the input ends."""
        while not self.ended.is_set():
            choice, name = self.random.random(), self.next()
            if choice < 0.45:
                self.write(name, "own", f"chaos/own/{name}", self.content(name))
            elif choice < 0.6:
                self.replace()
            elif choice < 0.8:
                self.write(name, "register", self.shared("shared"), name.encode())
            else:  # nobody else's: what is carried out twice comes back over what followed it
                mine = f"chaos/shared/{int(time.monotonic()) // EPOCH_S}-{name.partition('.')[0]}"
                self.write(name, "register", mine, name.encode())
            self.ended.wait(self.random.uniform(0.03, 0.2))

    def replace(self) -> None:
        """A file beside, then its rename: how most programs replace a file."""
        name, renaming = self.next(), self.next()
        path, data = f"chaos/own/{name}", self.content(name)
        if self.write(name, "own", f"{path}.tmp", data) != "done":
            return
        self.begin(renaming, "rename", path, data, source=f"{path}.tmp")
        try:
            Path(f"{ROOT}/{path}.tmp").rename(f"{ROOT}/{path}")
        except OSError as error:
            answered(renaming, NOTHING_HAPPENED.get(error.errno or 0, "unknown"), str(error))
        else:
            answered(renaming, "done")

    def write(self, name: str, kind: str, path: str, data: bytes) -> str:
        """Replace a file; returns the outcome. Nothing is changed before the close, which answers."""
        self.begin(name, kind, path, data, value=data.decode() if kind == "register" else None)
        try:
            descriptor = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        except OSError as error:
            answered(name, "refused", str(error))
            return "refused"
        outcome, text = "done", ""
        try:
            os.write(descriptor, data)
        except OSError as error:
            outcome, text = "unknown", str(error)
        try:
            os.close(descriptor)
        except OSError as error:
            text = str(error)
            outcome = "unknown" if outcome == "unknown" else NOTHING_HAPPENED.get(error.errno or 0, "unknown")
        answered(name, outcome, text)
        return outcome


# --- through the store's socket ----------------------------------------------------------------------------


class Requests(Writer):
    """Transactions, some at the same time, many with a precondition."""

    async def run(self) -> None:
        """Write until the input ends."""
        from kvorum.store import StoreClient

        self.client = StoreClient(Path("/run/kvorum/store.sock"))
        await self.client.start(timeout=300)
        try:
            while not self.ended.is_set():
                kinds: list[Callable[[], Awaitable[None]]] = [self.own, self.swap, self.append]
                count = self.random.choice((1, 1, 2, 4))
                chosen = self.random.choices(kinds, (5, 3, 2), k=count)
                await asyncio.gather(*(kind() for kind in chosen))
                await asyncio.to_thread(self.ended.wait, self.random.uniform(0.03, 0.2))
        finally:
            await self.client.close()

    async def own(self) -> None:
        """A file of its own."""
        name = self.next()
        path, data = f"chaos/own/{name}", self.content(name)
        self.begin(name, "own", path, data)
        await self.transact(name, path, data)

    async def swap(self) -> None:
        """A new value for a shared file, if it still has the one that is read here."""
        name, path = self.next(), self.shared("shared")
        await self._changed("swap", path, name, lambda now: name.encode())

    async def append(self) -> None:
        """A line more in a shared file, if it still has those that are read here."""
        name, path = self.next(), self.shared("lines")
        await self._changed("append", path, name, lambda now: now + f"{name}\n".encode())

    async def _changed(self, kind: str, path: str, name: str, new: Callable[[bytes], bytes]) -> None:
        from kvorum.store import Expect

        file = self.client.read(path)
        data = new(file.data if file else b"")
        expected = file.text if file and kind == "swap" else None
        self.begin(name, kind, path, data, value=name, expected=expected)
        await self.transact(name, path, data, Expect.of(file) if file else Expect(path, None))

    async def transact(self, name: str, path: str, data: bytes, *expect: object) -> None:
        """Ask, and report the answer."""
        from kvorum.core.errors import Conflict, KvorumError, OutcomeUnknown
        from kvorum.store import Write

        try:
            version = await self.client.transact([Write(path, data)], expect, who=name, timeout=10)
        except Conflict as error:
            answered(name, "conflict", str(error))
        except OutcomeUnknown as error:
            answered(name, "unknown", str(error))
        except KvorumError as error:
            answered(name, "refused", str(error))
        else:
            answered(name, "done", version=version)


def main() -> None:
    """Run the writer that the command line names."""
    name, way, seed = sys.argv[1:]
    if way == "fuse":
        Files(name, seed).run()
    else:
        asyncio.run(Requests(name, seed).run())


if __name__ == "__main__":
    main()
