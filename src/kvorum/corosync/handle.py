"""What all connections to Corosync share: a descriptor to wait on, dispatch, and one end.

A handle is used from one thread. Its callbacks are never called from inside the C library: what the library
delivers is queued, and handed on when the library's dispatch has returned. So a callback may send, close the
handle or raise.

Corosync's end is told once: the call that found it raises ``CorosyncGone``, and a handle attached to an
event loop calls ``on_gone`` from the loop, exactly once, whichever call or wake-up found it. ``close`` is no
such end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from kvorum.corosync.errors import CorosyncBusy, CorosyncError, CorosyncGone, error_of
from kvorum.corosync.native.library import (
    CS_ERR_INTERRUPT,
    CS_ERR_TRY_AGAIN,
    CS_OK,
    DISPATCH_ONE_NONBLOCKING,
    call,
    ffi,
    library,
)

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
H = TypeVar("H", bound="Handle")

DISPATCH_BATCH = 64
"""Messages handed on per wake-up, so that a flood does not starve the event loop."""


class Handle:
    """A connection to one of Corosync's services. Use as a context manager, or call ``close``."""

    _service: ClassVar[str]
    _prefix: ClassVar[str]

    def __init__(self) -> None:
        self._handle: int | None = None
        self._fileno = -1
        self._events: deque[Callable[[], None]] = deque()
        self._keep: list[object] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_gone: Callable[[CorosyncGone], None] | None = None
        self._gone: CorosyncGone | None = None
        self._progress: set[asyncio.Event] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fileno(self) -> int:
        """The descriptor that turns readable when ``dispatch`` has something to do; -1 once closed."""
        return self._fileno

    @property
    def closed(self) -> bool:
        """Whether the handle was closed, or lost because corosync went away."""
        return self._handle is None

    def attach(self, on_gone: Callable[[CorosyncGone], None]) -> None:
        """Dispatch from the running event loop from now on; ``on_gone`` is called once when corosync ends.

        What a callback raises goes to the loop's exception handler; later events are still handed on.
        """
        import asyncio  # not at the top: commands that only ask a question never need it

        assert self._loop is None, "attached twice"
        self._require()
        self._loop = asyncio.get_running_loop()
        self._on_gone = on_gone
        self._loop.add_reader(self._fileno, self._readable)
        self._loop.call_soon(self._readable)

    def dispatch(self, limit: int = DISPATCH_BATCH) -> int:
        """Hand on at most ``limit`` waiting events without blocking, and return how many.

        Raises ``CorosyncGone`` when corosync went away, and whatever a callback raises.
        """
        count = 0
        while count < limit:
            self._drain()
            if self._handle is None:
                return count
            code = getattr(library(self._service), f"{self._prefix}_dispatch")(
                self._handle, DISPATCH_ONE_NONBLOCKING
            )
            if code in (CS_ERR_TRY_AGAIN, CS_ERR_INTERRUPT):
                break
            if code != CS_OK:
                raise self._lost(error_of(f"{self._prefix}_dispatch", code))
            count += 1
        self._drain()
        return count

    def close(self) -> None:
        """End the connection; nothing is called afterwards. A second call does nothing."""
        self._release()
        self._on_gone = None
        self._events.clear()

    # For the services' modules

    def _open(self, function: str, *arguments: Any) -> None:
        """Initialize: ``function(handle*, *arguments)``, then learn the descriptor."""
        handle = ffi.new("uint64_t *")
        call(self._service, function, handle, *arguments)
        self._handle = int(handle[0])
        descriptor = ffi.new("int *")
        try:
            call(self._service, f"{self._prefix}_fd_get", self._handle, descriptor)
        except CorosyncError:
            self.close()
            raise
        self._fileno = int(descriptor[0])

    def _call(self, function: str, *arguments: Any) -> None:
        """``function(handle, *arguments)``; corosync's end is told once, other errors are raised."""
        self._require()
        try:
            call(self._service, function, self._handle, *arguments)
        except CorosyncGone as error:
            raise self._lost(error) from None

    async def _patiently(self, attempt: Callable[[], T], timeout: float) -> T:
        """Repeat ``attempt`` while corosync is busy, at each event and after growing pauses.

        Raises ``CorosyncBusy`` when it still is after ``timeout`` seconds.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        until, pause = loop.time() + timeout, 0.002
        woken = asyncio.Event()
        self._progress.add(woken)
        try:
            while True:
                woken.clear()
                try:
                    return attempt()
                except CorosyncBusy:
                    left = until - loop.time()
                    if left <= 0:
                        raise
                try:
                    await asyncio.wait_for(woken.wait(), min(pause, left))
                except TimeoutError:
                    pause = min(pause * 2, 0.1)
        finally:
            self._progress.discard(woken)

    def _queue(self, event: Callable[[], None]) -> None:
        self._events.append(event)

    def _require(self) -> None:
        if self._handle is None:
            raise self._gone or CorosyncGone(
                self._prefix, "CS_ERR_BAD_HANDLE", f"this connection to corosync ({self._service}) is closed"
            )

    # Helpers

    def _lost(self, error: CorosyncError) -> CorosyncGone:
        gone = error if isinstance(error, CorosyncGone) else CorosyncGone(error.call, error.name, str(error))
        if self._gone is None:
            self._gone = gone
            loop, on_gone = self._loop, self._on_gone
            self._release()
            if loop is not None and on_gone is not None:
                loop.call_soon(self._tell_gone)
        return self._gone

    def _tell_gone(self) -> None:
        on_gone, self._on_gone = self._on_gone, None
        if on_gone is not None and self._gone is not None:
            on_gone(self._gone)

    def _release(self) -> None:
        handle, self._handle = self._handle, None
        if self._loop is not None:
            self._loop.remove_reader(self._fileno)
            self._loop = None
        self._fileno = -1
        if handle is not None:
            getattr(library(self._service), f"{self._prefix}_finalize")(handle)
        self._keep.clear()
        self._wake()

    def _readable(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            if self.dispatch() == DISPATCH_BATCH:
                loop.call_soon(self._readable)
        except CorosyncGone:
            if self._gone is None:
                raise  # another handle's, out of a callback
        finally:
            if self._events:
                loop.call_soon(self._readable)
            self._wake()

    def _drain(self) -> None:
        while self._events:
            self._events.popleft()()

    def _wake(self) -> None:
        for event in self._progress:
            event.set()


async def open_patiently(
    open_handle: Callable[[], H], *, timeout: float, wait: Callable[[float], Awaitable[None]] | None = None
) -> H:
    """Open a handle as soon as corosync takes connections; it gives no event for that, so pauses grow.

    Raises the last ``CorosyncGone`` or ``CorosyncBusy`` after ``timeout`` seconds, other errors at once.
    ``wait`` sleeps for so many seconds (tests put theirs in).
    """
    import asyncio

    loop = asyncio.get_running_loop()
    until, pause = loop.time() + timeout, 0.02
    while True:
        try:
            return open_handle()
        except (CorosyncGone, CorosyncBusy):
            left = until - loop.time()
            if left <= 0:
                raise
        await (wait or asyncio.sleep)(min(pause, left))
        pause = min(pause * 2, 0.5)
