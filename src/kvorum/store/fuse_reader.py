"""How pyfuse3's workers wait for the kernel's next request: without a change of epoll for each.

pyfuse3 watches /dev/fuse anew for every request and no more once it came, two system calls each. One worker
at a time waits, and the next one does before the event loop looks again; so the watch can stay, and ends
only when a request finds nobody who waits.

A read of /dev/fuse with nothing to read would block the event loop. So one event is let pass after each that
woke somebody: the loop had asked epoll again before the one who was woken could read.
"""

from __future__ import annotations

import asyncio

import pyfuse3.asyncio


class FuseReader:
    """Waits for one descriptor, for one task at a time. All methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._watched: int | None = None
        self._stale = False
        """Whether the next event tells of a request that somebody was woken for."""
        self._closing = False

    def install(self) -> None:
        """Have pyfuse3 wait here from now on."""
        pyfuse3.asyncio.wait_readable = self.wait_readable
        pyfuse3.asyncio.notify_closing = self.notify_closing

    async def wait_readable(self, fd: int) -> None:
        """Return when ``fd`` has something to read; raises ``ClosedResourceError`` once it closes."""
        if self._closing:
            raise pyfuse3.asyncio.ClosedResourceError
        assert self._waiting is None, "one task at a time"
        self._waiting = self._loop.create_future()
        if self._watched is None:
            self._watched = fd
            self._loop.add_reader(fd, self._readable)
        try:
            await self._waiting
        finally:
            self._waiting = None

    def notify_closing(self, fd: int) -> None:
        """Let nobody wait any more; whoever was woken by a request is told when it waits again."""
        self._closing = True
        self._watch_no_more()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(pyfuse3.asyncio.ClosedResourceError())

    def _readable(self) -> None:
        if self._stale:
            self._stale = False
        elif self._waiting is None:
            self._watch_no_more()
        elif not self._waiting.done():
            self._waiting.set_result(None)
            self._stale = True

    def _watch_no_more(self) -> None:
        self._stale = False
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None
