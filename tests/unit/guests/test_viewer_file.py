"""What a remote viewer is told: the keys it knows, and a subject as SPICE's clients compare it."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvorum.guests.console.viewer_file import spice_config, subject


def certificate(*names: tuple[x509.ObjectIdentifier, str]) -> str:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


ORGANISATION = (NameOID.ORGANIZATION_NAME, "Kvorum"), (NameOID.COMMON_NAME, "n1.example")


def test_a_subject_stands_in_the_certificates_own_order() -> None:
    assert subject(certificate(*ORGANISATION)) == "O=Kvorum,CN=n1.example"
    assert subject(certificate(*reversed(ORGANISATION))) == "CN=n1.example,O=Kvorum"


def test_a_comma_in_a_name_is_no_separator() -> None:
    assert subject(certificate((NameOID.ORGANIZATION_NAME, "A, B\\C"))) == "O=A\\, B\\\\C"


@pytest.mark.parametrize(
    ("given", "proxy"),
    [
        ("n1.example", "http://n1.example:3128"),
        ("198.18.0.1", "http://198.18.0.1:3128"),
        ("fd00::1", "http://[fd00::1]:3128"),
        ("[fd00::1]", "http://[fd00::1]:3128"),
    ],
)
def test_the_proxy_is_a_node_by_name_or_address(given: str, proxy: str) -> None:
    found = spice_config("VM 100", "ticket", given, certificate(*ORGANISATION), "", "secret")
    assert found["proxy"] == proxy


def test_each_value_is_one_line() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"
    found = spice_config("VM 100 -\nhost=evil", "ticket", "n1", certificate(*ORGANISATION), pem, "secret")
    assert found["ca"] == "-----BEGIN CERTIFICATE-----\\nAA\\n-----END CERTIFICATE-----\\n"
    assert found["title"] == "VM 100 - host=evil"
    assert not any("\n" in str(value) for value in found.values())
    assert (found["type"], found["host"], found["tls-port"]) == ("spice", "ticket", 61000)
    assert (found["password"], found["delete-this-file"]) == ("secret", 1)
