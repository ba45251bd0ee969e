"""What replicas tell each other, as MessagePack.

The wire format is append-only: fields are added at the end with a default, tags and positions are never
reused. A change that old replicas would misread needs a new ``frames.WIRE_VERSION``.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from kvorum.store.face import Expect, File, Operation


class View(msgspec.Struct, frozen=True, array_like=True):
    """A membership that may write: its number, who is in it (node id to name), when it was formed."""

    number: int = 0
    members: dict[int, str] = {}
    time: float = 0.0
    """Unix seconds, for people."""
    history: str = ""
    """Which cluster's configuration this is; made with the first view, kept ever after."""


class Ballot(msgspec.Struct, frozen=True, array_like=True):
    """What one node knows of votes: its own, all that could be cast, and the QDevice's."""

    votes: int = 1
    expected: int = 1
    """All votes of the cluster, the QDevice's included."""
    qdevice: int = 0
    """The QDevice's votes where Corosync says that our partition has them, else 0."""
    settled: bool = False
    """The QDevice's vote has been held for longer than any other partition may still believe it has it."""
    adopt: bool = False
    """An admin decided that this partition's history is the one to go on with."""


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Which requests of one daemon's life were carried out: all up to ``seq`` but ``failed``."""

    seq: int
    version: int
    """The store's version at ``seq``; the oldest origins are forgotten first."""
    failed: tuple[int, ...] = ()


class Tag(msgspec.Struct, frozen=True, array_like=True):
    """Names one round of comparing states: the ring, the members in it, and which attempt."""

    ring: tuple[int, int]
    """Totem's ring id: (representative's node id, sequence)."""
    members: tuple[tuple[int, int], ...]
    """(node id, process id), sorted."""
    attempt: int


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """A lease as its last grant has it."""

    name: str
    owner: str
    seconds: float
    number: int
    """Of all grants in the cluster."""


class State(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A member's standing at the start of a round."""

    tag: Tag
    name: str
    view: View
    """The newest view this member has formed or heard of."""
    last_view: int
    """The number of the view in which the last entry of this member's history was made."""
    version: int
    root: bytes
    """Checksum of the whole tree."""
    direct: bool
    """In ``view`` without a moment without quorum since."""
    ballot: Ballot
    applied: dict[str, Origin]
    time: float
    leases: tuple[Lease, ...] = ()
    lease_count: int = 0
    forgotten_for: float = 0.0
    """Seconds for which leases may run that the sender does not know of."""
    reach: bytes = b""
    """How the sender is reached past the group (``Whisper``); empty when it is not."""


class Votes(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A member's votes changed without a change of members."""

    ballot: Ballot


class Index(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """What a member that lags has: path to checksum."""

    tag: Tag
    entries: dict[str, bytes]


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A piece of the leader's difference to what ``to`` has."""

    tag: Tag
    to: int
    last: bool
    files: tuple[File, ...] = ()
    directories: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The sender has the leader's history, and the view to be, on disk."""

    tag: Tag


class Change(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A request; version 2 also sent it as a message of its own."""

    view: int
    origin: str
    seq: int
    floor: int
    """The sender's lowest request that is not answered yet."""
    operations: tuple[Operation, ...]
    expect: tuple[Expect, ...]
    who: str
    time: float
    """Unix seconds by the sender's clock; becomes the files' mtime."""


class OnDisk(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The sender has everything up to ``place`` of the view's order on disk; told to who waits for it."""

    view: int
    place: int


class Publish(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A value in memory only, under the sender's name."""

    name: str
    key: str
    value: bytes
    ttl: float
    """Seconds."""


class Changes(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Requests of one sender, one after the other, for the view's first member to put into its order."""

    changes: tuple[Change, ...]
    after: int = 0
    """The last request of the sender's message before this one in the view; 0 when this is the first."""


class Hold(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A claim to a lease, its renewal, or with no seconds its end."""

    view: int
    claim: int
    """Names the claim at its sender."""
    name: str
    owner: str
    seconds: float
    follows: int
    """The number of the grant that this one follows; 0 when nobody had the lease."""


class Held(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The sender has heard that this claim of ``claimant`` counts."""

    view: int
    claimant: int
    claim: int


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """The sender waits in vain for a whisper: say ``OnDisk`` of ``place`` to all, and for a while."""

    view: int
    place: int


class Ordered(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """What the view's first member has put into its order: a member's requests, and their number."""

    view: int
    number: int
    """1 is the first after the view's beginning, with no gaps."""
    sender: int
    changes: tuple[Change, ...]


class Lack(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The sender has the view's order up to ``place`` and waits in vain for more of it."""

    view: int
    place: int


Message: TypeAlias = (
    State | Votes | Index | Piece | Ready | OnDisk | Publish | Changes | Hold | Held | Ask | Ordered | Lack
)

WHISPERED = (OnDisk, Ordered, Changes)
"""What is said past the group's order, too; all else is said in it alone."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The message as MessagePack, without the frames' header."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """The message in ``data``; raises ``ValueError`` when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{len(data)} bytes are no message of the store: {error}") from error
