"""The channel to the guest's agent (qemu-guest-agent): one command at a time, each with a deadline.

The guest is not to be trusted: what it answers is bounded in size and in time. Answers left over from a
command that came too late are skipped by guest-sync-delimited (QEMU's documentation of the agent's protocol).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kvorum.guests.errors import AgentAbsent, GuestError

SYNC_S = 3.0
DEADLINE_S = 10.0
_ANSWER_BYTES = 32 << 20
_DELIMITER = b"\xff"


class AgentChannel:
    """One guest's agent, at its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()

    async def ask(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float = DEADLINE_S
    ) -> object:
        """Run a command and return its answer.

        Raises ``GuestError`` when no agent answers, it refuses, or it took too long.
        """
        return await self._session(command, arguments, deadline_s)

    async def tell(self, command: str, arguments: Mapping[str, object] | None = None) -> None:
        """Run a command that has no answer when it succeeds; raises ``GuestError`` when no agent is there."""
        await self._session(command, arguments, None)

    async def _session(
        self, command: str, arguments: Mapping[str, object] | None, deadline_s: float | None
    ) -> object:
        async with self._lock:
            try:
                async with asyncio.timeout(SYNC_S):
                    reader, writer = await asyncio.open_unix_connection(self._path, limit=_ANSWER_BYTES)
            except (OSError, TimeoutError) as error:
                raise _absent() from error
            try:
                await self._synchronise(reader, writer)
                writer.write(_request(command, arguments))
                await writer.drain()
                if deadline_s is None:
                    return None
                try:
                    async with asyncio.timeout(deadline_s):
                        return _result(command, await reader.readuntil(b"\n"))
                except TimeoutError:
                    raise GuestError(
                        f"the guest's agent did not answer '{command}' within {deadline_s:g} s"
                    ) from None
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                raise GuestError(f"the guest's agent broke off during '{command}': {error}") from error
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _synchronise(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Skip what an earlier command may still answer."""
        number = secrets.randbelow(1 << 31)
        writer.write(_DELIMITER + _request("guest-sync-delimited", {"id": number}))
        try:
            async with asyncio.timeout(SYNC_S):
                while True:
                    await reader.readuntil(_DELIMITER)
                    line = await reader.readuntil(b"\n")
                    if _result("guest-sync-delimited", line) == number:
                        return
        except TimeoutError:
            raise _absent() from None


def _absent() -> AgentAbsent:
    return AgentAbsent("QEMU guest agent is not running")


def _request(command: str, arguments: Mapping[str, object] | None) -> bytes:
    return msgspec.json.encode({"execute": command, "arguments": dict(arguments or {})}) + b"\n"


def _result(command: str, line: bytes) -> object:
    try:
        answer = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise GuestError(f"the guest's agent answered '{command}' with something that is no JSON") from error
    if isinstance(answer, dict) and "return" in answer:
        return answer["return"]
    refusal = answer.get("error") if isinstance(answer, dict) else None
    why = refusal.get("desc") if isinstance(refusal, dict) else None
    raise GuestError(f"the guest's agent refused '{command}': {str(why or 'it did not say why')[:500]}")
