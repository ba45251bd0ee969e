"""Second factors: one-time passwords (RFC 6238, by pyotp) and recovery keys that count once each."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from dataclasses import replace

import pyotp

from kvorum.access.changes import Draft, change, read_factors
from kvorum.access.files.tfa_cfg import Recovery, TotpFactor, UserFactors
from kvorum.access.signing import Clock, wall_clock
from kvorum.core.errors import AuthenticationError, NoQuorum
from kvorum.store import Store

log = logging.getLogger(__name__)

FAILURE = "authentication failure"
WINDOW = 1
"""How many time steps a generator's clock may be off."""
FAILURES_UNTIL_LOCKED = 8
RECOVERY_KEYS = 10
_LOW = 3
_MAX_REMEMBERED = 10_000


class SecondFactor:
    """Checks second factors and notes which were used."""

    def __init__(self, store: Store, clock: Clock = wall_clock) -> None:
        self._store = store
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._used: dict[tuple[str, str], int] = {}

    def challenge(self, user: str) -> str | None:
        """What a login of this user is asked for, as JSON; ``None`` when the password is enough.

        Raises ``KvorumError`` when tfa.cfg can't be read: then nobody gets in by a password alone.
        """
        factors = read_factors(self._store).of(user)
        if not factors.asked_for:
            return None
        asked: dict[str, object] = {"totp": any(f.enable for f in factors.totp) and not factors.locked}
        if left := factors.recovery_left:
            asked["recovery"] = "low" if left <= _LOW else "available"
        return json.dumps(asked, separators=(",", ":"))

    async def check(self, user: str, kind: str, answer: str) -> None:
        """Return when the answer is right, and note that it was used.

        A one-time password counts once in the cluster; without quorum once on each node. Raises
        ``AuthenticationError`` for a wrong one, ``NoQuorum`` for a recovery key that can't be crossed off.
        """
        factors = read_factors(self._store).of(user)
        after = self._taken(user, factors, kind, answer)
        if after is None:
            await self._count_failure(user, kind)
            raise AuthenticationError(FAILURE)
        self._failures.pop(user, None)

        def note(draft: Draft) -> None:
            again = self._taken(user, draft.factors.of(user), kind, answer)
            if again is None:
                raise AuthenticationError(FAILURE)
            draft.factors = draft.factors.put(user, again)

        try:
            await change(self._store, note, who=user)
        except NoQuorum:
            if kind != "totp":
                raise
        self._remember(user, after)

    def _taken(self, user: str, factors: UserFactors, kind: str, answer: str) -> UserFactors | None:
        if kind == "recovery":
            return _with_recovery_used(factors, answer)
        if kind != "totp" or factors.locked:
            return None
        for index, factor in enumerate(factors.totp):
            last = max(factor.last_count, self._used.get((user, factor.id), 0))
            count = matching_count(factor, answer, self._clock(), last) if factor.enable else None
            if count is not None:
                changed = replace(factor, last_count=count)
                return replace(factors, totp=(*factors.totp[:index], changed, *factors.totp[index + 1 :]))
        return None

    def _remember(self, user: str, factors: UserFactors) -> None:
        if len(self._used) > _MAX_REMEMBERED:
            self._used.clear()
        for factor in factors.totp:
            self._used[user, factor.id] = factor.last_count

    async def _count_failure(self, user: str, kind: str) -> None:
        """Lock a user's one-time passwords after too many wrong ones in a row."""
        if kind != "totp":
            return
        if len(self._failures) > _MAX_REMEMBERED:
            self._failures.clear()
        failures = self._failures[user] = self._failures.get(user, 0) + 1
        if failures < FAILURES_UNTIL_LOCKED:
            return
        del self._failures[user]
        log.warning("one-time passwords of '%s' are locked after %d wrong ones", user, failures)

        def lock(draft: Draft) -> None:
            factors = draft.factors.of(user)
            if factors.totp and not factors.locked:
                draft.factors = draft.factors.put(user, replace(factors, locked=True))

        try:
            await change(self._store, lock, who=user)
        except NoQuorum:
            self._failures[user] = failures


def matching_count(factor: TotpFactor, answer: str, now: float, last: int) -> int | None:
    """The time step whose password this is, later than ``last``; ``None`` when it is none."""
    generator = read_uri(factor.uri)
    if generator is None or not answer.isascii() or not answer.isdigit():
        return None
    present = int(now) // generator.interval
    for count in range(present - WINDOW, present + WINDOW + 1):
        if count > last and hmac.compare_digest(generator.generate_otp(count), answer):
            return count
    return None


def read_uri(uri: str) -> pyotp.TOTP | None:
    """The generator an ``otpauth://totp/…`` address describes; ``None`` when it is none we can use."""
    try:
        generator = pyotp.parse_uri(uri)
        if (
            not isinstance(generator, pyotp.TOTP)
            or len(generator.byte_secret()) < 10
            or generator.interval < 10
        ):
            return None
    except ValueError:
        return None
    return generator


def make_recovery(now: float) -> tuple[Recovery, tuple[str, ...]]:
    """New recovery keys: what is kept of them, and the keys to show once."""
    shown = tuple("-".join(secrets.token_hex(2) for _ in range(4)) for _ in range(RECOVERY_KEYS))
    return Recovery(int(now), tuple(_hash(key) for key in shown)), shown


def _with_recovery_used(factors: UserFactors, answer: str) -> UserFactors | None:
    """The factors after this key was used, which also unlocks one-time passwords; ``None`` if it is none."""
    if factors.recovery is None:
        return None
    given = _hash(answer.strip().lower())
    for index, kept in enumerate(factors.recovery.entries):
        if kept is not None and hmac.compare_digest(kept, given):
            entries = (*factors.recovery.entries[:index], None, *factors.recovery.entries[index + 1 :])
            return replace(factors, recovery=replace(factors.recovery, entries=entries), locked=False)
    return None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
