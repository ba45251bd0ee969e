"""The running part of the storage room: ``Storages``, for methods and for guests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.storage.storages import Storages
from kvorum.store import Store


@asynccontextmanager
async def running(services: Services, store: Store, paths: Paths) -> AsyncIterator[None]:
    """Register ``Storages``; nothing runs in the background."""
    services.add(Storages, Storages(store, paths))
    yield
