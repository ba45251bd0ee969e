"""What a setup watches on this node: who runs the configuration, and whether the QDevice's vote is here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kvorum.cluster.qdevice import status
from kvorum.core.errors import KvorumError
from kvorum.corosync import CorosyncError, Flag, Votequorum

FOLLOWED_S = 15.0


class CorosyncVote:
    """This node's Corosync, asked off the event loop: a frozen one would hold it."""

    def __init__(self, wait_until_followed: Callable[[int], Awaitable[list[str]]]) -> None:
        self._wait_until_followed = wait_until_followed

    async def behind(self, version: int) -> list[str]:
        """The present nodes whose corosync does not come to run this version of the configuration."""
        return await self._wait_until_followed(version)

    async def cast(self) -> bool:
        """Whether this node has the QDevice's vote now."""
        return await asyncio.to_thread(_cast)

    async def state(self) -> str:
        """What corosync-qdevice says of its connection."""
        try:
            told = await status.ask()
        except KvorumError as error:
            return str(error)
        return f"{told.get('State', 'state unknown')}, QNetd host {told.get('QNetd host', 'unknown')}"


def _cast() -> bool:
    try:
        with Votequorum() as votes:
            return Flag.QDEVICE_CAST_VOTE in votes.info().flags
    except CorosyncError:
        return False
