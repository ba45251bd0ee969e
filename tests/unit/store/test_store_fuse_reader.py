"""Waiting for the kernel's requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pyfuse3.asyncio
import pytest

from kvorum.store.fuse_reader import FuseReader


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def _turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_request_wakes_who_waits(pipe: tuple[int, int]) -> None:
    reader = FuseReader()
    for number in range(3):
        waiting = asyncio.ensure_future(reader.wait_readable(pipe[0]))
        await _turns()
        assert not waiting.done()
        os.write(pipe[1], b"%d" % number)
        await asyncio.wait_for(waiting, 5)
        assert os.read(pipe[0], 10) == b"%d" % number


async def test_nobody_is_woken_for_a_request_that_was_read(pipe: tuple[int, int]) -> None:
    """One who reads when nothing is there blocks the loop, and with it the whole store."""
    reader = FuseReader()

    async def read_until_the_end() -> int:
        count = 0
        os.set_blocking(pipe[0], False)
        while True:
            await reader.wait_readable(pipe[0])
            if os.read(pipe[0], 1) == b".":
                return count
            count += 1

    reading = asyncio.ensure_future(read_until_the_end())
    for pause in range(200):
        os.write(pipe[1], b"x")
        await _turns(pause % 5)
    os.write(pipe[1], b".")
    assert await asyncio.wait_for(reading, 10) == 200


async def test_a_request_that_finds_nobody_does_not_keep_the_loop_busy(pipe: tuple[int, int]) -> None:
    reader = FuseReader()
    waiting = asyncio.ensure_future(reader.wait_readable(pipe[0]))
    await _turns()
    os.write(pipe[1], b"one")
    await asyncio.wait_for(waiting, 5)
    await _turns()
    assert not asyncio.get_running_loop().remove_reader(pipe[0]), "still watched, with nobody to read"
    await asyncio.wait_for(reader.wait_readable(pipe[0]), 5)


async def test_a_request_that_comes_at_the_very_end_does_not_keep_it_open(pipe: tuple[int, int]) -> None:
    """The end comes when who waits has been woken already, and not run yet."""
    reader = FuseReader()
    waiting = asyncio.ensure_future(reader.wait_readable(pipe[0]))
    await _turns()
    os.write(pipe[1], b"one")
    reader._readable()
    reader.notify_closing(pipe[0])
    await asyncio.wait_for(waiting, 5)
    with pytest.raises(pyfuse3.asyncio.ClosedResourceError):
        await reader.wait_readable(pipe[0])


async def test_who_waits_is_told_of_the_end_and_nothing_is_watched(pipe: tuple[int, int]) -> None:
    reader = FuseReader()
    waiting = asyncio.ensure_future(reader.wait_readable(pipe[0]))
    await _turns()
    reader.notify_closing(pipe[0])
    with pytest.raises(pyfuse3.asyncio.ClosedResourceError):
        await asyncio.wait_for(waiting, 5)
    assert not asyncio.get_running_loop().remove_reader(pipe[0])
