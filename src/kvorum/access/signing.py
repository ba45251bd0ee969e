"""Statements signed with the cluster's authentication key, so that each node believes what another one said.

A statement is a text; signed it reads ``TEXT::BASE64`` with an RSA signature (PKCS #1 v1.5 over SHA-256, RFC
8017). Only root holds the private key; every daemon holds the public one.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kvorum.core.errors import AuthenticationError

CLOCK_TOLERANCE_S = 300
"""How far two nodes' clocks may differ before they stop believing each other."""

Clock = Callable[[], float]
"""Unix seconds."""

wall_clock: Clock = time.time


def private_key(pem: bytes) -> rsa.RSAPrivateKey:
    """Read a PEM private key; raises ``AuthenticationError`` when it is not an RSA key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except ValueError as error:
        raise AuthenticationError(f"the cluster's authentication key can't be read: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AuthenticationError("the cluster's authentication key is not an RSA key")
    return key


def public_key(pem: bytes) -> rsa.RSAPublicKey:
    """Read a PEM public key; raises ``AuthenticationError`` when it is not an RSA key."""
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise AuthenticationError(f"the cluster's public key can't be read: {error}") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise AuthenticationError("the cluster's public key is not an RSA key")
    return key


def sign(key: rsa.RSAPrivateKey, text: str, about: str = "") -> str:
    """Sign a statement; ``about`` is signed too without standing in it, and must be told to verify it."""
    return f"{text}::{base64.b64encode(signature(key, text, about)).decode()}"


def signature(key: rsa.RSAPrivateKey, text: str, about: str = "") -> bytes:
    """The signature alone, for a statement that is written in another form."""
    return key.sign(_signed(text, about), padding.PKCS1v15(), hashes.SHA256())


def _signed(text: str, about: str) -> bytes:
    whole = f"{text}\0{about}" if about else text
    return whole.encode("utf-8", "surrogatepass")


def verified(keys: Sequence[rsa.RSAPublicKey], signed: str, about: str = "") -> str | None:
    """The statement, when one of the keys signed it; else ``None``."""
    text, separator, encoded = signed.rpartition("::")
    if not separator:
        return None
    try:
        made = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return text if signed_by(keys, made, text, about) else None


def signed_by(keys: Sequence[rsa.RSAPublicKey], signature: bytes, text: str, about: str = "") -> bool:
    """Whether one of the keys made this signature of a statement."""
    for key in keys:
        try:
            key.verify(signature, _signed(text, about), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            continue
        return True
    return False


def age_s(hexadecimal: str, now: float) -> float | None:
    """Seconds since a time in Unix seconds, 8 to 12 hexadecimal digits; ``None`` if it is none."""
    if not 8 <= len(hexadecimal) <= 12:
        return None
    try:
        return now - int(hexadecimal, 16)
    except ValueError:
        return None


def stamp(now: float) -> str:
    """A time as statements carry it."""
    return f"{int(now):08X}"
