"""The task list of a node that is gone: told by any other node, from memory."""

import time
from typing import TYPE_CHECKING

import msgspec

from kvorum.core.ids import Upid
from kvorum.store.memory import MemoryStore
from kvorum.tasks.record import TaskRecord, row

if TYPE_CHECKING:
    from conftest import Cluster


def upid(number: int, user: str = "root@pam") -> Upid:
    return Upid("gone", 1, (1 << 16) | number, 100 + number, "qmstart", "100", user)


async def test_any_node_tells_what_a_gone_node_told_last(cluster: "Cluster") -> None:
    records = [
        TaskRecord(upid(1)).ended(200, "OK"),
        TaskRecord(upid(2)).ended(200, "no room"),
        TaskRecord(upid(3)),
    ]
    store = cluster.n1.store
    assert isinstance(store, MemoryStore)
    told = msgspec.json.encode([row(record) for record in records])
    store._published["tasks"] = {"gone": (told, time.monotonic() + 100)}
    headers = await cluster.login()

    async def listed(query: str = "") -> dict[str, str]:
        url = f"{cluster.n1.url}/api2/json/nodes/gone/tasks{query}"
        async with cluster.client.get(url, headers=headers) as answer:
            assert answer.status == 200, answer.reason
            return {one["upid"]: one["status"] for one in (await answer.json())["data"]}

    offline = "unknown: node 'gone' is offline"
    assert await listed() == {str(upid(1)): "OK", str(upid(2)): "no room", str(upid(3)): offline}
    assert await listed("?errors=1") == {str(upid(2)): "no room", str(upid(3)): offline}
    assert await listed("?statusfilter=unknown") == {str(upid(3)): offline}
    assert await listed("?source=active") == {}
    assert len(await listed("?limit=1")) == 1


async def test_a_node_that_never_was_is_named(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/nobody/tasks"
    async with cluster.client.get(url, headers=headers) as answer:
        assert (answer.status, answer.reason) == (500, "no such cluster node 'nobody'")


async def test_all_else_of_a_gone_node_stays_unreachable(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/gone/tasks/{upid(1)}/log"
    async with cluster.client.get(url, headers=headers) as answer:
        assert answer.status == 595
