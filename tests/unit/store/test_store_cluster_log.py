"""The cluster's log: what each node tells, and how it is put together."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from kvorum.core.paths import Paths
from kvorum.store import ClusterLog, Severity, StoreClient, cluster_log, log_entries
from kvorum.store.cluster_log import KEY, MOST, merged
from kvorum.store.daemon import running_store
from kvorum.store.host import VALUE_BYTES
from kvorum.store.membership import MembershipSource
from kvorum.store.memory import MemoryStore
from kvorum.store.virtual_files import VirtualFiles


async def told(store: MemoryStore, log: ClusterLog) -> None:
    """Let the log tell once what it has."""
    before = store.published(KEY).get(store.node)
    running = asyncio.create_task(log.run())
    async with asyncio.timeout(5):
        while store.published(KEY).get(store.node) == before:
            await asyncio.sleep(0)
    running.cancel()


def entry(node: str, uid: int, time: int) -> dict[str, object]:
    return {"uid": uid, "time": time, "pri": 6, "tag": "t", "pid": 1, "node": node, "user": "u", "msg": "m"}


async def test_an_entry_has_the_known_fields_in_one_line() -> None:
    store = MemoryStore("n1")
    log = ClusterLog(store, "pvedaemon", clock=lambda: 1_000_000_000.7)
    log.note("root@pam", "two\nlines", Severity.ERROR)
    log.note("root@pam", "x" * 5000)
    await told(store, log)
    newest, oldest = json.loads(store.published(KEY)["n1"])
    assert newest["msg"] == "x" * 1000 and newest["uid"] == 2
    pid = oldest.pop("pid")
    assert isinstance(pid, int)
    assert oldest == {
        "uid": 1, "time": 1_000_000_000, "pri": 3, "tag": "pvedaemon", "node": "n1", "user": "root@pam",
        "msg": "two lines",
    }  # fmt: skip


async def test_it_keeps_the_newest_that_fit_into_a_published_value() -> None:
    store = MemoryStore("n1")
    log = ClusterLog(store, "pvedaemon")
    for number in range(100):
        log.note("root@pam", f"{number} " + "ü" * 900)
    await told(store, log)
    value = store.published(KEY)["n1"]
    numbers = [int(one.msg.split()[0]) for one in log_entries(store, 1000)]
    assert len(value) < VALUE_BYTES and numbers == list(range(99, 99 - len(numbers), -1)) and len(numbers) > 5


async def test_a_restarted_daemon_goes_on_with_what_it_told() -> None:
    store = MemoryStore("n1")
    first = ClusterLog(store, "pvedaemon")
    first.note("root@pam", "before")
    await told(store, first)
    second = ClusterLog(store, "pvedaemon")
    second.note("root@pam", "after")
    await told(store, second)
    assert [(one.uid, one.msg) for one in log_entries(store, 10)] == [(2, "after"), (1, "before")]


def test_all_nodes_entries_are_in_one_order_and_garbage_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    values = {
        "n1": json.dumps([entry("n1", 2, 30), entry("n1", 1, 10)]).encode(),
        "n2": json.dumps([entry("n2", 9, 20), entry("n2", 8, 9)]).encode(),
        "n3": b"garbage",
        "n4": b'[{"uid": "text"}]',
    }
    assert [(one.node, one.uid) for one in merged(values)] == [("n1", 2), ("n2", 9), ("n1", 1), ("n2", 8)]
    assert len(merged(values, 2)) == 2
    assert "'n3'" in caplog.text and "'n4'" in caplog.text


async def test_clusterlog_shows_the_last_fifty_newest_first(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    async with running_store(paths, node="n1", fuse=False, corosync=False) as host:
        async with StoreClient(paths.store_socket) as client:
            await client.publish(KEY, json.dumps([entry("n1", n, n) for n in range(60)]).encode())
        shown = json.loads(VirtualFiles(host, MembershipSource(None, "n1")).content(".clusterlog"))
    assert list(shown) == ["data"] and len(shown["data"]) == MOST
    assert shown["data"][0] == entry("n1", 59, 59)
    assert cluster_log.KEY == "clusterlog"
