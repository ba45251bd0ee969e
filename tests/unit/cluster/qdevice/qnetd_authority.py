"""An authority of the tests' own, which does what corosync-qnetd-certutil does."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.cluster.qdevice.certificate import Signed

NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)


class Authority:
    """Signs requests."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "QNet CA")])
        self.certificate = self._sign(self.name, self.key.public_key())

    def _sign(self, subject: x509.Name, key: rsa.RSAPublicKey) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(101)
            .not_valid_before(NOW)
            .not_valid_after(NOW + datetime.timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )

    def sign(self, der: bytes) -> Signed:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        assert isinstance(key, rsa.RSAPublicKey) and request.is_signature_valid
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        signed = self._sign(request.subject, key)
        return Signed(pem, signed.public_bytes(serialization.Encoding.DER))
