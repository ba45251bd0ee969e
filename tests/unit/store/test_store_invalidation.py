"""Notifications to the kernel: in order, and never stuck for good."""

from __future__ import annotations

import asyncio
import threading

import pytest

from kvorum.store import invalidation
from kvorum.store.invalidation import Invalidation


async def test_a_notification_that_hangs_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidation, "STALL_SECONDS", 0.05)
    stalled, release, calls = asyncio.Event(), threading.Event(), []

    def noticed() -> None:
        calls.append(1)
        stalled.set()

    queue = Invalidation(noticed)
    queue.put(lambda: release.wait(10) and None)
    await asyncio.wait_for(stalled.wait(), 5)
    queue.put(lambda: None)
    assert calls == [1]
    release.set()
    queue.close()


async def test_what_the_kernel_refuses_does_not_stop_the_rest() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def unknown() -> None:
        raise FileNotFoundError

    def refused() -> None:
        raise OSError(5, "refused")

    queue = Invalidation(lambda: None)
    for notify in (unknown, refused, lambda: loop.call_soon_threadsafe(done.set) and None):
        queue.put(notify)
    await asyncio.wait_for(done.wait(), 5)
    queue.close()


async def test_what_the_kernel_does_not_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidation, "QUEUE_MAX", 2)
    calls, taken, inside, release = [], [], threading.Event(), threading.Event()

    def hang() -> None:
        inside.set()
        release.wait(10)

    queue = Invalidation(lambda: calls.append(1))
    queue.put(hang)
    assert await asyncio.to_thread(inside.wait, 5)
    for number in range(2):
        queue.put(lambda number=number: taken.append(number))  # type: ignore[misc]
    assert calls == []
    for _ in range(2):
        queue.put(lambda: taken.append(99))
    assert calls == [1]
    queue.close()
    release.set()
    await asyncio.to_thread(queue._thread.join, 5)
    assert taken == [0, 1] and not queue._thread.is_alive()


async def test_a_notification_costs_the_event_loop_no_condition_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    queue = Invalidation(lambda: None)
    with monkeypatch.context() as strict:
        strict.delattr(threading.Condition, "notify")
        queue.put(lambda: loop.call_soon_threadsafe(done.set) and None)
    await asyncio.wait_for(done.wait(), 5)
    queue.close()
