"""Where another node is: by the membership, and by corosync.conf on a node whose Corosync does not run."""

import ssl

import pytest

from kvorum.core.errors import KvorumError
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.server.forward import NodeForwarder
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

TEXT = (
    new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1", 1: "10.1.0.1"}))
    .with_node(ConfiguredNode("n2", 2, 1, {0: "fd00::2"}))
    .text
)


async def test_a_node_that_knows_no_members_goes_by_its_configuration() -> None:
    store = MemoryStore("n2")
    await store.write("corosync.conf", TEXT)
    store.set_membership(Membership("home", (), quorate=False, version=1))
    nodes = NodeForwarder(store, lambda: ssl.create_default_context(), 8006)
    assert nodes.address("n1") == ("https://10.0.0.1:8006", "10.0.0.1")
    assert nodes.address("n2") == ("https://[fd00::2]:8006", "fd00::2")
    with pytest.raises(KvorumError, match="no such cluster node 'n9'"):
        nodes.address("n9")

    store.set_membership(Membership("home", (Member("n2", 2, "10.9.0.2", True),), quorate=True, version=2))
    assert nodes.address("n2") == ("https://10.9.0.2:8006", "10.9.0.2")
    with pytest.raises(KvorumError, match="no such cluster node 'n1'"):
        nodes.address("n1")  # who knows the members knows that it is none
