"""What the socket lets whom see and do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.store import StoreClient, Write, server
from kvorum.store.corosync_conf import RUNNING
from kvorum.store.daemon import running_store
from kvorum.store.database import load
from kvorum.store.group import LocalGroup
from kvorum.store.host import Host
from kvorum.store.membership import MembershipSource
from kvorum.store.protocol import Ballot


async def test_who_is_not_root_sees_nothing_private_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as root:
        monkeypatch.setattr(server, "_trusted", lambda _writer: False)
        async with StoreClient(paths.store_socket) as early:
            await root.transact(
                [Write("priv/key", b"s"), Write("nodes/n1/priv/key", b"s"), Write("user.cfg", b"u")]
            )
            async with StoreClient(paths.store_socket) as late:
                for client in (early, late):
                    assert client.read("user.cfg") is not None
                    assert client.read("priv/key") is None and client.names("priv") == ()
                    assert client.read("nodes/n1/priv/key") is None
                    with pytest.raises(KvorumError, match="only root"):
                        await client.write("user.cfg", b"x")
                    with pytest.raises(KvorumError, match="only root"):
                        await client.publish("k", b"v")
        assert root.read("priv/key") is not None


async def test_a_standalone_nodes_configuration_goes_with_it_into_its_cluster(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"x")
    history = load(paths.database).view.history
    assert history.startswith("n1-")
    host = Host(paths.database, LocalGroup(7), node="n1", nodeid=7, ballot=Ballot(1, 1))
    assert host.tree.read("storage.cfg") is not None
    assert host._replica.view.members == {7: "n1"}
    assert host._replica.view.history == history
    await host._disk.close()


async def test_a_node_that_leaves_the_list_while_it_is_off_leaves_the_membership(tmp_path: Path) -> None:
    """Nobody comes or goes then; what tells is that this node's corosync runs the new list."""
    config = tmp_path / "corosync.conf"
    node = "node {{\n name: n{0}\n nodeid: {0}\n ring0_addr: 10.0.0.{0}\n }}\n"
    text = "totem {{\n cluster_name: home\n config_version: {}\n}}\nnodelist {{\n {}}}\n"
    config.write_text(text.format(1, node.format(1) + node.format(2)))
    host = Host(tmp_path / "config.db", LocalGroup(1), node="n1", nodeid=1, ballot=Ballot(1, 1))
    source = MembershipSource(config, "n1")
    answering = server.Server(host, source, tmp_path / "run" / "store.sock")
    running = asyncio.create_task(host.run())
    async with answering.running(), StoreClient(tmp_path / "run" / "store.sock") as client:
        answering.refresh()
        assert [member.name for member in source.current.members] == ["n1", "n2"]
        config.write_text(text.format(2, node.format(1)))
        await client.publish(RUNNING, b"2")
        assert [member.name for member in source.current.members] == ["n1"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_cluster_of_one_becomes_a_node_alone_with_its_history(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"x")
    in_cluster = Host(paths.database, LocalGroup(7), node="n1", nodeid=7, ballot=Ballot(1, 1))
    running = asyncio.create_task(in_cluster.run())
    await in_cluster.transact([Write("user.cfg", b"u")], (), "test", 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = running_store(paths, node="n1", fuse=False, corosync=False)
    async with again, StoreClient(paths.store_socket) as client:
        await client.write("storage.cfg", b"y")
        assert client.read("user.cfg") is not None
