"""Asks what can hang (a dead storage) without hanging with it: one thread each, and the last answer's age.

A thread stuck in the kernel can't be ended; so there is at most one per question, it is a daemon thread (it
doesn't hold up the process's end), and while it is stuck nobody asks again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The last value known, how old it is in seconds, and why there is no newer one."""

    value: T | None
    age_s: float
    error: str = ""


class Probe(Generic[T]):
    """One question that may hang."""

    def __init__(self, name: str, question: Callable[[], T]) -> None:
        self._name = name
        self._question = question
        self._value: T | None = None
        self._time = 0.0
        self._running: asyncio.Future[T] | None = None

    async def ask(self, deadline_s: float) -> Answer[T]:
        """The answer, fresh if it comes within the deadline, else the last one with the reason."""
        if self._running is None:
            self._running = self._begin()
        try:
            self._value = await asyncio.wait_for(asyncio.shield(self._running), deadline_s)
            self._time = time.monotonic()
            self._running = None
            return Answer(self._value, 0.0)
        except TimeoutError:
            error = f"{self._name} did not answer within {deadline_s:g} s"
        except Exception as failure:
            self._running = None
            error = str(failure)
        return Answer(self._value, time.monotonic() - self._time if self._value is not None else 0.0, error)

    def _begin(self) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def settle(value: T | None, error: Exception | None) -> None:
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(value)  # type: ignore[arg-type]  # the question's own result

        def run() -> None:
            value, error = None, None
            try:
                value = self._question()
            except Exception as failure:
                error = failure
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:
                return  # the loop is closed; nobody asks any more

        threading.Thread(target=run, name=f"probe {self._name}", daemon=True).start()
        return future
