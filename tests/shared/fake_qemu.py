"""A stand-in for a guest's QEMU that remembers what it was told and plays its run states and migration."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import QmpLost
from kvorum.guests.machine.qmp import Event
from kvorum.guests.machine.runtime import RunRecord


class Events:
    """What is listened to."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    async def next(self, deadline_s: float | None = None) -> Event:
        return await asyncio.wait_for(self.queue.get(), deadline_s)

    async def until(self, wanted: Callable[[Event], bool], deadline_s: float) -> Event:
        async with asyncio.timeout(deadline_s):
            while not wanted(event := await self.next()):
                pass
            return event


class Qemu:
    """QEMU and its guest: its run state, its migration, the snapshots inside its disks."""

    def __init__(self, config: GuestConfig, *, ends: str = "completed", status: str = "running") -> None:
        self.vmid = 100
        self.config = config
        self.record = RunRecord(
            vmid=100, pid=1, started=1, begun=time.time(), machine="pc-i440fx-10.0", accelerator="tcg",
            version="10.0.2",
        )  # fmt: skip
        self.monitor: Any = self
        self.process: Any = self
        self.closed = asyncio.Event()
        self.ended = asyncio.Event()
        self.status = status
        self.end_reason = ""
        self.obeys = True
        """Whether it switches off when its power button is pressed."""
        self.migration = "none"
        self.snapshots: dict[str, set[str]] = {f"drive-{key}": set() for key in config.disks}
        self.capabilities: dict[str, bool] = {}
        self.commands: list[str] = []
        self.still: list[str] = []
        """What was asked while the guest stood still."""
        self.fails: Callable[[str], None] = lambda command: None
        self._ends = ends
        self._listening: set[Events] = set()

    # as Monitor

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        if self.closed.is_set():
            raise QmpLost("QEMU is gone")
        self.commands.append(command)
        if self.status != "running":
            self.still.append(command)
        self.fails(command)
        values = arguments or {}
        match command:
            case "query-status":
                return {"status": self.status}
            case "cont":
                assert self.migration not in ("setup", "active", "pre-switchover"), "it would be torn"
                self.status = "running"
            case "stop":
                self.status = "paused"
            case "migrate-set-capabilities":
                self.capabilities |= {each["capability"]: each["state"] for each in values["capabilities"]}
            case "query-migrate-capabilities":
                return [{"capability": name, "state": on} for name, on in self.capabilities.items()]
            case "migrate":
                assert self.capabilities["mapped-ram"] and self.capabilities["pause-before-switchover"]
                Path(values["uri"].removeprefix("file:")).write_bytes(b"memory")
                self._tell("active")
                self.status = "paused"
                self._tell("pre-switchover")
            case "migrate-continue":
                assert self.migration == "pre-switchover"
                self._tell(self._ends)
                self.status = "postmigrate" if self._ends == "completed" else "paused"
            case "system_powerdown" if self.obeys:
                self.end_reason = "guest-shutdown"
                self.closed.set()
                self.ended.set()
            case "migrate-incoming":
                assert self.status == "inmigrate"
                self._tell(self._ends)
                self.status = "paused" if self._ends == "completed" else "inmigrate"
            case "migrate_cancel":
                self._tell("cancelled")
            case "query-migrate":
                return {"status": self.migration, "error-desc": "No space left on device"}
            case "transaction":
                for action in values["actions"]:
                    self.snapshots[action["data"]["device"]].add(action["data"]["name"])
            case "query-block":
                return [
                    {"qdev": key, "inserted": {"node-name": f"drive-{key}", "file": disk.file}}
                    for key, disk in self.config.disks.items()
                ]
            case "query-named-block-nodes":
                return [
                    {"node-name": name, "image": {"snapshots": [{"name": each} for each in inside]}}
                    for name, inside in self.snapshots.items()
                ]
            case "blockdev-snapshot-delete-internal-sync":
                self.snapshots[values["device"]].remove(values["name"])
        return {}

    @contextlib.asynccontextmanager
    async def listen(self, *names: str) -> AsyncIterator[Events]:
        events = Events()
        self._listening.add(events)
        try:
            yield events
        finally:
            self._listening.discard(events)

    def _tell(self, status: str) -> None:
        self.migration = status
        for events in self._listening:
            events.queue.put_nowait(Event("MIGRATION", {"status": status}, time.monotonic()))

    # as RunningGuest

    async def refresh(self) -> str:
        self.status = (await self.execute("query-status"))["status"]
        return self.status

    async def resume(self) -> None:
        await self.execute("cont")

    async def pause(self) -> None:
        await self.execute("stop")

    async def stop(self, reason: str) -> None:
        self.end_reason = reason
        self.closed.set()
        self.ended.set()

    async def end_helpers(self) -> None:
        return

    async def wait(self, seconds: float) -> bool:
        return self.ended.is_set()

    async def detach(self) -> None:
        return
