"""What the socket lets whom see and do."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.store import StoreClient, Write, server
from kvorum.store.daemon import running_store
from kvorum.store.database import load
from kvorum.store.group import LocalGroup
from kvorum.store.host import Host
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
