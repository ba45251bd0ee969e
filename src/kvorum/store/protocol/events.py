"""What happens to a replica (events), and what it wants done (effects)."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from kvorum.store.face import Change, Expect, File, Operation, Write
from kvorum.store.protocol.messages import Ballot, Origin, View


class MembersChanged(msgspec.Struct, frozen=True):
    """The group has new members: (node id, process id) each, in the ring named by Totem."""

    ring: tuple[int, int]
    members: frozenset[tuple[int, int]]
    now: float
    """Unix seconds, for people only."""
    reach: bytes = b""
    """How the others reach this node past the group, for this ring; empty when they can't."""


class Left(msgspec.Struct, frozen=True):
    """This replica is in the group no more; ``reason`` is a sentence."""

    reason: str


class Moved(msgspec.Struct, frozen=True):
    """Members reach this node past the group at another address from now on; ``reason`` is a sentence."""

    reason: str


class Deliver(msgspec.Struct, frozen=True):
    """A frame, in the one order of the group."""

    sender: int
    frame: bytes


class Whispered(msgspec.Struct, frozen=True):
    """What a member of this ring told past the group's order: early, late, twice, or never."""

    sender: int
    frame: bytes


class BallotChanged(msgspec.Struct, frozen=True):
    """What this node knows of votes changed."""

    ballot: Ballot


class DiskSynced(msgspec.Struct, frozen=True):
    """All records up to ``serial`` are on disk."""

    serial: int


class DiskRefused(msgspec.Struct, frozen=True):
    """The disk takes nothing now and is tried on; ``reason`` is a sentence. ``DiskSynced`` ends it."""

    reason: str


class Clock(msgspec.Struct, frozen=True):
    """It is ``now``, in seconds of a clock that never goes back and runs on while this process is frozen.

    Told at least twice a second, and before any other event when the last time is longer ago.
    """

    now: float


class Request(msgspec.Struct, frozen=True):
    """A local caller wants a change."""

    id: int
    operations: tuple[Operation, ...]
    expect: tuple[Expect, ...]
    who: str
    now: float

    @property
    def size(self) -> int:
        """The bytes of the contents it carries."""
        return sum(len(one.data) for one in self.operations if isinstance(one, Write))


class Cancel(msgspec.Struct, frozen=True):
    """The caller of a request waits no longer."""

    id: int


class Urge(msgspec.Struct, frozen=True):
    """A request has waited for long; to be told again, less and less often, until it is answered."""


class Claim(msgspec.Struct, frozen=True):
    """A local caller wants a lease, renews it, or with no ``seconds`` lets it go; ended by ``Answer``."""

    id: int
    name: str
    owner: str
    seconds: float


class TimerExpired(msgspec.Struct, frozen=True):
    """The timer with this number ran out; older numbers are stale."""

    number: int


class Tell(msgspec.Struct, frozen=True):
    """A local caller publishes a value in memory."""

    key: str
    value: bytes
    ttl: float


Event: TypeAlias = (
    MembersChanged
    | Left
    | Moved
    | Deliver
    | Whispered
    | BallotChanged
    | DiskSynced
    | DiskRefused
    | Clock
    | Request
    | Cancel
    | Urge
    | Claim
    | TimerExpired
    | Tell
)


class Multicast(msgspec.Struct, frozen=True):
    """Send these frames to the group, in order, this node included."""

    frames: tuple[bytes, ...]


class Whisper(msgspec.Struct, frozen=True):
    """Tell these members, past the group's order; it may be lost, to each of them."""

    to: tuple[int, ...]
    frame: bytes


class Meet(msgspec.Struct, frozen=True):
    """From now on these are the members that can be whispered to: node id to how it is reached."""

    reach: dict[int, bytes]


class Record(msgspec.Struct, frozen=True):
    """One step of the history, to be written in one piece."""

    serial: int
    version: int
    last_view: int
    view: View | None = None
    """The newest view, when it changed."""
    changes: tuple[Change, ...] = ()
    before: tuple[File | None, ...] = ()
    """What was at each change's path before."""
    origins: dict[str, Origin] | None = None
    """All origins, when they were replaced; else only ``origin`` changed."""
    origin: tuple[str, Origin] | None = None
    who: str = ""
    node: str = ""
    time: float = 0.0


class Persist(msgspec.Struct, frozen=True):
    """Write the record to disk and say so with ``DiskSynced``."""

    record: Record


class Outcome(enum.Enum):
    """How a request ended."""

    DONE = "done"
    CONFLICT = "conflict"
    NO_QUORUM = "no quorum"
    UNKNOWN = "unknown"


class Answer(msgspec.Struct, frozen=True):
    """Tell the caller of a request how it ended."""

    id: int
    outcome: Outcome
    version: int = 0
    text: str = ""


class Changed(msgspec.Struct, frozen=True):
    """Tell watchers what changed; ``root`` is the whole tree's checksum after it."""

    version: int
    changes: tuple[Change, ...]
    root: bytes
    node: str = ""
    """The name of the node whose request it was; empty where it was none's or was fetched."""


class Status(msgspec.Struct, frozen=True):
    """Whether this replica may write, and why not."""

    writable: bool
    changing: bool
    """Not known yet: members are comparing their states."""
    reason: str
    members: frozenset[int]


class StatusChanged(msgspec.Struct, frozen=True):
    """Tell watchers of a new status."""

    status: Status


class StartTimer(msgspec.Struct, frozen=True):
    """Send ``TimerExpired`` with this number after a while; only the newest number counts."""

    number: int
    seconds: float


class Published(msgspec.Struct, frozen=True):
    """A node published a value."""

    node: str
    key: str
    value: bytes
    ttl: float


class LeaseTaken(msgspec.Struct, frozen=True):
    """A lease was granted or renewed, as this replica heard; with no ``seconds`` it was let go."""

    name: str
    owner: str
    seconds: float


class Leave(msgspec.Struct, frozen=True):
    """Leave the group for good; ``reason`` is a sentence."""

    reason: str


class Withdraw(msgspec.Struct, frozen=True):
    """Leave the group until ``Rejoin``; ``reason`` is a sentence. Nothing of it is told meanwhile."""

    reason: str


class Rejoin(msgspec.Struct, frozen=True):
    """Join the group again after ``Withdraw``."""


class Note(msgspec.Struct, frozen=True):
    """A sentence for the log."""

    text: str


Effect: TypeAlias = (
    Multicast
    | Whisper
    | Meet
    | Persist
    | Answer
    | Changed
    | StatusChanged
    | StartTimer
    | Published
    | LeaseTaken
    | Leave
    | Withdraw
    | Rejoin
    | Note
)
