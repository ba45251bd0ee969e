"""QEMU's part of a move while the guest runs: the disk is mirrored, and the device goes over to the copy.

Facts are from QEMU's QMP reference (QEMU 7.2 to 10). First the copy follows in the background; once it is in
step, each of the guest's writes goes to both before it is done (``write-blocking``). From then on either
volume is whole, so the moment in which the configuration changes is safe whoever dies. QEMU before 8.2 can't
change a job, so there each write waits for both from the beginning.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine import nodes
from kvorum.guests.machine.qmp import Monitor, Subscription
from kvorum.interface import TaskLog

TICK_S = 1.0
IN_STEP_S = 30.0
COMPLETE_S = 60.0
CANCEL_S = 20.0
_IN_STEP_TICK_S = 0.05
_EVENTS = ("BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_ERROR")


def job_of(key: str) -> str:
    """The name of the job that moves a disk."""
    return f"move-{key}"


async def jobs(monitor: Monitor) -> dict[str, Mapping[str, Any]]:
    """The moves under way, by the disks' keys."""
    found = await monitor.execute("query-block-jobs")
    prefix = job_of("")
    return {job["device"].removeprefix(prefix): job for job in found if job["device"].startswith(prefix)}


async def bring_into_step(
    monitor: Monitor, key: str, target: Mapping[str, object], log: TaskLog, rate_kib_s: int
) -> None:
    """Copy a disk to a new node until every write goes to both.

    Raises ``GuestError`` when the copy breaks off (no room, say); what there is of it then is for ``let_go``.
    """
    await monitor.execute("blockdev-add", dict(target))
    job = job_of(key)
    commands = await monitor.execute("query-commands")
    changes = any(command["name"] == "block-job-change" for command in commands)
    async with monitor.listen(*_EVENTS) as events:
        arguments: dict[str, object] = {
            "job-id": job,
            "device": await nodes.current(monitor, key),
            "target": target["node-name"],
            "sync": "full",
            "copy-mode": "background" if changes else "write-blocking",
            "filter-node-name": f"mirror-{key}",
        }
        if rate_kib_s:
            arguments["speed"] = rate_kib_s * 1024
        await monitor.execute("blockdev-mirror", arguments)
        await _until_ready(monitor, events, key, log)
        if changes:
            change = {"id": job, "type": "mirror", "copy-mode": "write-blocking"}
            await monitor.execute("block-job-change", change)
        end = time.monotonic() + IN_STEP_S
        while not await _in_step(monitor, key):  # there is no event for it
            if time.monotonic() > end:
                raise GuestError(f"{key}: the copy did not get into step within {IN_STEP_S:g} s")
            with contextlib.suppress(TimeoutError):
                event = await events.next(_IN_STEP_TICK_S)
                _check(event.name, event.data, job)
    log.line(f"{key}: the copy is in step")


async def complete(monitor: Monitor, key: str) -> None:
    """Let the device go over to the copy, and close what it was on. Raises ``GuestError``."""
    job = job_of(key)
    async with monitor.listen("BLOCK_JOB_COMPLETED", "BLOCK_JOB_ERROR") as events:
        await monitor.execute("block-job-complete", {"device": job})
        event = await events.until(lambda e: e.data.get("device") == job, COMPLETE_S)
        if event.name == "BLOCK_JOB_ERROR" or "error" in event.data:
            raise GuestError(f"{key}: the copy could not be taken: {event.data.get('error', 'I/O error')}")
    await close_others(monitor, key)


async def let_go(monitor: Monitor, key: str) -> None:
    """Give a move up: the guest stays on what it is on, the copy is closed. Nothing to do is fine."""
    if key in await jobs(monitor):
        await let_go_job(monitor, key)
    await close_others(monitor, key)


async def let_go_job(monitor: Monitor, key: str) -> None:
    """End the copying; what has been copied stays open."""
    async with monitor.listen("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED") as events:
        with contextlib.suppress(QmpError):  # it may have ended just now
            await monitor.execute("block-job-cancel", {"device": job_of(key), "force": True})
            await events.until(lambda event: event.data.get("device") == job_of(key), CANCEL_S)


async def close_others(monitor: Monitor, key: str) -> None:
    """Close the nodes of a disk that its device is not on."""
    on = await nodes.current(monitor, key)
    for name in nodes.names(key):
        if name != on and name in await nodes.present(monitor):
            await monitor.execute("blockdev-del", {"node-name": name})


def free_name(on: str, candidates: Sequence[str]) -> str:
    """The name for a disk's next node: the one that it does not have now."""
    return next(name for name in candidates if name != on)


async def _until_ready(monitor: Monitor, events: Subscription, key: str, log: TaskLog) -> None:
    while True:
        try:
            event = await events.next(TICK_S)
        except TimeoutError:
            if (job := (await jobs(monitor)).get(key)) is not None and job["len"]:
                done, total = job["offset"], job["len"]
                log.progress(done / total)
                log.line(f"{key}: transferred {_mib(done)} of {_mib(total)} ({done / total:.1%})")
            continue
        _check(event.name, event.data, job_of(key))
        if event.name == "BLOCK_JOB_READY" and event.data.get("device") == job_of(key):
            return


async def _in_step(monitor: Monitor, key: str) -> bool:
    job = (await jobs(monitor)).get(key)
    if job is None:
        raise GuestError(f"{key}: the copy broke off")
    return bool(job.get("actively-synced", job["ready"] and job["offset"] == job["len"]))


def _check(name: str, data: Mapping[str, Any], job: str) -> None:
    """Raise ``GuestError`` when an event says that the copy has ended."""
    if data.get("device") == job and name in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
        raise GuestError(f"{job.removeprefix('move-')}: the copy broke off: {data.get('error', 'I/O error')}")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
