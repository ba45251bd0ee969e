"""What there is to tell of a certificate, and whether an uploaded one fits its key. Pure."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from kvorum.core.errors import ParameterError


def row(filename: str, pem: bytes) -> dict[str, object]:
    """The first certificate of a PEM file as the API shows it; only its name and text if it can't be read."""
    values: dict[str, object] = {"filename": filename, "pem": pem.decode("ascii", "replace")}
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        values["san"] = [str(name.value) for name in names]
    except x509.ExtensionNotFound:
        values["san"] = []
    except ValueError:
        return values
    digest = certificate.fingerprint(hashes.SHA256()).hex().upper()
    key = certificate.public_key()
    return values | {
        "fingerprint": ":".join(digest[n : n + 2] for n in range(0, len(digest), 2)),
        "subject": _name(certificate.subject),
        "issuer": _name(certificate.issuer),
        "notbefore": int(certificate.not_valid_before_utc.timestamp()),
        "notafter": int(certificate.not_valid_after_utc.timestamp()),
        "public-key-type": _kind(key),
        "public-key-bits": getattr(key, "key_size", 0),
    }


def check_pair(chain: bytes, key: bytes) -> None:
    """Raise ``ParameterError`` unless the chain's first certificate belongs to the key."""
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise ParameterError({"certificates": "holds no certificate in PEM form"}) from None
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ParameterError({"key": "is no private key in PEM form without a passphrase"}) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificates[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise ParameterError({"key": "does not belong to the first certificate"})


def _name(name: x509.Name) -> str:
    parts = (f"/{part.rfc4514_attribute_name}={part.value!s}" for part in name)
    return "".join(parts)


def _kind(key: object) -> str:
    name = type(key).__name__.removesuffix("PublicKey")
    return {"RSA": "rsaEncryption", "EllipticCurve": "id-ecPublicKey", "EC": "id-ecPublicKey"}.get(name, name)
