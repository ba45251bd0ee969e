"""What becomes of several tasks of which the first to end counts."""

from __future__ import annotations

import asyncio

import pytest

from kvorum.core.waiting import until_first


async def test_the_first_to_end_is_told_and_the_others_have_ended_too() -> None:
    quick, slow = asyncio.create_task(asyncio.sleep(0, "done")), asyncio.create_task(asyncio.sleep(60))
    assert await until_first(quick, slow) == {quick}
    assert quick.result() == "done" and slow.cancelled()


async def test_within_its_time_nobody_may_end() -> None:
    slow = asyncio.create_task(asyncio.sleep(60))
    assert await until_first(slow, timeout_s=0.01) == set()
    assert slow.cancelled()


async def test_what_ended_the_first_is_its_own_to_raise() -> None:
    async def fail() -> None:
        raise ValueError("no")

    failing = asyncio.create_task(fail())
    assert await until_first(failing) == {failing}
    with pytest.raises(ValueError, match="no"):
        failing.result()


async def test_who_is_cancelled_leaves_none_behind() -> None:
    slow = asyncio.create_task(asyncio.sleep(60))
    waiting = asyncio.create_task(until_first(slow))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slow.cancelled()
