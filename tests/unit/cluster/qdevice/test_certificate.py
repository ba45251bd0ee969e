"""The cluster's certificate for QNetd, signed by an authority of the test's own."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from qnetd_authority import Authority

from kvorum.cluster.qdevice.certificate import Request, Signed, answer_of, authority_in
from kvorum.cluster.qdevice.qnetd import commands_by_hand
from kvorum.core.errors import KvorumError


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def request_() -> Request:
    return Request.make("home")


def test_a_request_becomes_what_every_node_imports(authority: Authority, request_: Request) -> None:
    bundle = request_.bundle(authority.sign(request_.der))
    held = pkcs12.load_pkcs12(bundle.pair, None)
    assert held.cert is not None and held.cert.friendly_name == b"Cluster Cert"
    assert held.cert.certificate.subject.rfc4514_string() == "CN=home"
    assert isinstance(held.key, rsa.RSAPrivateKey)
    assert held.key.public_key() == held.cert.certificate.public_key()
    assert bundle.digest != request_.bundle(Authority().sign(request_.der)).digest


def test_what_does_not_belong_together_is_refused(authority: Authority, request_: Request) -> None:
    signed = authority.sign(request_.der)
    with pytest.raises(KvorumError, match="signed for another request"):
        Request.make("home").bundle(signed)
    with pytest.raises(KvorumError, match="can't be used"):
        request_.bundle(Signed(Authority().sign(request_.der).authority, signed.certificate))
    with pytest.raises(KvorumError, match="can't be used"):
        request_.bundle(Signed(signed.authority, b"no certificate"))


def test_the_authoritys_file_describes_its_certificate_first(authority: Authority) -> None:
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    assert authority_in(b"Certificate:\n    Data: ...\n\n" + pem) == pem
    with pytest.raises(KvorumError, match="holds no certificate"):
        authority_in(b"nothing")


def test_the_line_of_the_commands_by_hand_is_read(authority: Authority, request_: Request) -> None:
    commands = commands_by_hand(request_)
    assert commands[0] == "apt install corosync-qnetd"
    assert base64.b64encode(request_.der).decode() in commands[1]
    signed = authority.sign(request_.der)
    line = f"{base64.b64encode(signed.certificate).decode()}.{base64.b64encode(signed.authority).decode()}\n"
    assert answer_of(line) == signed
    for cut in (line[:-9], line[: len(line) // 2], "", "a.b"):
        with pytest.raises(KvorumError, match="not the whole line"):
            answer_of(cut)
