"""The connection to a guest's QEMU, around the QEMU project's own ``qemu.qmp``.

One path for every disconnect: whoever ends it (QEMU's death, an error, ``close``), ``closed`` is set once,
all who wait are told ``QmpLost``. Events carry the moment they arrived, for measuring.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qemu.qmp import QMPClient, Runstate
from qemu.qmp.error import QMPError
from qemu.qmp.qmp_client import ExecInterruptedError, ExecuteError

from kvorum.core.errors import DeadlineExceeded
from kvorum.guests.errors import QmpError, QmpLost

DEADLINE_S = 10.0
_EVENT_QUEUE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something QEMU told. ``at`` is this process's monotonic clock, in seconds."""

    name: str
    data: Mapping[str, Any]
    at: float


class Subscription:
    """The events that arrived since it began, of the names asked for."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(_EVENT_QUEUE)

    async def next(self, deadline_s: float | None = None) -> Event:
        """The next event; raises ``QmpLost`` when the connection ends, ``TimeoutError`` at the deadline."""
        event = await asyncio.wait_for(self.queue.get(), deadline_s)
        if event is None:
            self.queue.put_nowait(None)
            raise QmpLost("QEMU is gone: the connection to it ended")
        return event

    async def until(self, wanted: Callable[[Event], bool], deadline_s: float) -> Event:
        """The first event that is wanted; raises as ``next`` does."""
        async with asyncio.timeout(deadline_s):
            while True:
                event = await self.next()
                if wanted(event):
                    return event


class Monitor:
    """One QMP session."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = asyncio.Event()
        self._client = QMPClient(name)
        self._client.logger = self._client.logger.getChild("quiet")
        self._client.logger.disabled = True  # every failure reaches our caller as an exception
        self._subscriptions: set[Subscription] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Lock()
        self._giving = asyncio.Lock()

    @classmethod
    async def connect(cls, name: str, address: str, deadline_s: float = DEADLINE_S) -> Monitor:
        """Connect to QEMU's socket and negotiate; raises ``QmpLost`` or ``DeadlineExceeded``.

        The socket may be listened on before QEMU serves it: the greeting then comes when QEMU is ready.
        """
        monitor = cls(name)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.get_running_loop().sock_connect(connection, address)
                await monitor._client.connect(connection)
        except TimeoutError:
            connection.close()
            raise DeadlineExceeded(f"{name}: QEMU did not answer within {deadline_s:g} s") from None
        except (OSError, EOFError, QMPError) as error:
            connection.close()
            raise QmpLost(f"{name}: QEMU can't be reached: {_reason(error)}") from error
        monitor._tasks = [
            asyncio.create_task(monitor._pump(), name=f"qmp events {name}"),
            asyncio.create_task(monitor._end(), name=f"qmp end {name}"),
        ]
        return monitor

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float = DEADLINE_S,
        oob: bool = False,
    ) -> Any:  # fmt: skip
        """Run a command and return its answer.

        Raises ``QmpError`` (QEMU refused), ``QmpLost`` (QEMU is gone) or ``DeadlineExceeded``.
        """
        if self.closed.is_set():
            raise QmpLost(f"{self.name}: QEMU is gone")
        try:
            answer = self._client.execute(command, arguments, oob=oob)
            return await asyncio.wait_for(answer, deadline_s)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.name}: QEMU did not answer '{command}' within {deadline_s:g} s"
            ) from None
        except ExecuteError as error:
            raise QmpError(f"{self.name}: QEMU refused '{command}': {error}", error.error_class) from error
        except (ExecInterruptedError, QMPError, OSError, EOFError) as error:
            raise QmpLost(f"{self.name}: QEMU went away during '{command}'") from error

    async def give(self, descriptor: int, command: str, arguments: Mapping[str, object]) -> Any:
        """Hand a descriptor over with a command (``getfd``, ``add-fd``); it stays open here too.

        One at a time: QEMU keeps only the descriptor that came last. Raises as ``execute``.
        """
        async with self._giving:
            self._client.send_fd_scm(descriptor)
            return await self.execute(command, arguments)

    @contextlib.asynccontextmanager
    async def listen(self, *names: str) -> AsyncIterator[Subscription]:
        """Collect events of these names (all without any) while the block runs."""
        subscription = Subscription(frozenset(names))
        if self.closed.is_set():
            subscription.queue.put_nowait(None)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """End the session; QEMU and its guest go on."""
        await self._disconnect()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self) -> None:
        async for message in self._client.events:
            event = Event(str(message["event"]), _mapping(message.get("data")), time.monotonic())
            for subscription in self._subscriptions:
                if not subscription.names or event.name in subscription.names:
                    with contextlib.suppress(asyncio.QueueFull):
                        subscription.queue.put_nowait(event)

    async def _end(self) -> None:
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()
        await self._disconnect()

    async def _disconnect(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            for subscription in self._subscriptions:
                while subscription.queue.full():
                    subscription.queue.get_nowait()
                subscription.queue.put_nowait(None)
        async with self._ending:
            with contextlib.suppress(QMPError, OSError, EOFError):
                await self._client.disconnect()


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _reason(error: BaseException) -> str:
    inner = getattr(error, "exc", None)
    return str(inner or error) or type(inner or error).__name__
