"""QEMU's part of a migration at the source: memory and disks sent while the guest runs, and the switch.

Facts are from QEMU's docs/devel/migration and its QMP reference (QEMU 7.2 to 10). Progress has no event, so
it is asked for once a second while nothing else happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kvorum.guests.errors import GuestError, MigrationFailed, QmpError
from kvorum.guests.machine import nodes
from kvorum.guests.machine.disks import node_name
from kvorum.guests.machine.qmp import Monitor
from kvorum.guests.migration import secret
from kvorum.guests.migration.request import Answer
from kvorum.guests.migration.sequence import Do
from kvorum.interface import TaskLog

TICK_S = 1.0
STALL_S = 30.0
SWITCH_DEADLINE_S = 60.0
CANCEL_DEADLINE_S = 20.0
_FULL_RATE = 1 << 40
_ENDED = frozenset({"completed", "failed", "cancelled"})

Alive = Callable[[], None]
"""Raises when going on makes no sense."""


class Memory:
    """The guest's memory on its way."""

    def __init__(self, monitor: Monitor, log: TaskLog, alive: Alive) -> None:
        self._monitor = monitor
        self._log = log
        self._alive = alive
        self._stopped_at = 0.0
        self.downtime_ms = 0
        """From the guest's stop here to its going on there, as this node saw it."""

    async def send(
        self,
        address: str,
        port: int,
        *,
        channels: int,
        downtime_ms: int,
        rate_bytes_s: int,
        secure: bool = True,
    ) -> None:
        """Send memory until only the rest that fits the downtime is left, and the guest stands still.

        Raises ``MigrationFailed`` when QEMU gives up or nothing moves for 30 s.
        """
        monitor = self._monitor
        names = ["events", "pause-before-switchover", "auto-converge"]
        states = [{"capability": name, "state": True} for name in names]
        states.append({"capability": "multifd", "state": channels > 0})
        await monitor.execute("migrate-set-capabilities", {"capabilities": states})
        parameters: dict[str, object] = {
            "tls-creds": secret.OBJECT if secure else "",
            "tls-hostname": address,
            "max-bandwidth": rate_bytes_s or _FULL_RATE,
            "downtime-limit": downtime_ms,
        }
        if channels:
            parameters["multifd-channels"] = channels
        await monitor.execute("migrate-set-parameters", parameters)
        host = f"[{address}]" if ":" in address else address
        async with monitor.listen("MIGRATION", "STOP") as events:
            await monitor.execute("migrate", {"uri": f"tcp:{host}:{port}"})
            watch = _Progress(self._log)
            while True:
                try:
                    event = await events.next(TICK_S)
                except TimeoutError:
                    self._alive()
                    watch.tell(await monitor.execute("query-migrate"))
                    continue
                if event.name == "STOP":
                    self._stopped_at = event.at
                elif event.data["status"] == "pre-switchover":
                    return
                elif event.data["status"] in _ENDED:
                    raise MigrationFailed(await self._why(str(event.data["status"])))

    async def finish(self) -> None:
        """Send the rest; the guest is then whole at the target, and stopped on both sides."""
        async with self._monitor.listen("MIGRATION") as events:
            await self._monitor.execute("migrate-continue", {"state": "pre-switchover"})
            end = await events.until(lambda event: event.data["status"] in _ENDED, SWITCH_DEADLINE_S)
        if end.data["status"] != "completed":
            raise MigrationFailed(await self._why(str(end.data["status"])))

    def resumed(self) -> None:
        """The guest goes on at the target: the downtime ends."""
        self.downtime_ms = round((time.monotonic() - self._stopped_at) * 1000) if self._stopped_at else 0

    def standstill(self, ended_at: Sequence[tuple[Do, float]]) -> str:
        """Where the downtime went: each step that ended after the guest's stop, in milliseconds."""
        parts, before = [], self._stopped_at
        for step, end in ended_at:
            if before and end > before and step is not Do.STOP_SOURCE:
                parts.append(f"{step.value} {(end - before) * 1000:.0f} ms")
                before = end
        return "the guest stood still for: " + (", ".join(parts) or "nothing")

    async def cancel(self) -> None:
        """Call it back. QEMU lets the guest go on here by itself."""
        async with self._monitor.listen("MIGRATION") as events:
            status = (await self._monitor.execute("query-migrate")).get("status", "none")
            if status in _ENDED or status == "none":
                return
            await self._monitor.execute("migrate_cancel")
            with contextlib.suppress(TimeoutError):
                await events.until(lambda event: event.data["status"] in _ENDED, CANCEL_DEADLINE_S)

    async def _why(self, status: str) -> str:
        answer = await self._monitor.execute("query-migrate")
        return f"QEMU: migration {status}: {answer.get('error-desc', 'see the log of the target')}"


class _Progress:
    """Turns QEMU's numbers into lines, and notices a standstill."""

    def __init__(self, log: TaskLog) -> None:
        self._log = log
        self._moved = 0
        self._moved_at = time.monotonic()

    def tell(self, answer: dict[str, Any]) -> None:
        """One line; raises ``MigrationFailed`` when nothing has moved for too long."""
        ram = answer.get("ram")
        now = time.monotonic()
        if ram and ram["transferred"] != self._moved:
            self._moved, self._moved_at = ram["transferred"], now
        elif now - self._moved_at > STALL_S:
            raise MigrationFailed(f"nothing has reached the target for {STALL_S:g} s")
        if ram and ram["total"]:
            self._log.line(
                f"migration active, transferred {_mib(ram['transferred'])} of {_mib(ram['total'])} VM-state, "
                f"{ram.get('mbps', 0) / 8:.1f} MB/s, {_mib(ram['remaining'])} remaining"
            )
            self._log.progress(1 - ram["remaining"] / ram["total"])


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


