"""Keys and a self-made certificate until the cluster room makes them."""

from __future__ import annotations

import datetime
import ipaddress
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_FORMAT = serialization.PrivateFormat.PKCS8
_PLAIN = serialization.NoEncryption()
_PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


def make_files(node: str) -> dict[str, bytes]:
    """Everything a standalone node needs, by its path in the store."""
    auth = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Kvorum CA")])
    ca = _builder(ca_name, ca_name, ca_key.public_key(), True).sign(ca_key, hashes.SHA256())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    alternatives = x509.SubjectAlternativeName(
        [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.DNSName("localhost"),
            x509.DNSName(node),
            x509.DNSName(f"{node}.nodes.kvorum"),
        ]
    )
    certificate = (
        _builder(name, ca_name, key.public_key(), False)
        .add_extension(alternatives, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return {
        "priv/authkey.key": auth.private_bytes(_PEM, _FORMAT, _PLAIN),
        "authkey.pub": auth.public_key().public_bytes(_PEM, _PUBLIC),
        "pve-www.key": secrets.token_urlsafe(32).encode(),
        "priv/pve-root-ca.key": ca_key.private_bytes(_PEM, _FORMAT, _PLAIN),
        "pve-root-ca.pem": ca.public_bytes(_PEM),
        f"nodes/{node}/pve-ssl.key": key.private_bytes(_PEM, _FORMAT, _PLAIN),
        f"nodes/{node}/pve-ssl.pem": certificate.public_bytes(_PEM),
    }


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650 if authority else 700))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )
