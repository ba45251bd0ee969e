"""What statements say: a user's ticket, and one node's word to another.

    PVE:USER@REALM:HEXTIME::SIGNATURE     a login, for two hours
    node:FROM:TO:CALL:HEXTIME::SIGNATURE  one call from a node's root daemon, for a minute

A node's ticket is good for one verb and path at one node, so that a front end that was broken into there
can't use what passes through it for anything else, or anywhere else.

A clock that is behind or ahead by ``CLOCK_TOLERANCE_S`` is tolerated: that much is added to both ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access.signing import CLOCK_TOLERANCE_S, age_s, sign, stamp, verified

TICKET_LIFETIME_S = 2 * 3600
NODE_TICKET_LIFETIME_S = 60


def user_ticket(key: rsa.RSAPrivateKey, user: str, now: float) -> str:
    """A ticket for ``user`` (``name@realm``), issued at ``now`` in Unix seconds."""
    return sign(key, f"PVE:{user}:{stamp(now)}")


def ticket_user(statement: str, now: float) -> str | None:
    """Whose ticket a verified statement is, or ``None`` when it is none or not valid at ``now``."""
    prefix, _, rest = statement.partition(":")
    user, _, issued = rest.rpartition(":")
    if prefix != "PVE" or "@" not in user:
        return None
    age = age_s(issued, now)
    if age is None or not -CLOCK_TOLERANCE_S <= age <= TICKET_LIFETIME_S:
        return None
    return user


@dataclass(frozen=True, slots=True)
class NodeCall:
    """One call to a node."""

    to: str
    verb: str
    path: str
    """Without ``/api2/json``, not percent-encoded."""

    @property
    def digest(self) -> str:
        """The call in a form without colons."""
        return hashlib.sha256(f"{self.verb} {self.path}".encode()).hexdigest()[:32]


def node_ticket(key: rsa.RSAPrivateKey, node: str, call: NodeCall, now: float) -> str:
    """A node's word for one call, issued at ``now`` in Unix seconds."""
    return sign(key, f"node:{node}:{call.to}:{call.digest}:{stamp(now)}")


def ticket_node(keys: Sequence[rsa.RSAPublicKey], ticket: str, call: NodeCall, now: float) -> str | None:
    """Which node gave its word for this very call, or ``None`` when none did, or too long ago."""
    statement = verified(keys, ticket)
    parts = statement.split(":") if statement else []
    if len(parts) != 5 or parts[0] != "node" or parts[2:4] != [call.to, call.digest]:
        return None
    age = age_s(parts[4], now)
    if age is None or not -CLOCK_TOLERANCE_S <= age <= NODE_TICKET_LIFETIME_S + CLOCK_TOLERANCE_S:
        return None
    return parts[1]
