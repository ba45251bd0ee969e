"""The daemon in local mode and clients over its socket, without root, FUSE and Corosync."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, ParameterError
from kvorum.core.paths import Paths
from kvorum.store import Delete, Expect, MakeDirectory, Rename, StoreClient, Write
from kvorum.store.daemon import running_store


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.under(tmp_path)


def store(paths: Paths):
    return running_store(paths, node="n1", fuse=False, corosync=False)


async def test_a_write_is_in_the_mirror_when_it_is_answered_and_on_other_clients_soon(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as one, StoreClient(paths.store_socket) as two:
        watching = asyncio.ensure_future(anext(two.watch("a/")))
        await asyncio.sleep(0)
        version = await one.write("a/b", "text", who="root@pam")
        file = one.read("a/b")
        assert file is not None and file.text == "text" and file.version == version <= one.version
        change = await asyncio.wait_for(watching, 5)
        assert (change.path, change.directory) == ("a", True) or change.path == "a/b"
        assert one.node == two.node == "n1"
        assert one.membership.quorate and one.membership.cluster is None


async def test_the_store_outlives_its_daemon(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as client:
        await client.transact([Write("x", b"1"), MakeDirectory("d"), Write("e/f", b"2"), Rename("x", "y")])
        await client.transact([Delete("e/f")])
    async with store(paths), StoreClient(paths.store_socket) as client:
        assert client.names("") == ("d", "e", "nodes", "priv", "y")
        assert client.read("y") is not None and client.read("e/f") is None
        assert client.is_directory("d")


async def test_a_change_waits_for_a_store_that_restarts(paths: Paths) -> None:
    async with AsyncExitStack() as stack:
        async with store(paths):
            client = await stack.enter_async_context(StoreClient(paths.store_socket))
            changes = client.watch_membership()
            heard = [await anext(changes)]
            watching = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(10):
            while client.connected:
                await asyncio.sleep(0.01)
        assert client.membership == heard[0] and heard[0].quorate and not watching.done()
        change = asyncio.ensure_future(client.write("x", b"1"))
        await asyncio.sleep(0)
        async with store(paths):
            await asyncio.wait_for(change, 10)
            assert not watching.done() and client.membership.quorate
        watching.cancel()


async def test_a_failed_expectation_changes_nothing(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as client:
        await client.write("x", b"1")
        with pytest.raises(Conflict):
            await client.transact([Write("y", b"2"), Write("x", b"2")], [Expect("x", None)])
        assert client.read("y") is None
        with pytest.raises(ParameterError):
            await client.write("../x", b"1")


async def test_a_client_resumes_and_its_watchers_see_each_change_once(paths: Paths) -> None:
    async with StoreClient_(paths) as client:
        seen: list[str] = []

        async def watch() -> None:
            async for change in client.watch("w/"):
                seen.append(change.path)
                if change.path == "w/last":
                    return

        watcher = asyncio.create_task(watch())
        async with store(paths), StoreClient(paths.store_socket) as other:
            await client.start()
            await client.write("w/1", b"1")
            await client.close()
            await other.write("w/2", b"2")
            await client.start()
            assert client.read("w/2") is not None
        # pve-cluster restarts; reads go on, a write waits for it
        while client.connected:
            await asyncio.sleep(0)
        assert client.read("w/2") is not None
        waiting = asyncio.create_task(client.write("w/last", b"3"))
        async with store(paths):
            await asyncio.wait_for(waiting, 10)
            await asyncio.wait_for(watcher, 5)
        assert seen == ["w/1", "w/2", "w/last"]


def StoreClient_(paths: Paths):
    """A client that is not started yet and is closed at the end."""

    class Later:
        async def __aenter__(self) -> StoreClient:
            self.client = StoreClient(paths.store_socket)
            return self.client

        async def __aexit__(self, *_: object) -> None:
            await self.client.close()

    return Later()


async def test_published_values_reach_all_clients_also_later_ones_and_never_the_disk(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as one:
        changes = one.watch()
        while not one.is_directory("nodes/n1/priv"):  # the daemon's own first change
            await asyncio.wait_for(anext(changes), 10)
        before = one.version
        await one.publish("status", b"{}", ttl=60)
        assert dict(one.published("status")) == {"n1": b"{}"}
        async with StoreClient(paths.store_socket) as late:
            assert dict(late.published("status")) == {"n1": b"{}"}
        assert one.version == before
        with pytest.raises(KvorumError, match="32768"):
            await one.publish("big", bytes(40_000))


async def test_many_writers_share_the_disk(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as client:
        await asyncio.gather(*(client.write(f"many/{i}", b"x") for i in range(200)))
        assert len(client.names("many")) == 200


async def test_without_a_daemon_a_change_is_refused_within_its_deadline(paths: Paths) -> None:
    async with StoreClient_(paths) as client:
        with pytest.raises(NoQuorum, match="nothing was changed"):
            await client.transact([Write("x", b"")], timeout=0.05)


async def test_two_stores_never_hold_one_database(paths: Paths) -> None:
    async with store(paths):
        with pytest.raises(KvorumError, match="another store holds"):
            async with store(paths):
                pass


async def test_a_damaged_database_is_set_aside(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    async with store(paths), StoreClient(paths.store_socket) as client:
        await client.write("x", b"1")
    paths.database.write_bytes(b"garbage" * 1000)
    async with store(paths), StoreClient(paths.store_socket) as client:
        assert client.read("x") is None
    assert "is damaged" in caplog.text
    assert list(paths.database.parent.glob("config.db.damaged-*"))


async def test_a_files_history_is_told_and_undone(paths: Paths) -> None:
    async with store(paths), StoreClient(paths.store_socket) as client:
        await client.write("f", b"one", who="root@pam")
        await client.write("f", b"two", who="anna@pve")
        await client.transact([Delete("f")], who="root@pam")
        history = await client.history("f")
        assert [(r.who, r.size, r.node) for r in history] == [
            ("root@pam", 3, "n1"),
            ("anna@pve", 3, "n1"),
            ("root@pam", None, "n1"),
        ]
        assert (await client.revision("f", history[0].number)).before == b"two"
        await client.restore("f", history[1].number, who="root@pam")
        file = client.read("f")
        assert file is not None and file.data == b"one"
        await client.restore("f", history[2].number)
        assert client.read("f") is None
        with pytest.raises(KvorumError, match="no revision 99999"):
            await client.revision("f", 99999)
        assert await client.history("never") == ()
