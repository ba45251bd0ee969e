"""The cluster's log: who logged in, which tasks began and ended. Each node tells its newest, in memory only.

Entries are as ``/etc/pve/.clusterlog`` and ``GET /cluster/log`` have always shown them. They live as long as
the node's daemon; when it restarts it takes them over from what it told before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from enum import IntEnum

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.store.face import Store

log = logging.getLogger(__name__)

KEY = "clusterlog"
MOST = 50
"""Entries that a node tells, and that the file shows."""
REPEAT_S = 20.0
TTL_S = 60.0
SETTLE_S = 0.1
"""Several entries within this time are told at once."""
_VALUE_BYTES = 30_000
_MESSAGE_CHARACTERS = 1_000


class Severity(IntEnum):
    """Of syslog(3)."""

    ERROR = 3
    WARNING = 4
    INFO = 6


class Entry(msgspec.Struct, frozen=True):
    """One line of the log; the names are the known format's."""

    uid: int
    """Numbers a node's entries."""
    time: int
    """Unix seconds, by the node's clock."""
    pri: int
    tag: str
    """The program."""
    pid: int
    node: str
    user: str
    msg: str


class ClusterLog:
    """This node's part of the log. ``note`` adds to it at any time; ``run`` tells the others."""

    def __init__(self, store: Store, tag: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._tag = tag
        self._clock = clock
        self._changed = asyncio.Event()
        self._entries = list(_decoded(store.node, store.published(KEY).get(store.node, b"[]")))

    def note(self, user: str, message: str, severity: Severity = Severity.INFO) -> None:
        """Add an entry; line breaks become blanks, and what is too long is cut."""
        newest = max((entry.uid for entry in self._entries), default=0)
        text = " ".join(message.split())[:_MESSAGE_CHARACTERS]
        now = int(self._clock())
        entry = Entry(newest + 1, now, severity, self._tag, os.getpid(), self._store.node, user[:64], text)
        self._entries = [entry, *self._entries][:MOST]
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled; a store that is away is tried again at the next round."""
        while True:
            self._changed.clear()
            try:
                await self._store.publish(KEY, self._value(), TTL_S)
            except KvorumError as error:
                log.info("the cluster's log is not told: %s", error)
            try:
                async with asyncio.timeout(REPEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE_S)

    def _value(self) -> bytes:
        while len(value := msgspec.json.encode(self._entries)) > _VALUE_BYTES:
            self._entries.pop()
        return value


def log_entries(store: Store, most: int) -> list[Entry]:
    """The log of all nodes as this node knows it, the newest first."""
    return merged(store.published(KEY), most)


def merged(published: Mapping[str, bytes], most: int = MOST) -> list[Entry]:
    """The entries of all nodes (node name to what it told), the newest first."""
    entries = [entry for node, value in published.items() for entry in _decoded(node, value)]
    return sorted(entries, key=lambda entry: (entry.time, entry.uid, entry.node), reverse=True)[:most]


def _decoded(node: str, value: bytes) -> list[Entry]:
    try:
        return msgspec.json.decode(value, type=list[Entry])
    except msgspec.MsgspecError as error:
        log.warning("node '%s' tells a cluster log that this version can't read: %s", node, error)
        return []
