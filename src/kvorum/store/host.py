"""The shell around a replica: feeds it events and carries its effects out, in one event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.store.database import load
from kvorum.store.disk import Disk
from kvorum.store.face import Expect, Operation
from kvorum.store.group import Group
from kvorum.store.names import check_operations
from kvorum.store.protocol import (
    Answer,
    Ballot,
    BallotChanged,
    Cancel,
    Changed,
    Claim,
    Clock,
    DiskRefused,
    DiskSynced,
    Effect,
    Event,
    Lease,
    LeaseTaken,
    Leave,
    Left,
    Meet,
    Moved,
    Multicast,
    Note,
    Outcome,
    Persist,
    Published,
    Rejoin,
    Replica,
    Request,
    StartTimer,
    Status,
    StatusChanged,
    Tell,
    TimerExpired,
    Urge,
    Whisper,
    Withdraw,
)
from kvorum.store.tree import Tree

log = logging.getLogger(__name__)

VALUE_BYTES = 32 * 1024
"""Largest published value."""

CLOCK_SECONDS = 0.5
"""How often the replica is told the time."""

URGE_SECONDS = 0.05
"""How long a request waits at least before the replica is urged: a whisper may be lost."""

Heard = Changed | StatusChanged | Published | LeaseTaken | DiskSynced
"""What listeners are told; ``DiskSynced`` when what they were told before is on this node's disk."""


@dataclass(slots=True)
class _Value:
    value: bytes
    until: float
    """By the loop's clock."""
    version: int = 1
    """How often it was published, as this node heard it."""


