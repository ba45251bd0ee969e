"""The rooms whose methods and running parts make up the daemons: the one list of them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import cast

from kvorum.core.paths import Paths
from kvorum.interface import Method, Services, declared
from kvorum.store import Store

METHODS = ("access", "tasks", "storage", "guests", "cluster", "node", "server")
"""Rooms that declare methods."""

SERVICES = ("tasks", "storage", "guests", "cluster", "node")
"""Rooms with running parts in pvedaemon, in the order they are opened; closed the other way round."""

Running = Callable[[Services, Store, Paths], AbstractAsyncContextManager[None]]


def methods() -> tuple[Method, ...]:
    """Import all rooms' declarations and return them."""
    for room in METHODS:
        _import(f"kvorum.{room}.methods")
    return declared()


@asynccontextmanager
async def services(holder: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Open every room's running parts, which register their services in ``holder``."""
    async with AsyncExitStack() as stack:
        for room in SERVICES:
            module = _import(f"kvorum.{room}.service")
            if module is not None:
                running = cast(Running, module.running)  # type: ignore[attr-defined]  # house.md says so
                await stack.enter_async_context(running(holder, store, paths))
        yield


def _import(name: str) -> object | None:
    """Import a room's module; a room without one has none of its kind. An error inside it is an error."""
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)
