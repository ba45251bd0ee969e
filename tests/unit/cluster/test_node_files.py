"""What a node makes in the store at its first start, and what it leaves alone afterwards."""

import asyncio
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from kvorum.access import Keys
from kvorum.cluster import certificates, ensure_node_files, node_files, node_fingerprint
from kvorum.cluster.certificates import CertificateError, Pair, fingerprint, make_authority, make_node, serves
from kvorum.cluster.service import renew
from kvorum.core.paths import Paths
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
HERE = ["10.0.0.1", "fd00::1"]


async def test_the_first_start_makes_all_and_the_second_nothing(tmp_path: Path) -> None:
    store = MemoryStore("n1")
    paths = Paths.under(tmp_path)
    assert await ensure_node_files(store, paths, addresses=HERE, fqdn="n1.home")
    for path in (
        "pve-root-ca.pem",
        "priv/pve-root-ca.key",
        "priv/authkey.key",
        "authkey.pub",
        "pve-www.key",
        "storage.cfg",
        "user.cfg",
        "nodes/n1/pve-ssl.pem",
        "nodes/n1/pve-ssl.key",
    ):
        assert store.read(path) is not None, path
    assert "qemu-server" in store.names("nodes/n1")
    version = store.version
    assert not await ensure_node_files(store, paths, addresses=HERE, fqdn="n1.home")
    assert store.version == version
    keys = Keys(store)
    assert keys.private.public_key() == keys.public[0]
    assert len(keys.www) > 32


async def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    store, paths = MemoryStore("n1"), Paths.system()
    await ensure_node_files(store, paths, addresses=HERE)
    storage = store.read("storage.cfg")
    assert storage is not None and "\tpath /var/lib/vz\n" in storage.text and "images" in storage.text
    before = {path: store.read(path) for path in ("pve-root-ca.pem", "authkey.pub", "pve-www.key")}
    await store.write("user.cfg", "user:me@pve:1:0:::::::\n")
    await ensure_node_files(store, paths, addresses=[*HERE, "10.5.0.1"])
    assert {path: store.read(path) for path in before} == before
    user = store.read("user.cfg")
    assert user is not None and user.text.startswith("user:me")
    names = _names(store.read("nodes/n1/pve-ssl.pem").data)  # type: ignore[union-attr]
    assert "10.5.0.1" in {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


async def test_after_a_join_the_clusters_authority_signs_a_new_certificate(tmp_path: Path) -> None:
    store = MemoryStore("n2")
    paths = Paths.under(tmp_path)
    await ensure_node_files(store, paths, addresses=HERE)
    old = node_fingerprint(store, "n2")
    authority = make_authority(datetime.datetime.now(datetime.UTC))
    await store.write("pve-root-ca.pem", authority.certificate)
    await store.write("priv/pve-root-ca.key", authority.key)
    assert await ensure_node_files(store, paths, addresses=HERE)
    assert node_fingerprint(store, "n2") != old
    file = store.read("nodes/n2/pve-ssl.pem")
    assert file is not None
    x509.load_pem_x509_certificate(file.data).verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate)
    )


async def test_two_nodes_at_once_end_with_one_authority(tmp_path: Path) -> None:
    store = MemoryStore("n1")
    paths = Paths.under(tmp_path)
    await asyncio.gather(*(ensure_node_files(store, paths, addresses=HERE) for _ in range(3)))
    pem, key = store.read("nodes/n1/pve-ssl.pem"), store.read("nodes/n1/pve-ssl.key")
    authority = store.read("pve-root-ca.pem")
    assert pem and key and authority
    assert serves(Pair(pem.data, key.data), authority.data, "n1", HERE, datetime.datetime.now(datetime.UTC))


def test_a_node_certificate_names_all_the_ways_to_reach_the_node() -> None:
    authority = make_authority(NOW)
    pair = make_node(authority, "n1", "n1.home.example", ["10.0.0.1", "fd00::1%eth0"], NOW)
    names = _names(pair.certificate)
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "fd00::1",
    }
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost",
        "n1",
        "n1.home.example",
        "n1.nodes.kvorum",
    ]
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.not_valid_after_utc - NOW <= datetime.timedelta(days=730)


def test_a_certificate_serves_until_it_does_not() -> None:
    authority, other = make_authority(NOW), make_authority(NOW)
    pair = make_node(authority, "n1", "", HERE, NOW)
    assert serves(pair, authority.certificate, "n1", HERE, NOW)
    assert not serves(pair, other.certificate, "n1", HERE, NOW)
    assert not serves(pair, authority.certificate, "n2", HERE, NOW)
    assert not serves(pair, authority.certificate, "n1", ["10.0.0.7"], NOW)
    assert not serves(pair, authority.certificate, "n1", HERE, NOW + datetime.timedelta(days=710))
    assert not serves(Pair(pair.certificate, other.key), authority.certificate, "n1", HERE, NOW)
    assert not serves(Pair(b"rubbish", b""), authority.certificate, "n1", HERE, NOW)


def test_fingerprints_read_as_users_compare_them() -> None:
    text = fingerprint(make_authority(NOW).certificate)
    assert len(text) == 95 and text == text.upper() and text.count(":") == 31
    with pytest.raises(CertificateError):
        fingerprint(b"rubbish")
    assert certificates.colons(b"\x00\xab") == "00:AB"


def _names(pem: bytes) -> x509.SubjectAlternativeName:
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize("reason", ["it runs out within a month", "the node has another address"])
async def test_a_running_node_renews_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    store, paths = MemoryStore("n1"), Paths.under(tmp_path)
    await ensure_node_files(store, paths, addresses=["10.0.0.1"], fqdn="n1")
    first = store.read("nodes/n1/pve-ssl.pem")
    assert first is not None
    here = ["10.0.0.1"]
    monkeypatch.setattr(node_files, "local_addresses", lambda: here)
    changes = store.watch("nodes/n1/pve-ssl.pem")
    changed = asyncio.ensure_future(anext(changes))
    if reason.startswith("it runs out"):
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=certificates.NODE_DAYS - 30)
        monkeypatch.setattr(node_files, "_now", lambda: soon)
        renewing = asyncio.create_task(renew(store, paths, every_s=0.01))
    else:
        first_place = Member(name="n1", nodeid=1, address="10.0.0.1", online=True)
        store.set_membership(Membership("home", (first_place,), quorate=True, version=8))
        renewing = asyncio.create_task(renew(store, paths))
        await asyncio.sleep(0)
        here[:] = ["10.0.0.9"]
        store.set_membership(
            Membership("home", (replace(first_place, address="10.0.0.9"),), quorate=True, version=9)
        )
    async with asyncio.timeout(10):
        await changed
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    second = store.read("nodes/n1/pve-ssl.pem")
    assert second is not None and second.data != first.data
