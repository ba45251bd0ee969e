"""What statements say: a user's ticket, and one node's word to another.

    PVE:USER@REALM:HEXTIME::SIGNATURE     a login, for two hours
    node:NAME:HEXTIME::SIGNATURE          a call from a node's root daemon, for a minute

A clock that is behind or ahead by ``CLOCK_TOLERANCE_S`` is tolerated: that much is added to both ends.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def node_ticket(key: rsa.RSAPrivateKey, node: str, now: float) -> str:
    """A node's word, issued at ``now`` in Unix seconds."""
    return sign(key, f"node:{node}:{stamp(now)}")


def ticket_node(keys: Sequence[rsa.RSAPublicKey], ticket: str, now: float) -> str | None:
    """Which node gave its word in ``ticket``, or ``None`` when none of the cluster's did, or too long ago."""
    statement = verified(keys, ticket)
    parts = statement.split(":") if statement else []
    if len(parts) != 3 or parts[0] != "node":
        return None
    age = age_s(parts[2], now)
    if age is None or not -CLOCK_TOLERANCE_S <= age <= NODE_TICKET_LIFETIME_S + CLOCK_TOLERANCE_S:
        return None
    return parts[1]
