"""The group of replicas as the host sees it, and the group of one that needs no Corosync."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from kvorum.store.protocol import Deliver, Event, MembersChanged


class Group(Protocol):
    """Total order and membership. Events go to ``handler``, never from within ``multicast``."""

    async def run(self, handler: Callable[[Event], None]) -> None:
        """Be a member until cancelled; leave cleanly then."""
        ...

    def multicast(self, frames: tuple[bytes, ...]) -> None:
        """Send frames to all members, this one included, in order; never blocks."""
        ...

    def whisper(self, to: tuple[int, ...], frame: bytes) -> None:
        """Tell these members, past the order; it may be lost, to each of them. Never blocks."""
        ...

    def meet(self, reach: Mapping[int, bytes]) -> None:
        """How the members of this ring are reached by whispers, in their own words."""
        ...

    def listen_at(self, address: str) -> bool:
        """Hear whispers at this address of the node from now on; whether it was another one before."""
        ...

    def withdraw(self) -> None:
        """Leave until ``rejoin``; from now on no event of the group is handed on."""
        ...

    def rejoin(self) -> None:
        """Join again after ``withdraw``."""
        ...

    def leave(self, reason: str) -> None:
        """Leave for good: this node's disk can't keep the promise."""
        ...


class LocalGroup:
    """A group of one, for a node without a cluster."""

    def __init__(self, nodeid: int = 0) -> None:
        self._nodeid = nodeid
        self._handler: Callable[[Event], None] | None = None
        self._joins = 0
        self._withdrawn = False
        self._loop = asyncio.get_running_loop()

    async def run(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler
        self._join()
        try:
            await self._loop.create_future()
        finally:
            self._handler = None

    def multicast(self, frames: tuple[bytes, ...]) -> None:
        for frame in frames:
            self._loop.call_soon(self._deliver, frame, self._joins)

    def whisper(self, to: tuple[int, ...], frame: bytes) -> None:
        """There is nobody to whisper to."""

    def meet(self, reach: Mapping[int, bytes]) -> None:
        """There is nobody to meet."""

    def listen_at(self, address: str) -> bool:
        return False

    def withdraw(self) -> None:
        self._withdrawn = True

    def rejoin(self) -> None:
        self._withdrawn = False
        self._joins += 1
        self._loop.call_soon(self._join)

    def leave(self, reason: str) -> None:
        self._handler = None

    def _join(self) -> None:
        if self._handler is not None and not self._withdrawn:
            members = frozenset({(self._nodeid, os.getpid())})
            self._handler(MembersChanged((self._nodeid, self._joins), members, time.time()))

    def _deliver(self, frame: bytes, joins: int) -> None:
        if self._handler is not None and not self._withdrawn and joins == self._joins:
            self._handler(Deliver(self._nodeid, frame))
