"""What makes events: the store's stream of changes, the membership, and what nodes publish.

    store     {path, version, gone}   a file of the configuration changed, or is no more
    cluster   {name, quorate, ...}    the membership changed
    resource  a row of /cluster/resources that is new or differs; {id, gone: 1} for one that is no more
    task      a row of /cluster/tasks that is new or differs

Published values come without an event of their own, so they are compared each ``SAMPLE_S`` while somebody
listens, and at once after a change. What differs since the last listener went is told to the next one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping

from kvorum.core.errors import KvorumError
from kvorum.interface import plain, to_json
from kvorum.node.resource_rows import ResourceRows
from kvorum.server.events.ring import Right, Ring
from kvorum.store import Store
from kvorum.tasks.cluster_tasks import cluster_rows

log = logging.getLogger(__name__)

SAMPLE_S = 1.0
SETTLE_S = 0.05
"""Changes within this time are looked at together."""

_GUEST = re.compile(r"nodes/[^/]+/(?:qemu-server|lxc)/(\d+)\.(?:conf|fw)")
_AUDIT = Right("/", "Sys.Audit")
_ANYBODY = Right("", "")


class Sources:
    """Feeds a ring until cancelled; ``told`` is called after new events, ``heard`` says if somebody hears."""

    def __init__(
        self,
        store: Store,
        rows: ResourceRows,
        ring: Ring,
        told: Callable[[], None],
        heard: Callable[[], bool],
    ) -> None:
        self._store = store
        self._rows = rows
        self._ring = ring
        self._told = told
        self._heard = heard
        self._look = asyncio.Event()
        self._resources: Mapping[str, bytes] = {}
        self._bare: Mapping[str, bytes] = {}
        self._tasks: Mapping[str, bytes] = {}

    def look(self) -> None:
        """Compare what is published, now: somebody has come to listen, or something has changed."""
        self._look.set()

    async def run(self) -> None:
        """Watch everything until cancelled."""
        self._resources, self._tasks = dict(self._rows.all()), self._task_rows()[0]
        self._bare = self._rows.bare_nodes()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_store())
            group.create_task(self._watch_membership())
            group.create_task(self._sample())

    async def _watch_store(self) -> None:
        async for change in self._store.watch():
            if change.path == "priv" or change.path.startswith("priv/") or "/priv/" in f"{change.path}/":
                continue
            data: dict[str, object] = {"path": change.path, "version": change.version}
            if change.file is None and not change.directory:
                data["gone"] = 1
            guest = _GUEST.fullmatch(change.path)
            right = Right(f"/vms/{guest[1]}", "VM.Audit") if guest else _AUDIT
            self._ring.add("store", to_json(data), right)
            self._told()
            self._look.set()

    async def _watch_membership(self) -> None:
        before = self._store.membership
        async for now in self._store.watch_membership():
            if now == before:
                continue
            before = now
            data: dict[str, object] = {
                "name": now.cluster,
                "quorate": now.quorate,
                "reason": now.reason,
                "online": [member.name for member in now.members if member.online],
                "offline": [member.name for member in now.members if not member.online],
            }
            self._ring.add("cluster", to_json(plain(data)), _AUDIT)
            self._told()
            self._look.set()

    async def _sample(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SAMPLE_S):
                    await self._look.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
            self._look.clear()
            if not self._heard():
                await self._look.wait()
                continue
            try:
                self._compare()
            except KvorumError as error:
                log.info("resources can't be compared now: %s", error)

    def _compare(self) -> None:
        before = self._ring.end
        rows = dict(self._rows.all())
        self._compare_nodes()
        for name, row in rows.items():
            if self._resources.get(name) != row:
                self._ring.add("resource", row, _right_of(name))
        for name in self._resources.keys() - rows.keys():
            self._ring.add("resource", to_json({"id": name, "gone": 1}), _right_of(name))
        self._resources = rows
        rows, rights = self._task_rows()
        for name, row in rows.items():
            if self._tasks.get(name) != row:
                self._ring.add("task", row, rights[name])
        self._tasks = rows
        if self._ring.end != before:
            self._told()

    def _compare_nodes(self) -> None:
        """That nodes come and go is told to all who have logged in, as /cluster/resources does.

        Those who see figures too get the whole row after it.
        """
        bare = self._rows.bare_nodes()
        for name, row in bare.items():
            if self._bare.get(name) != row:
                self._ring.add("resource", row, _ANYBODY)
        for name in self._bare.keys() - bare.keys():
            self._ring.add("resource", to_json({"id": f"node/{name}", "gone": 1}), _ANYBODY)
        self._bare = bare

    def _task_rows(self) -> tuple[dict[str, bytes], dict[str, Right]]:
        found = cluster_rows(self._store)
        rows = {row["upid"]: to_json(plain(row)) for row in reversed(found)}
        return rows, {row["upid"]: Right("/", "Sys.Audit", row["user"]) for row in found}


def _right_of(name: str) -> Right:
    """Who may see a row of /cluster/resources, by its id."""
    kind, _, rest = name.partition("/")
    match kind:
        case "qemu" | "lxc":
            return Right(f"/vms/{rest}", "VM.Audit")
        case "storage":
            return Right(f"/storage/{rest.partition('/')[2]}", "Datastore.Audit")
        case _:
            return Right(f"/nodes/{rest}", "Sys.Audit")
