"""Tells a test of every moment at which a daemon may die: before and after each write of a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def around(patch: pytest.MonkeyPatch, writes: Iterable[tuple[Any, str]], told: Callable[[str], None]) -> None:
    """Have every write, an owner and the name of its function, tell before and after it is made."""
    for owner, name in writes:
        patch.setattr(owner, name, _telling(getattr(owner, name), name, told))


def _telling(real: Callable[..., Any], name: str, told: Callable[[str], None]) -> Callable[..., Any]:
    def blocking(*arguments: Any, **options: Any) -> Any:
        told(f"before {name}")
        try:
            return real(*arguments, **options)
        finally:
            told(f"after {name}")

    async def waiting(*arguments: Any, **options: Any) -> Any:
        told(f"before {name}")
        try:
            return await real(*arguments, **options)
        finally:
            told(f"after {name}")

    return waiting if asyncio.iscoroutinefunction(real) else blocking
