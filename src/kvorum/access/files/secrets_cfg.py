"""The files under priv/ that hold a secret per name: shadow.cfg (``user:hash:``) and token.cfg (``id hash``).

What is kept is a hash each time: argon2id (RFC 9106) of passwords, which people choose; SHA-256 of tokens,
which are 122 random bits. A token's bare UUID, as files brought along have it, is understood too.
Lines that are not understood are kept as they are.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

SHADOW = "priv/shadow.cfg"
TOKENS = "priv/token.cfg"

_HASHED = "$sha256$"


@dataclass(frozen=True, slots=True)
class _SecretFile:
    """Names and what is kept of their secrets."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)

    def put(self, name: str, kept: str) -> Self:
        """With this entry set."""
        return replace(self, secrets={**self.secrets, name: kept})

    def without(self, *names: str) -> Self:
        """Without these entries."""
        return replace(self, secrets={n: kept for n, kept in self.secrets.items() if n not in names})


@dataclass(frozen=True, slots=True)
class Shadow(_SecretFile):
    """The password hashes of realm pve, by the user's name without realm."""

    @classmethod
    def parse(cls, text: str) -> Shadow:
        """Read the file's text; it never fails."""
        secrets: dict[str, str] = {}
        others: list[str] = []
        for line in filter(str.strip, text.split("\n")):
            name, _, rest = line.rstrip("\r").partition(":")
            kept, _, more = rest.partition(":")
            if name and kept and not more and name not in secrets:
                secrets[name] = kept
            else:
                others.append(line)
        return cls(secrets, tuple(others))

    def render(self) -> str:
        """The file's text."""
        lines = [f"{name}:{kept}:" for name, kept in sorted(self.secrets.items())]
        return "".join(f"{line}\n" for line in [*lines, *self.others])


@dataclass(frozen=True, slots=True)
class TokenSecrets(_SecretFile):
    """The hashes of the tokens' secrets, by ``user@realm!token``."""

    @classmethod
    def parse(cls, text: str) -> TokenSecrets:
        """Read the file's text; it never fails."""
        secrets: dict[str, str] = {}
        others: list[str] = []
        for line in filter(str.strip, text.split("\n")):
            words = line.split()
            if len(words) == 2 and "!" in words[0] and words[0] not in secrets:
                secrets[words[0]] = words[1]
            else:
                others.append(line)
        return cls(secrets, tuple(others))

    def render(self) -> str:
        """The file's text."""
        lines = [f"{name} {kept}" for name, kept in sorted(self.secrets.items())]
        return "".join(f"{line}\n" for line in [*lines, *self.others])

    def fits(self, name: str, secret: str) -> bool:
        """Whether this is the token's secret; compared in constant time."""
        kept = self.secrets.get(name, "")
        if not kept or not secret:
            return False
        shown = hashed(secret) if kept.startswith(_HASHED) else secret
        return hmac.compare_digest(kept.encode("utf-8", "replace"), shown.encode("utf-8", "replace"))


def hashed(secret: str) -> str:
    """What is kept of a token's secret."""
    return _HASHED + hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