class Host:
    """One replica at work. ``run`` holds it in the group; all methods belong to the event loop's thread."""

    def __init__(self, database: Path, group: Group, *, node: str, nodeid: int, ballot: Ballot) -> None:
        stored = load(database)
        if set(stored.view.members) == {0} and nodeid:
            # A standalone node that has become a cluster's first: its history is its own.
            stored.view = replace(stored.view, members={nodeid: node})
        elif not nodeid and list(stored.view.members.values()) == [node]:
            # The other way round: its cluster was of it alone, and is no more.
            stored.view = replace(stored.view, members={0: node})
        self.node = node
        self.database = database
        self.nodeid = nodeid
        self.started = time.time()
        self._replica = Replica(nodeid, node, f"{node}/{secrets.token_hex(8)}", stored, ballot)
        self._ballot = ballot
        self._group = group
        self._disk = Disk(database, self._synced, self._disk_failed, self._disk_refused)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._requests = 0
        self._urging = False
        self._listeners: list[Callable[[Heard], None]] = []
        self._silent = False
        self._values: dict[tuple[str, str], _Value] = {}
        self._broken = ""
        self._told_at = 0.0
        self._show: Callable[[Callable[[], None]], None] | None = None

    @property
    def tree(self) -> Tree:
        """The configuration; to be read only."""
        return self._replica.tree

    @property
    def version(self) -> int:
        """The version of the last change."""
        return self._replica.version

    @property
    def root(self) -> bytes:
        """The checksum of the whole tree: equal roots mean equal trees."""
        return self._replica.root

    @property
    def status(self) -> Status:
        """Whether this node may write, and why not."""
        return self._replica.status

    def listen(self, listener: Callable[[Heard], None]) -> Callable[[], None]:
        """Tell ``listener`` of every change, status and published value; returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def show_before_synced(self, show: Callable[[Callable[[], None]], None] | None) -> None:
        """Say that a change is on this node's disk, for which its writer waits, only once it is seen here.

        ``show(then)`` calls ``then`` when it is, soon in any case.
        """
        self._show = show

    def set_ballot(self, ballot: Ballot) -> None:
        """What this node knows of votes is now this."""
        self._ballot = ballot
        self.feed(BallotChanged(ballot))

    def adopt(self) -> None:
        """An admin's word that lost nodes are lost: this partition's history is the one to go on with."""
        log.warning("an admin lets this partition go on without members of the newest view (pvecm adopt)")
        self.feed(BallotChanged(replace(self._ballot, adopt=True)))

    def listen_at(self, address: str) -> None:
        """This node's address on its first link is this, as corosync.conf has it now."""
        if self._group.listen_at(address):
            reason = f"this node's address is {address} now and it joins its group again"
            self._loop.call_soon(self.feed, Moved(reason))

    async def run(self) -> None:
        """Be a member of the group until cancelled, then leave, write what is queued and close.

        Listeners hear nothing of this leaving: until the next store tells them otherwise, quorum is for them
        what it was, and changes wait for that store.
        """
        ticking = self._loop.create_task(self._tick())
        try:
            await self._group.run(self.feed)
        finally:
            ticking.cancel()
            self._silent = True
            self.feed(Left("the store is stopping"))
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(OutcomeUnknown("the store stopped; look before trying again"))
            await asyncio.shield(self._disk.close())

    async def transact(
        self, operations: Sequence[Operation], expect: Sequence[Expect], who: str, timeout: float
    ) -> int:
        """As ``Store.transact``."""
        check_operations(operations)
        if self._broken:
            raise NoQuorum(self._broken)
        self._requests += 1
        number = self._requests
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting[number] = future
        deadline = self._loop.call_later(timeout, self.feed, Cancel(number))
        if not self._urging:
            self._urging = True
            self._loop.call_later(URGE_SECONDS, self._urge, number, URGE_SECONDS)
        try:
            self.feed(Request(number, tuple(operations), tuple(expect), who, time.time()))
            return await future
        finally:
            deadline.cancel()
            del self._waiting[number]

    def _urge(self, oldest: int, seconds: float) -> None:
        """Less and less often, while the same request is the oldest that waits."""
        waiting = next(iter(self._waiting), None)
        if waiting is None:
            self._urging = False
            return
        if waiting == oldest:
            self.feed(Urge())
            seconds *= 2
        else:
            seconds = URGE_SECONDS
        self._loop.call_later(seconds, self._urge, waiting, seconds)

    async def settle(self) -> None:
        """Return once the database has every change that this node has seen: its history is whole then."""
        await self._disk.settle()

    async def claim(self, name: str, owner: str, seconds: float) -> float:
        """As ``Store.hold``, and with no ``seconds`` as ``Store.let_go``."""
        asked_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._requests += 1
        number = self._requests
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting[number] = future
        try:
            self.feed(Claim(number, name, owner, seconds))
            await future
            return asked_at + seconds
        finally:
            del self._waiting[number]

    def leases(self) -> tuple[Lease, ...]:
        """All leases that this node knows of."""
        return self._replica.leases.leases

    def publish(self, key: str, value: bytes, ttl: float) -> None:
        """Tell all nodes a value; raises ``KvorumError`` when it is larger than 32 KiB."""
        if len(value) > VALUE_BYTES:
            raise KvorumError(f"'{key}' has {len(value)} bytes; at most {VALUE_BYTES} can be published")
        self.feed(Tell(key, value, ttl))

    def published(self) -> Mapping[tuple[str, str], tuple[bytes, float]]:
        """(node, key) to the value and the seconds it still lives."""
        now = self._loop.time()
        for name in [name for name, kept in self._values.items() if kept.until <= now]:
            del self._values[name]
        return {name: (kept.value, kept.until - now) for name, kept in self._values.items()}

    def forget_others(self, nodes: Container[str]) -> None:
        """Drop what was published by nodes that are none of these."""
        self._values = {name: kept for name, kept in self._values.items() if name[0] in nodes}

    def value_version(self, node: str, key: str) -> int:
        """How often a value was published, as this node heard it; 0 when it has none."""
        kept = self._values.get((node, key))
        return kept.version if kept else 0

    def feed(self, event: Event) -> None:
        """Give the replica an event, and the time first when it has not been told lately."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if now - self._told_at >= CLOCK_SECONDS:
            self._told_at = now
            self._step(Clock(now))
        self._step(event)

    async def _tick(self) -> None:
        while True:
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            self._told_at = now
            self._step(Clock(now))
            await asyncio.sleep(CLOCK_SECONDS)

    def _step(self, event: Event) -> None:
        """Give the replica an event and carry out what it wants: first what others and the disk wait for."""
        before = self._replica.status.members
        effects = self._replica.step(event)
        for effect in effects:
            if isinstance(effect, Whisper):
                self._group.whisper(effect.to, effect.frame)
            elif isinstance(effect, Persist):
                self._disk.write(effect.record)
        self._disk.flush()
        self._carry_out(effects, before)

    def _carry_out(self, effects: Sequence[Effect], before: frozenset[int]) -> None:
        """The rest; ``before`` are the members until now."""
        for effect in effects:
            match effect:  # as in the replica's step, the frequent first
                case Persist() | Whisper():
                    pass
                case Changed():
                    self._tell(effect)
                case Answer():
                    self._answer(effect)
                case Multicast():
                    self._group.multicast(effect.frames)
                case StartTimer(number, seconds):
                    self._loop.call_later(seconds, self.feed, TimerExpired(number))
                case Meet() | Leave() | Withdraw() | Rejoin():
                    self._turn_to_group(effect)
                case Note(text):
                    log.warning("%s", text)
                case Published(node, key, value, ttl):
                    version = self.value_version(node, key) + 1
                    self._values[node, key] = _Value(value, self._loop.time() + ttl, version)
                    self._tell(effect)
                case StatusChanged(status):
                    log.info("store: %s", status.reason or "writable")
                    if status.members - before:
                        self._loop.call_soon(self._publish_again)
                    self._tell(effect)
                case LeaseTaken():
                    self._tell(effect)

    def _turn_to_group(self, effect: Meet | Leave | Withdraw | Rejoin) -> None:
        match effect:
            case Meet(reach):
                self._group.meet(reach)
            case Leave(reason):
                log.error("%s", reason)
                self._loop.call_soon(self._group.leave, reason)
            case Withdraw(reason):
                log.error("%s", reason)
                self._group.withdraw()
            case Rejoin():
                log.info("the store joins its group again")
                self._group.rejoin()

    def _tell(self, heard: Heard) -> None:
        if self._silent:
            return
        for listener in list(self._listeners):
            listener(heard)

    def _answer(self, answer: Answer) -> None:
        future = self._waiting.get(answer.id)
        if future is None or future.done():
            return
        match answer.outcome:
            case Outcome.DONE:
                future.set_result(answer.version)
            case Outcome.CONFLICT:
                future.set_exception(Conflict(answer.text))
            case Outcome.NO_QUORUM:
                future.set_exception(NoQuorum(answer.text))
            case Outcome.UNKNOWN:
                future.set_exception(OutcomeUnknown(answer.text))

    def _publish_again(self) -> None:
        """New members know nothing of what was published before them."""
        for (node, key), (value, ttl) in self.published().items():
            if node == self.node:
                self.feed(Tell(key, value, ttl))

    def _synced(self, serial: int) -> None:
        if self._show is None:
            self._promise(serial)
        else:
            self._show(lambda: self._promise(serial))

    def _promise(self, serial: int) -> None:
        synced = DiskSynced(serial)
        self.feed(synced)
        self._tell(synced)

    def _disk_refused(self, sentence: str) -> None:
        self.feed(DiskRefused(sentence))

    def _disk_failed(self, sentence: str) -> None:
        log.error("%s; this node leaves the store's group and is read-only", sentence)
        self._broken = sentence
        self.feed(Left(sentence))
        self._group.leave(sentence)
