"""The token that shows a change was meant by the page that holds it, and not by another site's form.

``HEXTIME:HASH``, the hash an HMAC of time and user under the cluster's ``pve-www.key``. A ticket comes in a
cookie, which a browser sends along by itself; this comes in a header, which it never does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from kvorum.access.signing import CLOCK_TOLERANCE_S, age_s, stamp
from kvorum.access.tickets import TICKET_LIFETIME_S


def csrf_token(secret: bytes, user: str, now: float) -> str:
    """The token for a user's changes from ``now`` (Unix seconds) on."""
    return _token(secret, user, stamp(now))


def csrf_valid(secret: bytes, user: str, token: str, now: float) -> bool:
    """Whether ``token`` is this user's and still young enough; compared in constant time."""
    issued = token.partition(":")[0]
    age = age_s(issued, now)
    if age is None or not -CLOCK_TOLERANCE_S <= age <= TICKET_LIFETIME_S:
        return False
    expected = _token(secret, user, issued)
    return hmac.compare_digest(expected.encode(), token.encode("utf-8", "surrogateescape"))


def _token(secret: bytes, user: str, issued: str) -> str:
    digest = hmac.new(secret, f"{issued}:{user}".encode(), hashlib.sha256).digest()
    return f"{issued}:{base64.b64encode(digest).rstrip(b'=').decode()}"
