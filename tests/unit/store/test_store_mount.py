"""The end of the file system."""

from __future__ import annotations

import asyncio

import pytest

from kvorum.store import mount


async def test_a_request_that_comes_at_the_very_end_does_not_keep_it_mounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pyfuse3 sets an exception on futures that have a result already."""
    waiting = asyncio.get_running_loop().create_future()
    waiting.set_result(None)
    calls = []

    def terminate() -> None:
        calls.append(None)
        if len(calls) < 3:
            waiting.set_exception(ConnectionError())

    monkeypatch.setattr("pyfuse3.terminate", terminate)
    await asyncio.wait_for(mount._terminate(), 5)
    assert len(calls) == 3
