"""Waiting for the first of several things, and ending the others."""

from __future__ import annotations

import asyncio
from typing import Any


async def until_first(
    *tasks: asyncio.Future[Any], timeout_s: float | None = None
) -> set[asyncio.Future[Any]]:
    """Wait until one of the tasks has ended, or for so many seconds; returns those that have.

    The others are cancelled and waited for, also when the caller is. What any of them raised is its own to
    tell: by ``result()``.
    """
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done
