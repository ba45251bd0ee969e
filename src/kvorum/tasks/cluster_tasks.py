"""The tasks of all nodes: each tells the others what runs and what ended last, in memory only."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.store import Store
from kvorum.tasks.record import UNKNOWN, TaskRow, row
from kvorum.tasks.runner import TaskRunner

log = logging.getLogger(__name__)

KEY = "tasks"
REPEAT_S = 20.0
TTL_S = 30 * 86400.0
"""So long a node's tasks are listed after it has gone; the store's memory is all that holds them then."""
SETTLE_S = 0.05
"""Several changes within this time are told at once."""


class TaskNews:
    """Publishes this node's latest tasks when they change, and again before the others forget them."""

    def __init__(self, store: Store, runner: TaskRunner, changed: asyncio.Event) -> None:
        self._store = store
        self._runner = runner
        self._changed = changed

    async def run(self) -> None:
        """Publish until cancelled; a store that is away is tried again at the next round."""
        while True:
            self._changed.clear()
            rows = [row(record) for record in self._runner.latest()]
            try:
                await self._store.publish(KEY, msgspec.json.encode(rows), TTL_S)
            except KvorumError as error:
                log.info("tasks not published: %s", error)
            try:
                async with asyncio.timeout(REPEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE_S)


def cluster_rows(store: Store) -> list[TaskRow]:
    """What every node has told last, the newest first, also of those that are gone.

    What a node that is gone had running is not said to run any more: nobody knows.
    """
    rows: list[TaskRow] = []
    online = {member.name for member in store.membership.members if member.online}
    for node, data in store.published(KEY).items():
        try:
            told = msgspec.json.decode(data, type=list[TaskRow])
        except msgspec.DecodeError as error:
            log.warning("node '%s' publishes tasks this version can't read: %s", node, error)
            continue
        rows += told if node in online else [_abandoned(row) for row in told]
    return sorted(rows, key=lambda r: (r["starttime"], r["pstart"]), reverse=True)


def _abandoned(row: TaskRow) -> TaskRow:
    if "endtime" in row:
        return row
    return {**row, "endtime": row["starttime"], "status": f"{UNKNOWN}node '{row['node']}' is offline"}
