"""The group of replicas in Corosync's closed process groups, and the votes from votequorum.

While a ring forms votequorum still shows the QDevice's vote of the ring before: only the quorum service's
word for a ring is about that ring. The vote counts when it was held for some time (``settling``): a shorter
one from that word on, the full one where the group changed within a ring, of which Corosync says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack

from kvorum.corosync import (
    Address,
    CorosyncBusy,
    CorosyncError,
    Cpg,
    Departure,
    Flag,
    Quorum,
    RingId,
    Votequorum,
    open_patiently,
)
from kvorum.store.protocol import Ballot, Deliver, Event, Left, MembersChanged, Whispered
from kvorum.store.whispers import PORT, Whispers

log = logging.getLogger(__name__)

GROUP = "kvorum_store_v1"
_OPEN_SECONDS = 60.0
_SEND_SECONDS = 10.0
_COUNT_SECONDS = 1.0
"""With a message that comes so long after they were counted, votes are counted anew: votequorum tells only
what changes the quorum, so nothing of a QDevice's vote that comes or goes where the members alone are a
majority. To ask at any other moment could hang, with a corosync that does."""


class CorosyncGroup:
    """A member of Corosync's group ``kvorum_store_v1``; reconnects when corosync restarts."""

    def __init__(
        self,
        on_ballot: Callable[[Ballot], None],
        *,
        nodeid: int,
        address: str,
        settle_seconds: Callable[[bool], float],
        inside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """``address`` is this node's on its first link: members whisper to it there, until ``listen_at``.

        ``settle_seconds`` says how long the QDevice's vote must be held before it counts, by whether Corosync
        said that it is for the ring of now.
        ``inside`` is entered while connections are opened (tests enter a network namespace there).
        """
        self._on_ballot = on_ballot
        self._settle_seconds = settle_seconds
        self._inside = inside
        self._address = address
        self._whispers = Whispers(nodeid, self._whispered)
        self._queue: deque[bytes] = deque()
        self._woken = asyncio.Event()
        self._cpg: Cpg | None = None
        self._votes: Votequorum | None = None
        self._handler: Callable[[Event], None] | None = None
        self._ring: tuple[int, int] | None = None
        self._word: tuple[int, int] | None = None
        """The ring that Corosync said is quorate, after its members and votes were known."""
        self._members: tuple[Address, ...] = ()
        self._gone: asyncio.Future[None] | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._ballot = Ballot(votes=0, expected=1)
        self._counted_at = 0.0
        self._left = ""
        self._out = False
        """Withdrawn: no event of the group is handed on."""
        self._back = asyncio.Event()
        self._back.set()

    async def run(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler
        self._listen()
        try:
            while not self._left:
                try:
                    await self._session()
                except CorosyncError as error:
                    handler(Left(f"no quorum: {error}"))
                    if not isinstance(error, CorosyncBusy):
                        log.warning("the store lost its group: %s", error)
            handler(Left(self._left))
            await asyncio.get_running_loop().create_future()
        finally:
            self._whispers.close()

    def multicast(self, frames: tuple[bytes, ...]) -> None:
        if self._cpg is None or self._out:
            return
        self._queue.extend(frames)
        if len(self._queue) == len(frames):
            self._send_now()
        if self._queue:
            self._woken.set()

    def whisper(self, to: tuple[int, ...], frame: bytes) -> None:
        if not self._out:
            self._whispers.say(to, frame)

    def meet(self, reach: Mapping[int, bytes]) -> None:
        self._whispers.meet(reach)

    def listen_at(self, address: str) -> bool:
        if not address or address == self._address:
            return False
        self._address = address
        self._whispers.close()
        self._listen()
        return True

    def withdraw(self) -> None:
        self._out = True
        self._back.clear()
        self._queue.clear()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def rejoin(self) -> None:
        self._back.set()

    def leave(self, reason: str) -> None:
        self._left = reason
        self._back.set()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _listen(self) -> None:
        try:
            with self._inside():
                self._whispers.open(self._address)
        except OSError as error:
            log.warning(
                "no member can whisper to this node at '%s' (UDP %d), its changes take longer: %s",
                self._address,
                PORT,
                error,
            )

    async def _session(self) -> None:
        """One connection to corosync, until it is lost or ``withdraw`` ends it."""
        await self._back.wait()
        self._out = False
        loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        gone = self._gone
        self._ring, self._word, self._members = None, None, ()
        self._queue.clear()

        def lost(error: CorosyncError) -> None:
            if not gone.done():
                gone.set_exception(error)

        with ExitStack() as stack:
            votes = stack.enter_context(await open_patiently(self._open_votes, timeout=_OPEN_SECONDS))
            quorum = stack.enter_context(await open_patiently(self._open_quorum, timeout=_OPEN_SECONDS))
            cpg = stack.enter_context(await open_patiently(self._open_cpg, timeout=_OPEN_SECONDS))
            stack.callback(self._forget)
            self._votes, self._cpg = votes, cpg
            votes.attach(lost)
            quorum.attach(lost)
            cpg.attach(lost)
            votes.track()
            quorum.track()
            self._count()
            sender = loop.create_task(self._sender(cpg, lost))
            stack.callback(sender.cancel)
            await cpg.join(GROUP)
            try:
                await gone
            finally:
                if not cpg.closed:
                    with contextlib.suppress(CorosyncError):
                        await asyncio.shield(cpg.leave(GROUP, timeout=1.0))

    def _open_votes(self) -> Votequorum:
        with self._inside():
            return Votequorum(
                quorum_change=lambda _quorate, _states: self._count(),
                nodelist_change=lambda _ring, _nodes: self._count(),
                expected_change=lambda _votes: self._count(),
            )

    def _open_quorum(self) -> Quorum:
        with self._inside():
            return Quorum(quorum_change=self._said)

    def _open_cpg(self) -> Cpg:
        with self._inside():
            return Cpg(deliver=self._delivered, group_change=self._changed, totem_change=self._ring_changed)

    def _forget(self) -> None:
        self._votes, self._cpg = None, None
        self._queue.clear()
        if self._settling is not None:
            self._settling.cancel()

    # Sending

    def _send_now(self) -> None:
        """Hand corosync what it takes at once; the rest is the sender's."""
        try:
            while self._queue and self._cpg is not None:
                self._cpg.send_now(self._queue[0])
                self._queue.popleft()
        except CorosyncError as error:
            if not isinstance(error, CorosyncBusy):
                log.debug("the sender will meet it again: %s", error)

    async def _sender(self, cpg: Cpg, lost: Callable[[CorosyncError], None]) -> None:
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                while self._queue:
                    await cpg.send(self._queue[0], timeout=_SEND_SECONDS)
                    self._queue.popleft()
        except CorosyncError as error:
            lost(error)

    # Callbacks, from the event loop

    def _delivered(self, nodeid: int, _pid: int, data: bytes) -> None:
        self._count_again()
        if self._handler is not None and not self._out:
            self._handler(Deliver(nodeid, data))

    def _whispered(self, nodeid: int, frame: bytes) -> None:
        self._count_again()
        if self._handler is not None and not self._out:
            self._handler(Whispered(nodeid, frame))

    def _changed(
        self, members: tuple[Address, ...], _left: tuple[Departure, ...], _joined: tuple[Departure, ...]
    ) -> None:
        self._members = members
        if self._word == self._ring:
            self._word = None
        self._tell_members()

    def _ring_changed(self, ring: RingId, _nodes: tuple[int, ...]) -> None:
        self._ring = (ring.nodeid, ring.seq)
        self._tell_members()

    def _tell_members(self) -> None:
        """Tell the members with their ring; a ring's change comes just after the group's and counts anew."""
        if self._handler is not None and not self._out and self._ring is not None and self._members:
            self._unsettle()
            members = frozenset((address.nodeid, address.pid) for address in self._members)
            self._handler(MembersChanged(self._ring, members, time.time(), self._whispers.reach()))

    # Votes

    def _said(self, quorate: bool, ring: RingId, _nodes: tuple[int, ...]) -> None:
        """Corosync's words in their order: a No between two Yes counts, late as it may be heard."""
        self._word = (ring.nodeid, ring.seq) if quorate else None
        if not quorate and self._ballot.qdevice:
            self._tell_ballot(Ballot(self._ballot.votes, self._ballot.expected))
        self._count()
        if quorate and not self._ballot.settled:
            self._unsettle()

    def _count_again(self) -> None:
        """Of a QDevice that begins to vote where there is quorum, Corosync tells nothing."""
        if asyncio.get_running_loop().time() - self._counted_at > _COUNT_SECONDS:
            self._count()

    def _count(self) -> None:
        if self._votes is None or self._votes.closed:
            return
        self._counted_at = asyncio.get_running_loop().time()
        try:
            info = self._votes.info()
        except CorosyncError as error:
            log.debug("votequorum does not answer now: %s", error)
            return
        qdevice = info.qdevice_votes if Flag.QDEVICE_CAST_VOTE in info.flags else 0
        settled = self._ballot.settled and qdevice == self._ballot.qdevice
        ballot = Ballot(info.votes, max(info.expected, info.highest_expected), qdevice, settled)
        if ballot != self._ballot:
            self._tell_ballot(ballot)
            if qdevice and not settled:
                self._unsettle()

    def _tell_ballot(self, ballot: Ballot) -> None:
        if bool(ballot.qdevice) != bool(self._ballot.qdevice):
            log.info("store: the QDevice's vote is %s", "here" if ballot.qdevice else "not here")
        self._ballot = ballot
        if not ballot.qdevice and self._settling is not None:
            self._settling.cancel()
        self._on_ballot(ballot)

    def _unsettle(self) -> None:
        """The QDevice's vote counts from now on, once it has been held for long enough."""
        if self._settling is not None:
            self._settling.cancel()
        if not self._ballot.qdevice:
            return
        ballot = self._ballot
        self._ballot = Ballot(ballot.votes, ballot.expected, ballot.qdevice, False)
        self._settling = asyncio.get_running_loop().call_later(
            self._settle_seconds(self._word is not None and self._word == self._ring), self._settled
        )

    def _settled(self) -> None:
        ballot = self._ballot
        self._ballot = Ballot(ballot.votes, ballot.expected, ballot.qdevice, True)
        self._on_ballot(self._ballot)
