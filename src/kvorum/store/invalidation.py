"""Tells the kernel what it must no longer cache, in a thread of its own.

A notification may block in the kernel until a request that is under way on the same inode is answered; on the
event loop, which answers it, that is a deadlock (seen within a second under load).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

QUEUE_MAX = 300_000
"""More than all entries of a full store."""
STALL_SECONDS = 5.0
"""The longest the kernel may take for one notification."""
WAIT_SECONDS = 0.25
"""The longest that others wait for the kernel to be told, on a node too busy for the thread to run."""


class Invalidation:
    """A bounded queue of notifications; ``stalled`` is called once when the kernel takes no more."""

    def __init__(self, stalled: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stalled = stalled
        self._loop = asyncio.get_running_loop()
        self._look: asyncio.TimerHandle | None = None
        self._began: float | None = None
        """When the notification that is in the kernel now began."""
        self._given_up = False
        self._put = self._taken = 0
        """How many notifications were queued, and how many the kernel took."""
        self._awaited = 0
        """How many it must have taken until nobody need wait."""
        self._unawaited = 0
        """How many it must have taken until it holds up none for which others may wait."""
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._wake_at: int | None = None
        """At how many taken the thread is to tell the loop."""
        self._patience: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="store-invalidate", daemon=True)
        self._thread.start()

    def put(self, notify: Callable[[], None], awaited: bool = True) -> None:
        """Queue a notification; never blocks.

        ``awaited``: ``when_told`` waits for it, unless it stands behind one for which nobody may wait.
        """
        if self._queue.qsize() < QUEUE_MAX:
            self._put += 1
            if not awaited:
                self._unawaited = self._put
            elif self._taken >= self._unawaited:
                self._awaited = self._put
            self._queue.put(notify)
        else:
            self._give_up()
        if self._look is None and not self._given_up:
            self._look = self._loop.call_later(STALL_SECONDS, self._looked)

    def when_told(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the kernel was told all that is awaited now, at the latest after a moment.

        Whoever waits longest is called first.
        """
        if not self._waiting and self._taken >= self._awaited:
            then()
            return
        self._waiting.append((self._awaited, then))
        if self._patience is None:
            self._patience = self._loop.call_later(WAIT_SECONDS, self._release)
        self._tell_waiting()

    def close(self) -> None:
        """Send nothing more after what is queued; nobody waits any more."""
        if self._look is not None:
            self._look.cancel()
        self._queue.put(None)
        self.wait_no_more()

    def wait_no_more(self) -> None:
        """Nobody waits any more for what is queued now: it may wait for a request that waits for them."""
        self._awaited, self._unawaited = 0, self._put
        if self._waiting:
            self._release()

    def _tell_waiting(self) -> None:
        """Whom the thread overtakes here, it wakes."""
        while self._waiting:
            self._wake_at, then = self._waiting[0]
            if self._taken < self._wake_at:
                return
            del self._waiting[0]
            then()
        self._release()

    def _release(self) -> None:
        waiting, self._waiting, self._wake_at = self._waiting, [], None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for _, then in waiting:
            then()

    def _looked(self) -> None:
        self._look = None
        began = self._began
        if began is not None and time.monotonic() - began >= STALL_SECONDS:
            self._give_up()
        elif began is not None or not self._queue.empty():
            self._look = self._loop.call_later(STALL_SECONDS, self._looked)

    def _give_up(self) -> None:
        if not self._given_up:
            self._given_up = True
            log.critical("the kernel takes no notifications: /etc/pve is unmounted and the store restarts")
            self._stalled()

    def _run(self) -> None:
        while (notify := self._queue.get()) is not None:
            self._began = time.monotonic()
            try:
                notify()
            except FileNotFoundError:
                continue  # the kernel does not know the entry: normal
            except OSError as error:
                log.warning("the kernel refused a notification: %s", error)
            finally:
                self._began = None
                self._taken += 1
                if self._wake_at is not None and self._taken >= self._wake_at:
                    self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell_waiting)
        except RuntimeError:
            log.debug("the event loop is closed already")
