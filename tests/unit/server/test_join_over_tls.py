"""A node asks to be taken in over the wire: by password and by token, through front end and daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import kvorum.cluster.methods  # noqa: F401  # declares them
from kvorum.cluster import node_fingerprint
from kvorum.cluster.change import Cluster as ClusterService
from kvorum.cluster.change import cluster_on
from kvorum.cluster.join_token import FILE, Tokens
from kvorum.cluster.peer import INFORMATION, NotedPeer, RemotePeer
from kvorum.cluster.remote import RemoteNode
from kvorum.cluster.service import VERSION_KEY
from kvorum.core.errors import AuthenticationError, KvorumError
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster

if TYPE_CHECKING:
    from conftest import Cluster

FORM = {"new_node_ip": "10.0.0.9", "apiversion": "1", "force": "0"}


@pytest.fixture
async def peer(cluster: Cluster) -> Cluster:
    """n1 and n2 as a cluster that takes nodes in."""
    store = cluster.n1.store
    made = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "127.0.0.1"}))
    made = made.with_node(ConfiguredNode("n2", 2, 1, {0: "127.0.0.2"}))
    await store.write("corosync.conf", made.text)
    await store.publish(VERSION_KEY, b"99", 60)
    service = cluster_on(store, cluster.n1.paths)
    service.host.write_authkey(b"key")
    cluster.n1.services.add(ClusterService, service)
    return cluster


def listed(cluster: Cluster) -> list[str]:
    file = cluster.n1.store.read("corosync.conf")
    assert file is not None
    return [node.name for node in Configuration.read(file.text).nodes]


async def secret(cluster: Cluster) -> str:
    file = cluster.n1.store.read(FILE)
    tokens, _, made = Tokens.read(file.text if file else "[]").made("root@pam", 10, 4e9)
    await cluster.n1.store.write(FILE, tokens.text())
    return made


@pytest.mark.parametrize("by", ["password", "token"])
async def test_a_node_is_taken_in_and_off_again(peer: Cluster, by: str) -> None:
    known = node_fingerprint(peer.n1.store, "n1")
    given = await secret(peer) if by == "token" else None
    password = None if given else "the-password"
    async with RemoteNode("127.0.0.1", password, known, port=peer.port) as remote:
        if given:
            told = await remote.call("POST", INFORMATION, {"secret": given})
            assert isinstance(told, dict) and [row["name"] for row in told["nodelist"]] == ["n1", "n2"]
        noted = await RemotePeer(remote, "n9", FORM, given).admit()
        assert remote.clock_ahead_s is not None and abs(remote.clock_ahead_s) < 5
    assert listed(peer) == ["n1", "n2", "n9"]
    assert Configuration.read(noted["configuration"]).node("n9") is not None and noted["key"] == "a2V5"
    notes = {**noted, "host": "127.0.0.1", "fingerprint": known}
    await NotedPeer("n9", notes, port=peer.port).withdraw()
    assert listed(peer) == ["n1", "n2"], "without any login, as after a power cut"


async def test_a_wrong_token_opens_nothing(peer: Cluster) -> None:
    known = node_fingerprint(peer.n1.store, "n1")
    async with RemoteNode("127.0.0.1", None, known, port=peer.port) as remote:
        with pytest.raises(AuthenticationError, match="not one of this cluster"):
            await RemotePeer(remote, "n9", FORM, "00" * 16).admit()
        with pytest.raises(KvorumError):
            await RemotePeer(remote, "n9", FORM).admit()
        with pytest.raises(AuthenticationError, match="did not come with this join token"):
            await RemotePeer(remote, "n2", FORM, await secret(peer)).withdraw()
    assert listed(peer) == ["n1", "n2"]
