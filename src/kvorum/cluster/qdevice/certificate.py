"""The cluster's certificate for QNetd: made here, signed there, kept in the store for every node.

The steps are those of corosync-qdevice-net-certutil(8). The request (its ``-r``) is made here rather than in
one node's database, so that all nodes are alike: they import the same two files (its ``-i`` and ``-m``).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from kvorum.core.errors import KvorumError

AUTHORITY_FILE = "priv/qdevice/qnetd-cacert.crt"
BUNDLE_FILE = "priv/qdevice/qdevice-net-node.p12"
NICKNAME = b"Cluster Cert"
"""By this name corosync-qdevice looks for its certificate."""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Signed:
    """What QNetd's host gives: its authority (PEM) and the certificate it signed (DER)."""

    authority: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """What every node imports: QNetd's authority (PEM), and certificate with key (PKCS #12, no password)."""

    authority: bytes
    pair: bytes

    @property
    def digest(self) -> str:
        """Tells one bundle from another."""
        return hashlib.sha256(self.authority + b"\0" + self.pair).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    """A cluster's request for a certificate, with its private key (PEM)."""

    cluster: str
    key: bytes

    @classmethod
    def make(cls, cluster: str) -> Request:
        """A new key; RSA, as certutil(1) makes it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return cls(
            cluster,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    @property
    def der(self) -> bytes:
        """The PKCS #10 request; QNetd knows the cluster by its common name."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.cluster)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.DER)

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        # Made here: to prove its primes anew at each use takes a third of a second.
        key = serialization.load_pem_private_key(self.key, password=None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def bundle(self, signed: Signed) -> Bundle:
        """Put all together; raises ``KvorumError`` when key, certificate and authority don't fit."""
        key = self._key
        try:
            authority = x509.load_pem_x509_certificate(signed.authority)
            certificate = x509.load_der_x509_certificate(signed.certificate)
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise KvorumError(
                f"QNetd's certificates can't be used ({error or 'a wrong signature'}): "
                "look at /etc/corosync/qnetd/nssdb there"
            ) from None
        if certificate.public_key() != key.public_key():
            raise KvorumError(
                "the certificate was signed for another request than this one: begin the setup anew"
            )
        pair = pkcs12.serialize_key_and_certificates(
            NICKNAME, key, certificate, None, serialization.NoEncryption()
        )
        return Bundle(signed.authority, pair)


def authority_in(text: bytes) -> bytes:
    """The certificate in the text of qnetd-cacert.crt, which describes it first; raises ``KvorumError``."""
    found = _PEM.search(text)
    if found is None:
        raise KvorumError("QNetd's qnetd-cacert.crt holds no certificate")
    return found[0] + b"\n"


def answer_of(line: str) -> Signed:
    """Read the line that the commands of the setup by hand print; raises ``KvorumError``."""
    first, dot, second = "".join(line.split()).partition(".")
    try:
        if not dot:
            raise ValueError
        return Signed(
            authority_in(base64.b64decode(second, validate=True)), base64.b64decode(first, validate=True)
        )
    except (ValueError, KvorumError):
        raise KvorumError(
            "the answer is not the whole line that the last command printed: copy all of it"
        ) from None
