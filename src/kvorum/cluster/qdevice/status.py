"""What this node's corosync-qdevice says of itself: asked as corosync-qdevice-tool(8) does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kvorum.core.errors import DeadlineExceeded, KvorumError

SOCKET = Path("/run/corosync-qdevice/corosync-qdevice.sock")
ASK_S = 3.0
_LIMIT = 256 * 1024


class NotRunning(KvorumError):
    """corosync-qdevice does not run on this node."""


async def ask(socket: Path = SOCKET) -> dict[str, str]:
    """Every line of the daemon's verbose status by its label.

    Raises ``NotRunning``, and ``DeadlineExceeded`` when it does not answer.
    """
    try:
        async with asyncio.timeout(ASK_S):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LIMIT)
            try:
                writer.write(b"status verbose\n")
                await writer.drain()
                text = await reader.read(-1)
            finally:
                writer.close()
    except TimeoutError:
        raise DeadlineExceeded(f"corosync-qdevice did not answer within {ASK_S:g} s") from None
    except OSError:
        raise NotRunning("corosync-qdevice does not run on this node") from None
    return parse(text.decode(errors="replace"))


def parse(text: str) -> dict[str, str]:
    """The labels and values of a status; of two lines of one label the first."""
    verdict, _, body = text.partition("\n")
    if verdict != "OK":
        raise KvorumError(f"corosync-qdevice answers: {text.strip() or 'nothing'}")
    found: dict[str, str] = {}
    for line in body.splitlines():
        label, colon, value = line.partition(":")
        if colon and value.strip() and not line.startswith(" "):
            found.setdefault(label.strip(), value.strip())
    return found
