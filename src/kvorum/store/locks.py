"""Lock directories under priv/lock: made to take a lock, removed to release it, free again when not renewed.

A lock that its holder has not renewed for ``LOCK_SECONDS`` may be broken by anyone who asks. Renewals travel
in memory only, in the one order of the group, so a held lock writes nothing to disk. Each node counts by its
own clock from when it heard of the lock, and a node that has just started counts from then: no node breaks a
lock early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from kvorum.core.errors import Conflict
from kvorum.store.face import Change
from kvorum.store.host import Heard, Host
from kvorum.store.protocol import Changed, Published

LOCK_SECONDS = 120.0
_PARENT = "priv/lock"
_KEY = "lock:"


def is_lock(path: str) -> bool:
    """Whether a directory at ``path`` is a lock."""
    return path.rpartition("/")[0] == _PARENT


@dataclass(slots=True)
class _Held:
    until: float
    """By the loop's clock."""
    holder: str = ""
    """The node that took or renewed it; empty when this node has not heard: it was away then."""


class Locks:
    """How long each lock is still held, as this node has heard."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._held = {
            f"{_PARENT}/{name}": self._anew()
            for name in host.tree.names(_PARENT)
            if host.tree.is_directory(f"{_PARENT}/{name}")
        }
        self.close = host.listen(self._heard)

    def expired(self, path: str) -> bool:
        """Whether the lock at ``path`` has not been renewed for too long."""
        held = self._held.get(path)
        return held is None or held.until <= self._loop.time()

    def renew(self, path: str) -> None:
        """Hold the lock for another 120 s from now; raises ``Conflict`` when another node holds it."""
        held = self._held.get(path)
        if held is not None and held.holder not in ("", self._host.node) and not self.expired(path):
            raise Conflict(f"'{path}' is held by {held.holder}; only there it can be renewed")
        self._host.publish(_KEY + path, b"", LOCK_SECONDS)

    def _anew(self, holder: str = "") -> _Held:
        return _Held(self._loop.time() + LOCK_SECONDS, holder)

    def _heard(self, heard: Heard) -> None:
        match heard:
            case Changed(_, changes, _, node):
                self._changed([change for change in changes if is_lock(change.path)], node)
            case Published(node, key, _, ttl) if key.startswith(_KEY):
                path = key.removeprefix(_KEY)
                if path in self._held:
                    self._held[path] = _Held(self._loop.time() + ttl, node)

    def _changed(self, changes: Sequence[Change], node: str) -> None:
        """Who made a lock holds it; who renamed one perhaps not."""
        holder = node if all(change.directory for change in changes) else ""
        for change in changes:
            if change.directory:
                self._held[change.path] = self._anew(holder)
            else:
                self._held.pop(change.path, None)
