"""The cluster's keys as the store has them, parsed once for each content.

Not once for each version of a file: in a join or a leave the store becomes another, whose numbers begin anew.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access import signing
from kvorum.access.files.secrets_cfg import TOKENS, TokenSecrets
from kvorum.core.errors import AuthenticationError
from kvorum.core.remembered import Remembered
from kvorum.store import File, Store

PRIVATE = "priv/authkey.key"
PUBLIC = "authkey.pub"
PREVIOUS = "authkey.pub.old"
WWW = "pve-www.key"


class Keys:
    """Reads the keys when they are asked for; a changed file is parsed anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._private = Remembered(signing.private_key)
        self._public = Remembered(_public_keys)
        self._tokens = Remembered(_token_secrets)

    @property
    def private(self) -> rsa.RSAPrivateKey:
        """The signing key; raises ``AuthenticationError`` where this daemon does not see it."""
        file = self._store.read(PRIVATE)
        if file is None:
            raise AuthenticationError(f"'{PRIVATE}' is missing: this node has no authentication key yet")
        return self._private.of(file.data)

    @property
    def generation(self) -> tuple[bytes, bytes]:
        """Changes whenever the public keys do."""
        present, previous = self._store.read(PUBLIC), self._store.read(PREVIOUS)
        return (present.data if present else b"", previous.data if previous else b"")

    @property
    def public(self) -> tuple[rsa.RSAPublicKey, ...]:
        """The keys whose signatures count: the present one and, after a rotation, the one before."""
        return self._public.of(
            tuple(f.data for f in map(self._store.read, (PUBLIC, PREVIOUS)) if f is not None)
        )

    @property
    def tokens(self) -> TokenSecrets:
        """What is kept of the tokens' secrets; nothing in a daemon that does not see ``priv/``."""
        return self._tokens.of(self._store.read(TOKENS))

    @property
    def www(self) -> bytes:
        """The secret of CSRF tokens; raises ``AuthenticationError`` when there is none."""
        file = self._store.read(WWW)
        if file is None or not file.data.strip():
            raise AuthenticationError(f"'{WWW}' is missing: this node has no key for the page yet")
        return file.data


def _public_keys(files: tuple[bytes, ...]) -> tuple[rsa.RSAPublicKey, ...]:
    return tuple(signing.public_key(data) for data in files)


def _token_secrets(file: File | None) -> TokenSecrets:
    return TokenSecrets() if file is None else TokenSecrets.parse(file.text)
