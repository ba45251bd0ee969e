"""The cluster's certificate authority and the nodes' certificates (X.509, RFC 5280). Pure but for randomness.

ECDSA P-256 for both: a key is made in a millisecond (RSA: up to a second on a small machine), handshakes cost
the server a tenth, and every TLS 1.2 client knows it. The tickets' key stays RSA, as their format says.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kvorum.core.errors import KvorumError

CA_DAYS = 3650
NODE_DAYS = 730
RENEW_DAYS = 30
_CLOCK_SKEW = datetime.timedelta(days=1)


class CertificateError(KvorumError):
    """A certificate or key of the cluster can't be read."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(now: datetime.datetime) -> Pair:
    """A new authority for one cluster, told from others by a random part of its name."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _name("Kvorum Cluster CA", f"{serial:x}"[:16])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(name, name, key.public_key(), serial, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def make_node(
    authority: Pair, node: str, fqdn: str, addresses: Sequence[str], now: datetime.datetime
) -> Pair:
    """A node's certificate, for servers and clients alike, with all names and addresses it is reached by."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, issuer_key = _certificate(authority.certificate), _private(authority.key)
    subject = _name(fqdn or node, "Kvorum Node")
    certificate = (
        _builder(issuer.subject, subject, key.public_key(), x509.random_serial_number(), now, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternatives(node, fqdn, addresses)), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def serves(pair: Pair, authority: bytes, node: str, addresses: Sequence[str], now: datetime.datetime) -> bool:
    """Whether a node's pair is still good: it fits together, this authority signed it, it is not about to run
    out, and it names the node and each address."""
    try:
        certificate, key = _certificate(pair.certificate), _private(pair.key)
        issuer = _certificate(authority)
        certificate.verify_directly_issued_by(issuer)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (CertificateError, InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    has = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc > now + datetime.timedelta(days=RENEW_DAYS)
        and f"{node}.nodes.kvorum" in names.get_values_for_type(x509.DNSName)
        and all(_canonical(address) in has for address in addresses)
    )


@lru_cache(maxsize=128)
def fingerprint(certificate: bytes) -> str:
    """The SHA-256 fingerprint of a PEM certificate, ``AA:BB:…``; raises ``CertificateError``."""
    return colons(_certificate(certificate).fingerprint(hashes.SHA256()))


def colons(digest: bytes) -> str:
    """Bytes as users compare them: ``AA:BB:…``."""
    return digest.hex(":").upper()


def make_rsa(bits: int = 2048) -> Pair:
    """A new RSA key for tickets: ``certificate`` holds its public key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(public, _private_pem(key))


def public_of(private: bytes) -> bytes:
    """The public key of a private one, both PEM."""
    return (
        _private(private)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now - _CLOCK_SKEW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _alternatives(node: str, fqdn: str, addresses: Sequence[str]) -> list[x509.GeneralName]:
    ips = dict.fromkeys(["127.0.0.1", "::1", *(_canonical(a) for a in addresses)])
    names = dict.fromkeys(["localhost", node, *([fqdn] if fqdn else []), f"{node}.nodes.kvorum"])
    return [*(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips), *(x509.DNSName(n) for n in names)]


def _canonical(address: str) -> str:
    """An address as x509 prints it, without a zone such as ``%eth0``."""
    return str(ipaddress.ip_address(address.partition("%")[0]))


def _name(common: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kvorum"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
        ]
    )


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError(f"a certificate of the cluster can't be read: {error}") from None


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"a private key of the cluster can't be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError("a private key of the cluster is neither RSA nor ECDSA")
    return key
