"""A damaged database is set aside, and filled again by the cluster."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from corosync_ring import corosync_ring, unavailable

from kvorum.core.paths import Paths
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store
from kvorum.store.host import Host

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


async def whole(host: Host, members: int) -> None:
    """Wait until the host is writable among so many."""
    changed = asyncio.Event()
    forget = host.listen(lambda _: changed.set())
    try:
        async with asyncio.timeout(30):
            while not host.status.writable or len(host.status.members) != members:
                await changed.wait()
                changed.clear()
    finally:
        forget()


async def test_a_node_with_a_damaged_database_gets_everything_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with corosync_ring(3) as ring:

        def store(number: int) -> contextlib.AbstractAsyncContextManager[Host]:
            paths = Paths.under(tmp_path / f"n{number}")
            paths.corosync.mkdir(parents=True, exist_ok=True)
            (paths.corosync / "corosync.conf").write_text(ring.config())
            return running_store(
                paths, node=f"n{number}", fuse=False, corosync=True, inside=lambda: ring.inside(number)
            )

        async with store(1) as one, store(2) as two:
            async with store(3) as three, StoreClient(tmp_path / "n1" / "run" / "store.sock") as client:
                await whole(one, 3)
                await whole(three, 3)
                for number in range(50):
                    await client.write(f"d{number % 7}/f{number}", bytes(1000 * number))
            await whole(two, 2)
            database = Paths.under(tmp_path / "n3").database
            content = bytearray(database.read_bytes())
            content[4096 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 4096)
            database.write_bytes(content)

            async with store(3) as three:
                await whole(three, 3)
                assert three.root == one.root == two.root
                async with StoreClient(tmp_path / "n3" / "run" / "store.sock") as client:
                    await client.write("after", b"1")
                assert one.tree.read("after") is not None
            aside = [path.name for path in database.parent.iterdir() if ".damaged-" in path.name]
            assert aside and "is damaged" in caplog.text
