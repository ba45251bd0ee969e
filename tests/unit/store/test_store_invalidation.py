"""Notifications to the kernel: in order, and never stuck for good."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

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


class Holding:
    """A notification that the kernel takes when it is let."""

    def __init__(self) -> None:
        self.inside, self.let = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.inside.set()
        self.let.wait(10)


@pytest.fixture
async def patient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Invalidation]:
    """One for which others wait until the kernel has taken all."""
    monkeypatch.setattr(invalidation, "WAIT_SECONDS", 30)
    it = Invalidation(lambda: None)
    yield it
    it.close()


@pytest.fixture
def hanging() -> Iterator[Holding]:
    """A notification that hangs to the end of the test."""
    it = Holding()
    yield it
    it.let.set()


async def test_who_waits_is_called_once_the_kernel_was_told_in_order(patient: Invalidation) -> None:
    first, second, told, called = Holding(), Holding(), asyncio.Event(), []
    patient.when_told(lambda: called.append("nothing to tell"))
    assert called == ["nothing to tell"]
    patient.put(first)
    patient.when_told(lambda: called.append("first"))
    patient.put(second)
    patient.when_told(lambda: called.append("second") or told.set())
    assert await asyncio.to_thread(first.inside.wait, 5)
    first.let.set()
    assert await asyncio.to_thread(second.inside.wait, 5)
    while "first" not in called:
        await asyncio.sleep(0)
    assert called == ["nothing to tell", "first"]
    second.let.set()
    await asyncio.wait_for(told.wait(), 5)
    assert called == ["nothing to tell", "first", "second"]


async def test_nobody_waits_long_for_a_kernel_that_takes_its_time(hanging: Holding) -> None:
    told = asyncio.Event()
    queue = Invalidation(lambda: None)
    queue.put(hanging)
    queue.when_told(told.set)
    await asyncio.wait_for(told.wait(), 5)
    assert not hanging.let.is_set()
    queue.close()


async def test_nobody_waits_for_what_need_not_be_awaited(patient: Invalidation, hanging: Holding) -> None:
    called: list[object] = []
    patient.put(hanging, awaited=False)
    patient.when_told(lambda: called.append(1))
    assert called == [1]


async def test_nobody_waits_for_what_is_behind_one_that_need_not_be_awaited(patient: Invalidation) -> None:
    held, called = Holding(), []
    patient.put(held, awaited=False)
    patient.put(lambda: None)
    patient.when_told(lambda: called.append("behind"))
    assert called == ["behind"]
    held.let.set()
    await until_taken(patient, 2)
    later = Holding()
    patient.put(later)
    patient.when_told(lambda: called.append("later"))
    assert called == ["behind"]
    later.let.set()


async def until_taken(queue: Invalidation, count: int) -> None:
    """Let the thread go on until the kernel took so many."""
    async with asyncio.timeout(5):
        while queue._taken < count:
            await asyncio.sleep(0)


async def test_nobody_waits_longer_where_a_request_begins_that_waits_for_them(
    patient: Invalidation, hanging: Holding
) -> None:
    called: list[object] = []
    patient.put(hanging)
    patient.when_told(lambda: called.append("before"))
    patient.wait_no_more()
    patient.when_told(lambda: called.append("after"))
    patient.put(lambda: None)
    patient.when_told(lambda: called.append("behind it"))
    assert called == ["before", "after", "behind it"]


async def test_nobody_waits_for_what_is_closed(patient: Invalidation, hanging: Holding) -> None:
    called: list[object] = []
    patient.put(hanging)
    patient.when_told(lambda: called.append(1))
    patient.close()
    assert called == [1]
    hanging.let.set()
    await asyncio.to_thread(patient._thread.join, 5)


async def test_who_comes_later_is_not_called_before_who_waits(patient: Invalidation) -> None:
    """Also where the kernel was told, and the loop was not yet woken for the first."""
    notify, called = Holding(), []
    patient.put(notify)
    patient.when_told(lambda: called.append("first"))
    notify.let.set()
    deadline = time.monotonic() + 5
    while not patient._taken:  # the loop stands still meanwhile
        assert time.monotonic() < deadline
        time.sleep(0.001)
    patient.when_told(lambda: called.append("second"))
    assert called == ["first", "second"]
