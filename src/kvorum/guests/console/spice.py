"""SPICE sessions of this node's guests: each a file that was given to somebody, and the channels that came.

A client opens one connection for each channel (display, inputs, sound, USB, …), all with the ticket and the
password of its session. The first must come soon; while one is open others may follow; with the last one the
session ends, and with it its task. Another look at the guest needs a new file.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field

from kvorum.core.errors import KvorumError
from kvorum.core.waiting import until_first
from kvorum.guests.console import spice_link
from kvorum.guests.console.ending import why_ended
from kvorum.guests.console.passing import HANDSHAKE_DEADLINE_S, connected, passed
from kvorum.guests.console.rfb import ByteStream
from kvorum.guests.console.spice_messages import Messages
from kvorum.guests.errors import GuestError
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.interface import Identity, TaskLog, WebSocket

COME_TIMEOUT_S = 40.0
"""How long a session waits for its client."""
MAX_SESSIONS, MAX_CHANNELS = 100, 64
MAX_ASKING = 16
"""Channels of a session that have not shown its password yet: whoever saw the ticket can ask for one."""


@dataclass(eq=False, slots=True)
class SpiceSession:
    """One file that was given out, from then to the end of its last channel."""

    vmid: int
    identity: Identity
    """Whose it is: asked for their right again at each channel."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    password: str = field(default_factory=spice_link.new_password, repr=False)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last channel has ended."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all must end: the task was stopped."""
    channels: set[object] = field(default_factory=set)
    asking: int = 0
    reason: str = ""
    log: TaskLog | None = None

    @contextlib.contextmanager
    def asks(self) -> Iterator[None]:
        """Count one client that has yet to show the password; raises ``KvorumError``."""
        if self.asking >= MAX_ASKING:
            raise KvorumError(f"{MAX_ASKING} SPICE channels of one session are being opened: try again")
        self.asking += 1
        try:
            yield
        finally:
            self.asking -= 1

    @contextlib.contextmanager
    def channel(self, name: str) -> Iterator[None]:
        """Count one channel of the client that has shown its password; raises ``KvorumError``."""
        if self.left.is_set() or self.over.is_set():
            raise KvorumError("this SPICE session has ended: ask for a new file")
        mark = object()
        self.channels.add(mark)
        self.came.set()
        if self.log is not None:
            self.log.line(f"channel {name}")
        try:
            yield
        finally:
            self.channels.discard(mark)
            if not self.channels:
                self.left.set()


class SpiceSessions:
    """The sessions of this node's guests."""

    def __init__(self) -> None:
        self._open: dict[str, SpiceSession] = {}

    def begin(self, vmid: int, identity: Identity) -> SpiceSession:
        """A new session; raises ``KvorumError`` when too many are open."""
        if len(self._open) >= MAX_SESSIONS:
            raise KvorumError(f"{MAX_SESSIONS} SPICE sessions are open on this node: close some")
        session = SpiceSession(vmid, identity)
        self._open[session.id] = session
        return session

    def find(self, id: str, vmid: int) -> SpiceSession:
        """The session of a ticket; raises ``KvorumError`` when there is none (any more)."""
        session = self._open.get(id)
        if session is None or session.vmid != vmid:
            raise KvorumError("no SPICE session waits with this ticket: ask for a new file")
        if len(session.channels) >= MAX_CHANNELS:
            raise KvorumError(f"{MAX_CHANNELS} SPICE channels are open in one session")
        return session

    def end(self, session: SpiceSession) -> None:
        """End a session with its channels."""
        self._open.pop(session.id, None)
        session.over.set()

    async def serve(
        self, session: SpiceSession, manager: GuestManager, guest: RunningGuest, log: TaskLog
    ) -> None:
        """Wait for the session's client and until it is gone: the session's task.

        Raises ``KvorumError`` when nobody comes, or the guest ends or moves away before.
        """
        session.log = log
        try:
            log.line("waiting for a client")
            if not await _came(session, guest):
                raise KvorumError(await why_ended(manager, guest))
            await session.left.wait()
            log.line(session.reason or "the client is gone")
        finally:
            session.log = None
            self.end(session)


async def show(socket: WebSocket, manager: GuestManager, guest: RunningGuest, session: SpiceSession) -> str:
    """Pass one channel on until either side ends; why it ended, empty when the client went.

    Raises ``KvorumError`` for a client that does not know the password, and when the session is ended.
    """
    if not (await guest.monitor.execute("query-spice")).get("enabled"):
        raise GuestError(f"VM {guest.vmid} runs without SPICE: stop it and start it again")
    async with contextlib.AsyncExitStack() as stack:
        with session.asks():
            display = await stack.enter_async_context(connected(guest, "spice"))
            client, shown = ByteStream(socket.receive), ByteStream(display.read)
            try:
                async with asyncio.timeout(HANDSHAKE_DEADLINE_S):
                    channel = await spice_link.link(
                        client, socket.send, shown, display.write, session.password
                    )
            except TimeoutError:
                raise KvorumError(f"no SPICE channel was linked within {HANDSHAKE_DEADLINE_S:g} s") from None
        with session.channel(str(channel)):
            messages = Messages(mini=channel.mini)
            await display.write(client.rest())
            for piece in messages.split(shown.rest()):
                await socket.send(piece)
            passing = passed(socket, manager, guest, display, messages.split)
            session.reason = await _until_over(session, passing)
            return session.reason


async def _came(session: SpiceSession, guest: RunningGuest) -> bool:
    """Whether the session's client came before the guest ended here. Raises ``KvorumError``: neither."""
    came = asyncio.create_task(session.came.wait(), name=f"SPICE client of VM {guest.vmid}")
    ended = asyncio.create_task(guest.process.ended.wait(), name=f"end of VM {guest.vmid}")
    await until_first(came, ended, timeout_s=COME_TIMEOUT_S)
    if not session.came.is_set() and not guest.process.ended.is_set():
        raise KvorumError(f"no client came within {COME_TIMEOUT_S:g} s")
    return session.came.is_set()


async def _until_over(session: SpiceSession, passing: Coroutine[None, None, str]) -> str:
    """What the passing says at its end; the session's end ends it. Raises ``KvorumError`` for that."""
    way = asyncio.create_task(passing, name=f"pass VM {session.vmid}")
    over = asyncio.create_task(session.over.wait(), name=f"SPICE session of VM {session.vmid}")
    if way in await until_first(way, over):
        return way.result()
    raise KvorumError("this SPICE session was ended")
