"""Which certificates a node trusts: those of the nodes that are listed now, by their very files."""

import datetime
import logging
import ssl
from pathlib import Path

import pytest

from kvorum.cluster.certificates import Pair, make_node
from kvorum.cluster.node_files import ensure_node_files
from kvorum.core.paths import Paths
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.server.certificates import Certificates
from kvorum.store import Delete, Member, Membership
from kvorum.store.memory import MemoryStore

N1, N2 = (Member(f"n{n}", n, f"10.0.0.{n}", True) for n in (1, 2))


def shake(client: ssl.SSLContext, shown: Pair, directory: Path) -> None:
    """A handshake in memory, as node n2; raises as ssl does."""
    (directory / "pair.pem").write_bytes(shown.certificate + shown.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "pair.pem")
    talk(client, server, "n2.nodes.kvorum")


def talk(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """A handshake in memory; raises as ssl does, the client's error first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    failed: dict[int, ssl.SSLError] = {}
    for number in (0, 1) * 6:
        try:
            if number not in failed:
                ends[number].do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            failed[number] = error
    if failed:
        raise failed[min(failed)]


@pytest.fixture
async def store(tmp_path: Path) -> MemoryStore:
    """n1's, with n2 beside it."""
    store = MemoryStore("n1", Membership("home", (N1, N2), True, 1))
    await ensure_node_files(store, Paths.under(tmp_path), addresses=["10.0.0.1"])
    await store.write("nodes/n2/pve-ssl.pem", signed(store).certificate)
    return store


def signed(store: MemoryStore) -> Pair:
    """A certificate for n2 by the cluster's CA."""
    files = store.read("pve-root-ca.pem"), store.read("priv/pve-root-ca.key")
    assert files[0] is not None and files[1] is not None
    now = datetime.datetime.now(datetime.UTC)
    return make_node(Pair(files[0].data, files[1].data), "n2", "n2", ["10.0.0.2"], now)


async def test_who_comes_while_there_is_no_certificate_is_refused_in_tls(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """As during a join, without a traceback."""
    server = Certificates(store).listening()
    await store.transact([Delete("nodes/n1/pve-ssl.pem")])
    client = ssl.create_default_context()
    with caplog.at_level(logging.INFO), pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        talk(client, server, "n1.nodes.kvorum")
    assert "'nodes/n1/pve-ssl.pem' or .key is missing" in caplog.text


async def test_a_listed_node_is_trusted_until_it_is_removed(store: MemoryStore, tmp_path: Path) -> None:
    certificates, pair = Certificates(store), signed(store)
    await store.write("nodes/n2/pve-ssl.pem", pair.certificate)
    shake(certificates.client(), pair, tmp_path)
    store.set_membership(Membership("home", (N1,), True, 2))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(certificates.client(), pair, tmp_path)


async def test_what_the_ca_signed_and_nobody_listed_is_not_trusted(
    store: MemoryStore, tmp_path: Path
) -> None:
    """Who took the CA's key along can still make no node."""
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(Certificates(store).client(), signed(store), tmp_path)


async def test_who_knows_no_members_trusts_those_that_corosync_conf_lists(
    store: MemoryStore, tmp_path: Path
) -> None:
    """A node whose Corosync was thrown out asks the others for their configuration, and no stranger."""
    certificates, pair = Certificates(store), signed(store)
    await store.write("nodes/n2/pve-ssl.pem", pair.certificate)
    alone = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"}))
    await store.write("corosync.conf", alone.with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"})).text)
    store.set_membership(Membership("home", (), True, 2))
    shake(certificates.client(), pair, tmp_path)
    await store.write("corosync.conf", alone.text)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(certificates.client(), pair, tmp_path)
