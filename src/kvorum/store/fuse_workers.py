"""How pyfuse3's workers run: resumed by the very callback that saw a request, not as tasks of the event loop.

A task that waits for /dev/fuse is woken one turn of the loop after the request was seen, by a lock that is
passed on with another turn, and epoll is changed for each; on a busy node the turns cost more than what they
serve. Here a worker is a coroutine that is resumed where the loop tells of a request, and where a future ends
that it awaits. So one request is read for each that epoll tells of, and never one that is not there: a read
of /dev/fuse with nothing to read would block the event loop.

What pyfuse3 awaits of its asyncio layer is replaced (``install``): the wait for a request, the lock around
it, and the nursery that its workers run in. Handlers may await futures, and so locks and events; what needs a
task (``asyncio.timeout``) they may not use.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import pyfuse3.asyncio

log = logging.getLogger(__name__)

_REQUEST = object()
"""What a worker yields that waits for the kernel's next request."""

_Worker = Coroutine[Any, None, None]


@dataclass(frozen=True, slots=True)
class _Name:
    """pyfuse3 asks the present task for its name, for its log."""

    name: str = "store-fuse"


class _NoLock:
    """Workers need none: each request resumes one of them."""

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *_: object) -> None:
        return


class FuseWorkers:
    """The workers of one mount. All methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Worker] = []
        """Who waits for a request; the last one is the next."""
        self._count = 0
        self._ended = self._loop.create_future()
        self._failure: BaseException | None = None
        self._watched: int | None = None
        self._fd = -1
        self._closing = False

    def install(self) -> None:
        """Have pyfuse3's workers run here from now on."""
        ours: dict[str, object] = {
            "wait_readable": self.wait_readable,
            "notify_closing": self.notify_closing,
            "Lock": _NoLock,
            "open_nursery": lambda: self,
            "current_task": _Name,
        }
        for name, replacement in ours.items():
            assert hasattr(pyfuse3.asyncio, name), f"pyfuse3 has no '{name}' any more"
            setattr(pyfuse3.asyncio, name, replacement)

    # The nursery

    async def __aenter__(self) -> FuseWorkers:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Return when all workers have ended; raises what one of them failed with."""
        if self._count:
            await self._ended
        if self._failure is not None:
            raise self._failure

    def start_soon(self, work: Callable[..., Awaitable[None]], *arguments: object, name: str = "") -> None:
        """Run a worker, from the loop's next turn on."""
        self._count += 1
        worker = work(*arguments)
        assert isinstance(worker, Coroutine)
        self._loop.call_soon(self._resume, worker)

    def _resume(self, worker: _Worker) -> None:
        """Let a worker go on until it waits again."""
        try:
            waits_for = worker.send(None)
        except StopIteration:
            self._gone(None)
        except BaseException as error:
            self._gone(error)
        else:
            if waits_for is _REQUEST:
                self._wait(worker)
            elif waits_for is None:
                self._loop.call_soon(self._resume, worker)
            else:
                waits_for._asyncio_future_blocking = False  # as a task does that has taken notice
                waits_for.add_done_callback(lambda _: self._resume(worker))

    def _gone(self, error: BaseException | None) -> None:
        self._count -= 1
        if error is not None:
            log.error("a worker of the file system failed: %r", error)
            self._failure = self._failure or error
        if not self._count and not self._ended.done():
            self._ended.set_result(None)

    # Requests

    @types.coroutine
    def wait_readable(self, fd: int) -> Generator[object, None, None]:
        """Return when there is a request to read; raises ``ClosedResourceError`` once it closes."""
        self._fd = fd
        if not self._closing:
            yield _REQUEST
        if self._closing:
            raise pyfuse3.asyncio.ClosedResourceError

    def notify_closing(self, _fd: int) -> None:
        """Let nobody wait any more; who is at work is told when it would wait again."""
        self._closing = True
        self._watch_no_more()
        idle, self._idle = self._idle, []
        for worker in idle:
            self._loop.call_soon(self._resume, worker)

    def _wait(self, worker: _Worker) -> None:
        self._idle.append(worker)
        if self._watched is None:
            self._watched = self._fd
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        if self._idle:
            self._resume(self._idle.pop())
        else:
            self._watch_no_more()

    def _watch_no_more(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None
