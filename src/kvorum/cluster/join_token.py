"""Join tokens: a node's way into a cluster without root's password. Pure but for the secret's randomness.

What an admin carries holds where to go, whom to expect there (the fingerprint) and 128 random bits. The
cluster keeps their hash in ``priv/join-tokens.json``, readable by root alone. A token is for one node: the
first that uses it may repeat its own join until the token expires, so that a broken one can be tried again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import msgspec

from kvorum.core.errors import AuthenticationError, ParameterError

FILE = "priv/join-tokens.json"
PREFIX = "kvorum-join-"
SECRET_BYTES = 16
MOST = 100
"""How many are kept; the oldest go first."""
KEPT_S = 86_400
"""How long an expired one is kept, to be told from one that never was."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the token's text says to the node that joins."""

    address: str
    fingerprint: str
    links: Mapping[int, str]
    """The addresses of the node it was made at, by link."""
    secret: str

    def text(self) -> str:
        """The token as it is copied and shown as QR."""
        parts = (self.address, bytes.fromhex(self.fingerprint.replace(":", "")), dict(self.links))
        packed = msgspec.msgpack.encode((1, *parts, bytes.fromhex(self.secret)))
        return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_ticket(text: str) -> Ticket:
    """Parse a token's text; raises ``ParameterError``."""
    wrong = ParameterError({"token": "is no join token, or not all of it: copy what 'pvecm token' printed"})
    coded = text.strip().removeprefix(PREFIX)
    if coded == text.strip() or len(coded) > 2000:
        raise wrong
    try:
        packed = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        version, address, digest, links, secret = msgspec.msgpack.decode(
            packed, type=tuple[int, str, bytes, dict[int, str], bytes]
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise wrong from None
    if version != 1 or len(digest) != 32 or len(secret) != SECRET_BYTES:
        raise wrong
    return Ticket(address, digest.hex(":").upper(), links, secret.hex())


@dataclass(frozen=True, slots=True)
class Kept:
    """What the cluster keeps of a token."""

    id: str
    hash: str
    """SHA-256 of the secret, which is random enough to need no more."""
    expires: int
    """Unix seconds."""
    by: str
    node: str = ""
    """The node that used it."""
    used: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """The file."""

    rows: tuple[Kept, ...] = field(default=())

    @classmethod
    def read(cls, text: str) -> Tokens:
        """Parse it; a file that can't be read holds no token."""
        try:
            return cls(tuple(Kept(**row) for row in json.loads(text)))
        except (ValueError, TypeError):
            return cls()

    def text(self) -> str:
        """The file's text."""
        return json.dumps([asdict(row) for row in self.rows], indent=1) + "\n"

    def made(self, by: str, minutes: int, now: float, secret: str | None = None) -> tuple[Tokens, Kept, str]:
        """With a new token; returns it and its secret, which is nowhere else (or where it was given from)."""
        secret = secret or new_secret()
        kept = Kept(secrets.token_hex(3), _hash(secret), int(now) + 60 * minutes, by)
        rows = [row for row in self.rows if row.expires > now - KEPT_S]
        return Tokens((*rows, kept)[-MOST:]), kept, secret

    def revoked(self, id: str) -> Tokens:
        """Without one; raises ``ParameterError`` when there is none of this id."""
        if all(row.id != id for row in self.rows):
            raise ParameterError({"revoke": f"there is no join token '{id}': see 'pvecm tokens'"})
        return Tokens(tuple(row for row in self.rows if row.id != id))

    def without_node(self, node: str) -> Tokens:
        """Without those that a node came with: it has left."""
        return Tokens(tuple(row for row in self.rows if row.node != node))

    def check(self, secret: str, now: float, node: str = "") -> Kept:
        """The token with this secret, good for ``node``; raises ``AuthenticationError`` with the reason."""
        digest = _hash(secret)
        found = next((row for row in self.rows if hmac.compare_digest(row.hash, digest)), None)
        if found is None:
            raise AuthenticationError(
                "this join token is not one of this cluster (any more): make a new one with 'pvecm token'"
            )
        if found.node and found.node != node:
            raise AuthenticationError(
                f"this join token was used by node '{found.node}' at {_time(found.used)}: a token is for one "
                "node, make another with 'pvecm token'"
            )
        if found.expires <= now:
            raise AuthenticationError(
                f"this join token expired at {_time(found.expires)}: make a new one with 'pvecm token'"
            )
        return found

    def check_open(self, secret: str, now: float) -> Kept:
        """As ``check``, for a node that has not said its name: one that was used may ask again."""
        used = next((row.node for row in self.rows if hmac.compare_digest(row.hash, _hash(secret))), "")
        return self.check(secret, now, used)

    def brought(self, secret: str, node: str) -> bool:
        """Whether a node came with this token, also one that has expired since."""
        digest = _hash(secret)
        return any(row.node == node and hmac.compare_digest(row.hash, digest) for row in self.rows)

    def used_by(self, kept: Kept, node: str, now: float) -> Tokens:
        """With this token bound to the node that came with it."""
        bound = replace(kept, node=node, used=int(now))
        return Tokens(tuple(bound if row.id == kept.id else row for row in self.rows))


def new_secret() -> str:
    """128 random bits."""
    return secrets.token_hex(SECRET_BYTES)


def states(rows: Sequence[Kept], now: float) -> list[dict[str, object]]:
    """What is shown of tokens: nothing that would let anybody in."""
    return [
        {
            "id": row.id,
            "by": row.by,
            "expires": row.expires,
            "state": f"used by {row.node}" if row.node else "expired" if row.expires <= now else "open",
        }
        for row in rows
    ]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
