"""What nodes tell in memory only lives as long as it was told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.core.paths import Paths
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store


async def test_a_value_is_forgotten_when_its_time_is_over_and_lives_on_when_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths.under(tmp_path)
    daemon = running_store(paths, node="n1", fuse=False, corosync=False)
    async with daemon as host, StoreClient(paths.store_socket) as client:
        loop, real = host._loop, host._loop.time
        for key in ("short", "long", "again"):
            await client.publish(key, b"1", ttl=60 if key == "long" else 30)
        monkeypatch.setattr(loop, "time", lambda: real() + 20)
        await client.publish("again", b"2", ttl=30)
        assert host.value_version("n1", "again") == 2
        monkeypatch.setattr(loop, "time", lambda: real() + 31)
        assert {key: value for (_, key), (value, _) in host.published().items()} == {
            "long": b"1",
            "again": b"2",
        }
        assert not client.published("short") and client.published("long") and client.published("again")
        async with StoreClient(paths.store_socket) as late:
            assert not late.published("short")
            assert dict(late.published("again")) == {"n1": b"2"}
        monkeypatch.setattr(loop, "time", lambda: real() + 61)
        assert not host.published() and not client.published("long")
        monkeypatch.undo()
