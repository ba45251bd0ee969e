"""The cluster's keys as the store has them, parsed once for each content.

Not once for each version of a file: in a join or a leave the store becomes another, whose numbers begin anew.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access import signing
from kvorum.access.files.secrets_cfg import TOKENS, TokenSecrets
from kvorum.core.errors import AuthenticationError
from kvorum.store import Store

PRIVATE = "priv/authkey.key"
PUBLIC = "authkey.pub"
PREVIOUS = "authkey.pub.old"
WWW = "pve-www.key"


class Keys:
    """Reads the keys when they are asked for; a changed file is parsed anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._private: tuple[bytes, rsa.RSAPrivateKey] | None = None
        self._public: tuple[tuple[bytes, bytes], tuple[rsa.RSAPublicKey, ...]] | None = None
        self._tokens: tuple[bytes, TokenSecrets] | None = None

    @property
    def private(self) -> rsa.RSAPrivateKey:
        """The signing key; raises ``AuthenticationError`` where this daemon does not see it."""
        file = self._store.read(PRIVATE)
        if file is None:
            raise AuthenticationError(f"'{PRIVATE}' is missing: this node has no authentication key yet")
        if self._private is None or self._private[0] != file.data:
            self._private = (file.data, signing.private_key(file.data))
        return self._private[1]

    @property
    def generation(self) -> tuple[bytes, bytes]:
        """Changes whenever the public keys do."""
        present, previous = self._store.read(PUBLIC), self._store.read(PREVIOUS)
        return (present.data if present else b"", previous.data if previous else b"")

    @property
    def public(self) -> tuple[rsa.RSAPublicKey, ...]:
        """The keys whose signatures count: the present one and, after a rotation, the one before."""
        generation = self.generation
        if self._public is None or self._public[0] != generation:
            files = (self._store.read(PUBLIC), self._store.read(PREVIOUS))
            self._public = (generation, tuple(signing.public_key(f.data) for f in files if f is not None))
        return self._public[1]

    @property
    def tokens(self) -> TokenSecrets:
        """What is kept of the tokens' secrets; nothing in a daemon that does not see ``priv/``."""
        file = self._store.read(TOKENS)
        if file is None:
            return TokenSecrets()
        if self._tokens is None or self._tokens[0] != file.data:
            self._tokens = (file.data, TokenSecrets.parse(file.text))
        return self._tokens[1]

    @property
    def www(self) -> bytes:
        """The secret of CSRF tokens; raises ``AuthenticationError`` when there is none."""
        file = self._store.read(WWW)
        if file is None or not file.data.strip():
            raise AuthenticationError(f"'{WWW}' is missing: this node has no key for the page yet")
        return file.data
