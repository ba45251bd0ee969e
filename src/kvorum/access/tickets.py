"""What statements say: a user's ticket, and one node's word to another.

    PVE:USER@REALM:HEXTIME::SIGNATURE     a login, for two hours
    PVE:!tfa!CHALLENGE:HEXTIME::SIGNATURE the password was right, a second factor is still asked for
    PVEVNC:HEXTIME::SIGNATURE             a console of one object for one user, for 40 seconds
    pvespiceproxy:HEXTIME:VMID:NODE:SESSION:SIGNATURE   a guest's SPICE session, for 40 seconds
    node:FROM:TO:CALL:HEXTIME::SIGNATURE  one call from a node's root daemon, for a minute

The challenge is percent-encoded JSON; its user, and a console's user and path, are signed without being said.

A node's ticket is good for one verb and path at one node, so that a front end that was broken into there
can't use what passes through it for anything else, or anywhere else.

A SPICE ticket travels as a host's name, which clients put into lower case and GLib ends at 1,021 characters:
its signature is in base32. Whose it is and the password are known to the guest's node alone; it keeps
strangers out of the proxies between.

A clock that is behind or ahead by ``CLOCK_TOLERANCE_S`` is tolerated: that much is added to both ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access.signing import CLOCK_TOLERANCE_S, age_s, sign, signature, signed_by, stamp, verified
from kvorum.core.spice_names import PREFIX

TICKET_LIFETIME_S = 2 * 3600
NODE_TICKET_LIFETIME_S = 60
CHALLENGE_LIFETIME_S = 300
CONSOLE_TICKET_LIFETIME_S = 40
_SPICE = re.compile(
    rf"({PREFIX}:([0-9a-f]{{8,12}}):(\d{{1,9}}):([a-z0-9-]{{1,63}}):([0-9a-f]{{16}})):([a-z2-7]{{1,900}})"
)


def user_ticket(key: rsa.RSAPrivateKey, user: str, now: float) -> str:
    """A ticket for ``user`` (``name@realm``), issued at ``now`` in Unix seconds."""
    return sign(key, f"PVE:{user}:{stamp(now)}")


class Login(NamedTuple):
    """What a user's ticket says."""

    user: str
    issued: float
    """In Unix seconds."""

    def valid(self, now: float) -> bool:
        """Whether it counts at ``now`` (Unix seconds): neither too old nor of the future."""
        return -CLOCK_TOLERANCE_S <= now - self.issued <= TICKET_LIFETIME_S


def ticket_login(statement: str) -> Login | None:
    """What a verified statement says as a user's ticket, or ``None`` when it is none."""
    prefix, _, rest = statement.partition(":")
    user, _, issued = rest.rpartition(":")
    age = age_s(issued, 0.0)
    if prefix != "PVE" or "@" not in user or user.startswith("!") or age is None:
        return None
    return Login(user, -age)


def challenge_ticket(key: rsa.RSAPrivateKey, user: str, challenge: str, now: float) -> str:
    """What a user who knew the password gets until the second factor is shown; it opens nothing."""
    return sign(key, f"PVE:!tfa!{quote(challenge, safe='')}:{stamp(now)}", user)


def challenge_valid(keys: Sequence[rsa.RSAPublicKey], ticket: str, user: str, now: float) -> bool:
    """Whether this user was given this challenge, not long ago."""
    statement = verified(keys, ticket, user) or ""
    prefix, _, issued = statement.rpartition(":")
    return prefix.startswith("PVE:!tfa!") and _counts(issued, now, CHALLENGE_LIFETIME_S)


def console_ticket(key: rsa.RSAPrivateKey, user: str, path: str, now: float) -> str:
    """A ticket for the console of what lies at ``path``."""
    return sign(key, f"PVEVNC:{stamp(now)}", f"{user}:{path}")


def console_ticket_valid(
    keys: Sequence[rsa.RSAPublicKey], ticket: str, user: str, path: str, now: float
) -> bool:
    """Whether this is the ticket of this user for the console at ``path``, and still young enough."""
    prefix, _, issued = (verified(keys, ticket, f"{user}:{path}") or "").partition(":")
    return prefix == "PVEVNC" and _counts(issued, now, CONSOLE_TICKET_LIFETIME_S)


@dataclass(frozen=True, slots=True)
class SpiceTicket:
    """Which SPICE session a client wants to come to."""

    vmid: int
    node: str
    """In lower case."""
    session: str
    """16 hexadecimal digits."""


def spice_ticket(key: rsa.RSAPrivateKey, ticket: SpiceTicket, now: float) -> str:
    """A SPICE session's ticket as a host's name, issued at ``now`` in Unix seconds."""
    text = f"{PREFIX}:{stamp(now).lower()}:{ticket.vmid}:{ticket.node.lower()}:{ticket.session}"
    return f"{text}:{base64.b32encode(signature(key, text)).decode().rstrip('=').lower()}"


def spice_ticket_of(keys: Sequence[rsa.RSAPublicKey], ticket: str, now: float) -> SpiceTicket | None:
    """What a SPICE ticket says, or ``None`` when no key signed it, or too long ago."""
    found = _SPICE.fullmatch(ticket.lower())
    if found is None:
        return None
    text, issued, vmid, node, session, encoded = found.groups()
    try:
        signed = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8))
    except binascii.Error:
        return None
    fresh = _counts(issued, now, CONSOLE_TICKET_LIFETIME_S + CLOCK_TOLERANCE_S)
    return SpiceTicket(int(vmid), node, session) if fresh and signed_by(keys, signed, text) else None


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
    return parts[1] if _counts(parts[4], now, NODE_TICKET_LIFETIME_S + CLOCK_TOLERANCE_S) else None


def _counts(issued: str, now: float, until_s: float) -> bool:
    """Whether what was issued then (as statements carry it) is neither older than that nor of the future."""
    age = age_s(issued, now)
    return age is not None and -CLOCK_TOLERANCE_S <= age <= until_s
