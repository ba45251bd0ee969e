"""Slows down who guesses passwords: each failure from an address for a user doubles the next answer's delay.

Attempts for one pair of address and user go one at a time; more than a few waiting are refused at once.
The table is bounded: its oldest entries are forgotten first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kvorum.core.errors import AuthenticationError

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
FORGET_AFTER_S = 900.0
MAX_ENTRIES = 10_000
MAX_WAITING = 8


def delay_s(failures: int) -> float:
    """How long the answer to the next attempt waits after so many failures in a row."""
    return 0.0 if failures == 0 else min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), LONGEST_DELAY_S)


@dataclass(slots=True)
class _Entry:
    failures: int = 0
    last: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Throttle:
    """Counts failures per address and user."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, first_delay_s: float = FIRST_DELAY_S
    ) -> None:
        self._monotonic = monotonic
        self._scale = first_delay_s / FIRST_DELAY_S
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    @asynccontextmanager
    async def attempt(self, address: str, user: str) -> AsyncIterator[None]:
        """Hold while one attempt is made; an ``AuthenticationError`` from within counts as a failure.

        Raises ``AuthenticationError`` at once when too many attempts are waiting already.
        """
        entry = self._entry(address, user)
        if entry.waiting >= MAX_WAITING:
            raise AuthenticationError("too many attempts to log in at once; wait and try again")
        entry.waiting += 1
        try:
            async with entry.turn:
                if self._monotonic() - entry.last > FORGET_AFTER_S:
                    entry.failures = 0
                await asyncio.sleep(delay_s(entry.failures) * self._scale)
                try:
                    yield
                except AuthenticationError:
                    entry.failures += 1
                    entry.last = self._monotonic()
                    raise
                entry.failures = 0
        finally:
            entry.waiting -= 1

    def _entry(self, address: str, user: str) -> _Entry:
        key = (address, user)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            if len(self._entries) > MAX_ENTRIES:
                self._forget_one()
        else:
            self._entries.move_to_end(key)
        return entry

    def _forget_one(self) -> None:
        """Drop the oldest entry nobody waits in; the newest is being used and stays."""
        for key, entry in self._entries.items():
            if not entry.waiting:
                del self._entries[key]
                return