def _job(key: str) -> str:
    return f"mirror-{key}"


def _drive(job: str) -> str:
    """The disk that a job is about."""
    return job.removeprefix(_job(""))


def nbd_targets(answer: Answer, keys: Sequence[str]) -> dict[str, dict[str, object]]:
    """The target's exports as block nodes of ours, by disk."""
    server = {"type": "inet", "host": answer.address, "port": str(answer.disk_port)}
    return {
        key: {
            "driver": "nbd",
            "server": server,
            "export": node_name(key),
            "tls-creds": secret.OBJECT,
            "discard": "unmap",
        }
        for key in keys
    }


async def mirror_disks(
    monitor: Monitor,
    targets: Mapping[str, Mapping[str, object]],
    alive: Alive,
    log: TaskLog,
    rate_kib_s: int,
) -> None:
    """Copy disks to block nodes (NBD exports, files) until they are in step; from then on every write goes to
    both.

    Raises ``MigrationFailed`` when a copy breaks off.
    """
    keys = list(targets)
    on = {key: await nodes.current(monitor, key) for key in keys}
    async with monitor.listen("BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED") as events:
        for key, target in targets.items():
            await monitor.execute("blockdev-add", {**target, "node-name": _job(key)})
            job: dict[str, object] = {"job-id": _job(key), "device": on[key], "target": _job(key)}
            if rate_kib_s:
                job["speed"] = rate_kib_s * 1024
            await monitor.execute("blockdev-mirror", {**job, "sync": "full", "copy-mode": "background"})
        waiting = {_job(key) for key in keys}
        stall = (-1, time.monotonic())
        while waiting:
            try:
                event = await events.next(TICK_S)
            except TimeoutError:
                alive()
                stall = _tell_disks(await monitor.execute("query-block-jobs"), log, stall)
                continue
            if event.name == "BLOCK_JOB_COMPLETED":  # BLOCK_JOB_ERROR comes before, and does not say why
                drive, why = _drive(event.data["device"]), event.data.get("error", "I/O error")
                raise MigrationFailed(f"copying {drive} broke off: {why}")
            waiting.discard(event.data["device"])
    for key in keys:
        change = {"id": _job(key), "type": "mirror", "copy-mode": "write-blocking"}
        with contextlib.suppress(QmpError):  # QEMU before 8.2 can't; the rest is then drained at the switch
            await monitor.execute("block-job-change", change)
    log.line("all disks are in step")


async def finish_disks(monitor: Monitor, keys: Sequence[str]) -> None:
    """The guest stands still: let the copies take the last writes and end. Raises ``MigrationFailed``."""
    waiting = {_job(key) for key in keys}
    async with monitor.listen("BLOCK_JOB_COMPLETED") as events:
        for key in keys:
            await monitor.execute("block-job-cancel", {"device": _job(key), "force": False})
        async with asyncio.timeout(SWITCH_DEADLINE_S):
            while waiting:
                event = await events.next()
                if "error" in event.data:
                    raise MigrationFailed(
                        f"the last writes of {_drive(event.data['device'])} did not reach the target: "
                        f"{event.data['error']}"
                    )
                waiting.discard(event.data["device"])
    for key in keys:
        await monitor.execute("blockdev-del", {"node-name": _job(key)})


async def give_up_disks(monitor: Monitor, keys: Sequence[str]) -> None:
    """End the copies, even those that wait for a target that is gone."""
    async with monitor.listen("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED") as events:
        jobs = {job["device"] for job in await monitor.execute("query-block-jobs")}
        waiting = {_job(key) for key in keys} & jobs
        known = {
            node["node-name"] for node in await monitor.execute("query-named-block-nodes", {"flat": True})
        }
        instances = [{"type": "block-node", "node-name": _job(key)} for key in keys if _job(key) in known]
        for job in waiting:
            with contextlib.suppress(GuestError):
                await monitor.execute("block-job-cancel", {"device": job, "force": True})
        if instances:
            with contextlib.suppress(GuestError):
                await monitor.execute("yank", {"instances": instances}, oob=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_DEADLINE_S):
                while waiting:
                    waiting.discard((await events.next()).data["device"])
    for instance in instances:
        with contextlib.suppress(GuestError):
            await monitor.execute("blockdev-del", {"node-name": instance["node-name"]})


def _tell_disks(jobs: Sequence[dict[str, Any]], log: TaskLog, before: tuple[int, float]) -> tuple[int, float]:
    """A line of progress; raises ``MigrationFailed`` when nothing has moved for too long."""
    done, total = sum(job["offset"] for job in jobs), sum(job["len"] for job in jobs)
    log.line(f"disks: transferred {_mib(done)} of {_mib(total)}")
    if done != before[0]:
        return done, time.monotonic()
    if time.monotonic() - before[1] > STALL_S:
        raise MigrationFailed(f"nothing of the disks has reached the target for {STALL_S:g} s")
    return before
