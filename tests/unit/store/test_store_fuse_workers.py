"""Workers that are resumed by the kernel's requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pyfuse3.asyncio
import pytest

from kvorum.store.fuse_workers import FuseWorkers


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def _turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Readers:
    """Workers that read one byte at a time, until they are told of the end."""

    def __init__(self, fd: int, count: int = 1) -> None:
        self.fd = fd
        self.workers = FuseWorkers()
        self.read: list[bytes] = []
        self.heard = asyncio.Event()
        self.ended = 0
        for _ in range(count):
            self.workers.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            try:
                await self.workers.wait_readable(self.fd)
            except pyfuse3.asyncio.ClosedResourceError:
                self.ended += 1
                return
            self.read.append(os.read(self.fd, 1))
            self.heard.set()
            await self.answer()

    async def answer(self) -> None:
        """What a handler awaits."""

    async def until(self, count: int) -> None:
        while len(self.read) < count:
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 10)

    async def close(self) -> None:
        self.workers.notify_closing(self.fd)
        await asyncio.wait_for(self.workers.__aexit__(), 10)


class Busy(Readers):
    """Whose answers wait until the test lets them go."""

    def __init__(self, fd: int, count: int = 1) -> None:
        super().__init__(fd, count)
        self.held = asyncio.get_running_loop().create_future()

    async def answer(self) -> None:
        await self.held


async def test_a_request_is_read_in_the_turn_of_the_loop_that_tells_of_it(pipe: tuple[int, int]) -> None:
    readers = Readers(pipe[0])
    await _turns()
    os.write(pipe[1], b"1")
    await _turns(2)  # the second one comes after what the first one was told
    assert readers.read == [b"1"]
    await readers.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_nobody_is_resumed_for_a_request_that_was_read(pipe: tuple[int, int], count: int) -> None:
    """One who reads when nothing is there blocks the loop, and with it the whole store."""
    readers = Readers(pipe[0], count)
    for pause in range(200):
        os.write(pipe[1], b"x")
        await _turns(pause % 5)
    await readers.until(200)
    await _turns(10)
    await readers.close()
    assert len(readers.read) == 200 and readers.ended == count


async def test_a_handler_may_await_futures_locks_and_turns(pipe: tuple[int, int]) -> None:
    lock, answered = asyncio.Lock(), asyncio.get_running_loop().create_future()

    class Slow(Readers):
        async def answer(self) -> None:
            async with lock:
                await asyncio.sleep(0)
                await answered
                self.answers = getattr(self, "answers", 0) + 1
                self.heard.set()

    readers = Slow(pipe[0], 3)
    os.write(pipe[1], b"abc")
    await readers.until(3)
    assert not hasattr(readers, "answers")
    answered.set_result(None)
    while getattr(readers, "answers", 0) < 3:
        readers.heard.clear()
        await asyncio.wait_for(readers.heard.wait(), 10)
    await readers.close()


async def test_a_future_that_fails_is_raised_where_it_is_awaited(pipe: tuple[int, int]) -> None:
    failed = asyncio.get_running_loop().create_future()

    class Failing(Readers):
        async def answer(self) -> None:
            with pytest.raises(OSError, match="no such thing"):
                await failed
            self.heard.set()
            self.read.append(b"raised")

    readers = Failing(pipe[0])
    os.write(pipe[1], b"1")
    await readers.until(1)
    failed.set_exception(OSError("no such thing"))
    await readers.until(2)
    assert readers.read == [b"1", b"raised"]
    await readers.close()


async def test_a_request_that_finds_nobody_does_not_keep_the_loop_busy(pipe: tuple[int, int]) -> None:
    readers = Busy(pipe[0])
    os.write(pipe[1], b"12")
    await readers.until(1)
    await _turns(5)
    assert not asyncio.get_running_loop().remove_reader(pipe[0]), "still watched, with nobody to read"
    readers.held.set_result(None)
    await readers.until(2)
    await readers.close()


async def test_who_is_at_work_at_the_end_is_told_when_it_would_wait_again(pipe: tuple[int, int]) -> None:
    readers = Busy(pipe[0], 2)
    os.write(pipe[1], b"1")
    await readers.until(1)
    readers.workers.notify_closing(pipe[0])
    await _turns()
    assert readers.ended == 1
    readers.held.set_result(None)
    await asyncio.wait_for(readers.workers.__aexit__(), 10)
    assert readers.ended == 2
    assert not asyncio.get_running_loop().remove_reader(pipe[0])


async def test_a_worker_that_fails_is_told_of_when_all_have_ended(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Readers):
        async def answer(self) -> None:
            raise OSError("a worker's end")

    readers = Failing(pipe[0], 2)
    os.write(pipe[1], b"1")
    await readers.until(1)
    assert "a worker's end" in caplog.text
    with pytest.raises(OSError, match="a worker's end"):
        await readers.close()
    assert readers.ended == 1


async def test_a_nursery_that_nobody_was_started_in_ends_at_once() -> None:
    async with FuseWorkers():
        pass
