"""Runs tasks: each an asyncio task of pvedaemon with a UPID, a log file and an end that is always noted."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kvorum.core.errors import Conflict, DeadlineExceeded, KvorumError
from kvorum.core.ids import Upid
from kvorum.interface import Identity, Work
from kvorum.tasks.archive import Archive, ends_whole
from kvorum.tasks.follow import Follower
from kvorum.tasks.log_file import TaskLogFile
from kvorum.tasks.process import start_ticks
from kvorum.tasks.record import OK, TaskRecord, newest_first, one_line

log = logging.getLogger(__name__)

MAX_RUNNING = 200
"""A daemon that runs more than this is being flooded; further tasks are refused."""
STOP_TIMEOUT_S = 30.0
INTERRUPTED = "interrupted: pvedaemon restarted"
"""The end of a task whose daemon did not live to see it."""
RECENT = 25


@dataclass(slots=True)
class _Running:
    record: TaskRecord
    task: asyncio.Task[None]
    asked: Callable[[Identity], None] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next line, progress or end, and then another one."""
    stopped_by: str = ""


class TaskRunner:
    """The tasks of this daemon. ``changed`` is called whenever one begins or ends, ``note`` with the sentence
    that the cluster's log has of it: user, sentence, whether it went well."""

    def __init__(
        self,
        node: str,
        archive: Archive,
        changed: Callable[[], None] = lambda: None,
        note: Callable[[str, str, bool], None] = lambda user, text, well: None,
    ) -> None:
        self._node = node
        self._archive = archive
        self._changed = changed
        self._note = note
        self._pid = os.getpid()
        self._ticks = start_ticks(self._pid) or 0
        self._count = 0
        self._running: dict[Upid, _Running] = {}
        self._recent: list[TaskRecord] = []

    def recover(self) -> None:
        """Note the end of tasks that an earlier daemon left behind, and remember the last that ended."""
        self._archive.prepare()
        for record in self._archive.active():
            if self._archive.find(record.upid) is None:
                self._note_interrupted(record)
        self._archive.write_active(())
        for ended in self._archive.ended():
            self._recent.append(ended)
            if len(self._recent) >= RECENT:
                break

    def start(self, work: Work, user: str) -> str:
        """Begin ``work`` for ``user`` and return its UPID; raises ``KvorumError`` when too many run."""
        if len(self._running) >= MAX_RUNNING:
            raise KvorumError(
                f"{MAX_RUNNING} tasks are running on node '{self._node}' already; try again later"
            )
        self._count = (self._count + 1) & 0xFFFF
        upid = Upid(
            node=self._node,
            pid=self._pid,
            pstart=(self._ticks << 16) | self._count,
            starttime=int(time.time()),
            type=work.type,
            id=work.id,
            user=user,
        )
        file = TaskLogFile(
            self._archive.log_file(upid),
            lambda f, text: self._progress(upid, f, text),
            lambda: self._grew(upid),
        )
        task = asyncio.create_task(self._run(upid, work, file), name=str(upid))
        self._running[upid] = _Running(TaskRecord(upid), task, work.asked)
        task.add_done_callback(lambda _: self._never_began(upid, file))
        self._write_active()
        self._changed()
        self._note(user, f"starting task {upid}", True)
        return str(upid)

    async def wait(self, upid: str, timeout: float | None = None) -> TaskRecord:
        """Wait for a task's end and return its record; ``timeout`` in seconds.

        Raises ``DeadlineExceeded`` (the task runs on) and ``KvorumError`` when there is no such task.
        """
        running = self._running.get(_parse(upid))
        if running is not None:
            try:
                async with asyncio.timeout(timeout):
                    await running.done.wait()
            except TimeoutError:
                raise DeadlineExceeded(f"task '{upid}' did not end within {timeout:g} s") from None
            return running.record
        return self.find(upid)

    def find(self, upid: str) -> TaskRecord:
        """What is known about a task of this node; raises ``KvorumError`` when nothing is."""
        name = _parse(upid)
        running = self._running.get(name)
        if running is not None:
            return running.record
        for record in self._recent:
            if record.upid == name:
                return record
        record_on_disk = self._archive.find(name)
        if record_on_disk is not None:
            return record_on_disk
        if not self._archive.log_file(name).exists():
            raise KvorumError(f"no such task '{upid}' on node '{self._node}'")
        return TaskRecord(name).ended(name.starttime, "unknown")

    def asked(self, upid: str, identity: Identity) -> None:
        """Tell a running task that somebody asks for it, if it wants to know."""
        running = self._running.get(_parse(upid))
        if running is not None and running.asked is not None:
            running.asked(identity)

    def follow(self, upid: str) -> Follower:
        """A reader of the task's log and fate; raises ``KvorumError`` when there is no such task."""
        name = _parse(upid)
        self.find(upid)

        def state() -> tuple[TaskRecord, asyncio.Event | None]:
            running = self._running.get(name)
            return (running.record, running.grown) if running else (self.find(upid), None)

        return Follower(self._archive.log_file(name), state)

    async def stop(self, upid: str, user: str) -> None:
        """Cancel a task and wait until it has cleaned up; nothing happens when it has ended already.

        Raises ``DeadlineExceeded`` when it has not cleaned up within ``STOP_TIMEOUT_S``.
        """
        running = self._running.get(_parse(upid))
        if running is None:
            self.find(upid)
            return
        running.stopped_by = user
        running.task.cancel()
        await self.wait(upid, STOP_TIMEOUT_S)

    async def shut_down(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Cancel all tasks, wait at most ``timeout`` seconds for their clean-up, and note their ends."""
        tasks = [running.task for running in self._running.values()]
        for running in self._running.values():
            running.stopped_by = running.stopped_by or "the end of pvedaemon"
            running.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        for running in self._running.values():
            log.warning("task %s did not clean up within %g s", running.record.upid, timeout)

    def running(self) -> list[TaskRecord]:
        """The tasks that run now, the newest first."""
        return newest_first(running.record for running in self._running.values())

    def latest(self) -> list[TaskRecord]:
        """What runs and the last that ended, as every node is told."""
        return newest_first([*self.running(), *self._recent[:RECENT]])

    def ended(self) -> list[TaskRecord]:
        """All tasks that ended and are still listed on disk, the newest first. It reads files."""
        return newest_first(self._archive.ended())

    async def _run(self, upid: Upid, work: Work, file: TaskLogFile) -> None:
        with file:
            try:
                await work.run(file)
                status = f"WARNINGS: {file.warnings}" if file.warnings else OK
            except asyncio.CancelledError:
                # The end of the task is what cancelling it asked for, and it is noted here.
                status = self._why_cancelled(upid)
            except KvorumError as error:
                status = str(error)
                if "\n" in status:
                    file.line(status)
            except Exception as error:
                log.exception("task %s failed", upid)
                status = f"{type(error).__name__}: {error}"
            record = self._running[upid].record.ended(int(time.time()), status)
            plain_end = record.status == OK or record.status.startswith("WARNINGS: ")
            file.end(f"TASK {record.status}" if plain_end else f"TASK ERROR: {record.status}")
        self._end(record)

    def _why_cancelled(self, upid: Upid) -> str:
        running = self._running.get(upid)
        by = running.stopped_by if running else ""
        return f"interrupted: stopped by {by}" if by else "interrupted"

    def _never_began(self, upid: Upid, file: TaskLogFile) -> None:
        """Note the end of a task that was cancelled before its first step; for others it is noted already."""
        running = self._running.get(upid)
        if running is None:
            return
        record = running.record.ended(int(time.time()), self._why_cancelled(upid))
        with file:
            file.end(f"TASK ERROR: {record.status}")
        self._end(record)

    def _end(self, record: TaskRecord) -> None:
        running = self._running.pop(record.upid)
        running.record = record
        self._recent.insert(0, record)
        del self._recent[RECENT * 2 :]
        try:
            self._archive.append(record)
            self._write_active()
        except OSError as error:
            log.error("the end of task %s can't be noted on disk: %s", record.upid, error)
        running.done.set()
        running.grown.set()
        self._changed()
        well = record.status == OK or record.status.startswith("WARNINGS: ")
        self._note(record.upid.user, f"end task {record.upid} {record.status}", well)

    def _note_interrupted(self, record: TaskRecord) -> None:
        """Note the end of a task that an earlier daemon had begun; it may have come as far as to say it."""
        told = self._archive.told_end(record.upid)
        ended = record.ended(int(time.time()), told or INTERRUPTED)
        if told is None:
            log_file = self._archive.log_file(record.upid)
            torn = "" if ends_whole(log_file) else "\n"
            with TaskLogFile(log_file, lambda *_: None) as file:
                file.end(f"{torn}TASK ERROR: {ended.status}")
        self._archive.append(ended)

    def _progress(self, upid: Upid, fraction: float, text: str) -> None:
        running = self._running.get(upid)
        if running is not None:
            running.record = replace(running.record, progress=fraction, doing=one_line(text))
            self._grew(upid)

    def _grew(self, upid: Upid) -> None:
        running = self._running.get(upid)
        if running is not None:
            running.grown.set()
            running.grown = asyncio.Event()

    def _write_active(self) -> None:
        self._archive.write_active(running.record for running in self._running.values())


def _parse(upid: str) -> Upid:
    try:
        return Upid.parse(upid)
    except ValueError as error:
        raise Conflict(str(error)) from None
