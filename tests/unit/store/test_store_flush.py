"""Syncing without blocking, by the kernel and by a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.store.flush import Flusher, KernelFlusher, ThreadFlusher, flusher


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.mark.parametrize("kind", [KernelFlusher, ThreadFlusher])
async def test_each_sync_is_answered_once(kind: type[Flusher], descriptor: int) -> None:
    flushing = kind()
    for _ in range(20):
        ended: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
        os.write(descriptor, b"x")
        flushing.start(descriptor, ended.set_result)
        assert await asyncio.wait_for(ended, 10) is None
    flushing.close()


@pytest.mark.parametrize("kind", [KernelFlusher, ThreadFlusher])
async def test_what_can_not_be_synced_is_told(kind: type[Flusher]) -> None:
    flushing = kind()
    reading, writing = os.pipe()
    ended: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    flushing.start(writing, ended.set_result)
    assert isinstance(await asyncio.wait_for(ended, 10), OSError)
    flushing.close()
    os.close(reading)
    os.close(writing)


async def test_where_the_kernel_does_not_do_it_a_thread_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    flushing = flusher()
    assert isinstance(flushing, ThreadFlusher)
    flushing.close()
