"""priv/tfa.cfg: the second factors of each user, as JSON.

    {"users": {"joe@pve": {"totp": [{"id", "description", "created", "enable", "entry": "otpauth://…"}],
                           "recovery": {"created", "entries": ["hash or null if used", …]},
                           "totp-locked": true}}}

Kinds of factors that this version does not know, and all other keys, are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from kvorum.core.errors import KvorumError

FILE = "priv/tfa.cfg"


@dataclass(frozen=True, slots=True)
class TotpFactor:
    """One generator of one-time passwords (RFC 6238)."""

    id: str
    description: str
    created: int
    uri: str = field(repr=False)
    """``otpauth://…`` with the secret."""
    enable: bool = True
    last_count: int = 0
    """The time step of the last password that was taken; it and those before are not taken again."""
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Keys that each count once, hashed; ``None`` where used."""

    created: int
    entries: tuple[str | None, ...] = field(repr=False)
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class UserFactors:
    """All second factors of one user."""

    totp: tuple[TotpFactor, ...] = ()
    recovery: Recovery | None = None
    locked: bool = False
    """Too many wrong one-time passwords: only a recovery key gets in, until an admin unlocks it."""
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def asked_for(self) -> bool:
        """Whether a login needs a second factor: also when it is one this version can't check."""
        foreign = any(self.more.get(kind) for kind in ("u2f", "webauthn", "yubico"))
        return foreign or self.recovery_left > 0 or any(factor.enable for factor in self.totp)

    @property
    def recovery_left(self) -> int:
        """How many recovery keys have not been used."""
        return sum(entry is not None for entry in self.recovery.entries) if self.recovery else 0


@dataclass(frozen=True, slots=True)
class TfaConfig:
    """All of tfa.cfg; immutable."""

    users: Mapping[str, UserFactors] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> TfaConfig:
        """Read the file's text; raises ``KvorumError`` for what is no such file: nobody gets round it."""
        if not text.strip():
            return cls()
        try:
            raw = dict(msgspec.json.decode(text, type=dict[str, Any]))
            users = {name: _user(dict(entry)) for name, entry in dict(raw.pop("users", {})).items()}
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise KvorumError(
                f"'{FILE}' can't be read: set it right or restore it from its history"
            ) from None
        return cls(users, raw)

    def render(self) -> str:
        """The file's text."""
        users = {name: _plain(factors) for name, factors in sorted(self.users.items())}
        return msgspec.json.encode({**self.more, "users": users}).decode() + "\n"

    def of(self, user: str) -> UserFactors:
        """A user's factors."""
        return self.users.get(user, UserFactors())

    def put(self, user: str, factors: UserFactors) -> TfaConfig:
        """With a user's factors replaced; one without any is left out."""
        users = {**self.users, user: factors}
        if factors == UserFactors():
            del users[user]
        return replace(self, users=users)


def _user(raw: dict[str, Any]) -> UserFactors:
    totp = tuple(_totp(dict(entry)) for entry in raw.pop("totp", []))
    recovery = _recovery(dict(found)) if isinstance(found := raw.pop("recovery", None), dict) else None
    locked = bool(raw.pop("totp-locked", False))
    return UserFactors(totp, recovery, locked, raw)


def _totp(raw: dict[str, Any]) -> TotpFactor:
    return TotpFactor(
        id=str(raw.pop("id")),
        description=str(raw.pop("description", "")),
        created=int(raw.pop("created", 0)),
        uri=str(raw.pop("entry")),
        enable=bool(raw.pop("enable", True)),
        last_count=int(raw.pop("last_count", 0)),
        more=raw,
    )


def _recovery(raw: dict[str, Any]) -> Recovery:
    entries = tuple(entry if entry is None else str(entry) for entry in raw.pop("entries"))
    return Recovery(int(raw.pop("created", 0)), entries, raw)


def _plain(factors: UserFactors) -> dict[str, Any]:
    found: dict[str, Any] = dict(factors.more)
    if factors.totp:
        found["totp"] = [
            {
                **f.more,
                "id": f.id,
                "description": f.description,
                "created": f.created,
                "enable": f.enable,
                "entry": f.uri,
                "last_count": f.last_count,
            }
            for f in factors.totp
        ]
    if factors.recovery is not None:
        kept = factors.recovery
        found["recovery"] = {**kept.more, "created": kept.created, "entries": list(kept.entries)}
    if factors.locked:
        found["totp-locked"] = True
    return found
