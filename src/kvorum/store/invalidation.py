"""Tells the kernel what it must no longer cache, in a thread of its own.

A notification may block in the kernel until a request that is under way on the same inode is answered; on the
event loop, which answers it, that is a deadlock (seen within a second under load).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

QUEUE_MAX = 300_000
"""More than all entries of a full store."""


class Invalidation:
    """A bounded queue of notifications; ``stalled`` is called when the kernel takes no more."""

    def __init__(self, stalled: Callable[[], None]) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_MAX)
        self._stalled = stalled
        self._thread = threading.Thread(target=self._run, name="store-invalidate", daemon=True)
        self._thread.start()

    def put(self, notify: Callable[[], None]) -> None:
        """Queue a notification; never blocks."""
        try:
            self._queue.put_nowait(notify)
        except queue.Full:
            log.critical("the kernel takes no notifications: /etc/pve is unmounted and the store restarts")
            self._stalled()

    def close(self) -> None:
        """Send nothing more after what is queued."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _run(self) -> None:
        while (notify := self._queue.get()) is not None:
            try:
                notify()
            except FileNotFoundError:
                continue  # the kernel does not know the entry: normal
            except OSError as error:
                log.warning("the kernel refused a notification: %s", error)
