"""A node that is a cluster of one, on a store in memory."""

from pathlib import Path

import pytest
from stand_ins import Everything

from kvorum.cluster.change import Cluster, cluster_on
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.service import VERSION_KEY
from kvorum.core.paths import Paths
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.interface import Context, Identity, Services
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

N1 = Member(name="n1", nodeid=1, address="10.0.0.1", online=True)


@pytest.fixture
async def ctx(tmp_path: Path) -> Context:
    """A node that is a cluster of one."""
    paths, store, services = Paths.under(tmp_path), MemoryStore("n1"), Services()
    text = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})).text
    await store.write("corosync.conf", text)
    await ensure_node_files(store, paths, addresses=["10.0.0.1"])
    store.set_membership(Membership("home", (N1,), quorate=True, version=1, config_version=1))
    await store.publish(VERSION_KEY, b"99")
    cluster = cluster_on(store, paths)
    cluster.host.write_authkey(b"secret")
    cluster.host.write_configuration(text)
    services.add(Cluster, cluster)
    return Context(store, services, Identity("root@pam"), Everything())
