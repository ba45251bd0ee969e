import asyncio
from pathlib import Path

import msgspec

from kvorum.interface import TaskLog, Work
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore
from kvorum.tasks import TaskRunner
from kvorum.tasks.archive import Archive
from kvorum.tasks.cluster_tasks import TaskNews, cluster_rows


def both(*, online: bool) -> Membership:
    members = (Member("n1", 1, "127.0.0.1", online), Member("n2", 2, "127.0.0.2", True))
    return Membership("c", members, True, 1)


async def test_tasks_of_a_node_are_listed_also_after_it_is_gone_and_none_as_running(tmp_path: Path) -> None:
    store = MemoryStore("n1", both(online=True))
    changed = asyncio.Event()
    runner = TaskRunner("n1", Archive(tmp_path), changed.set)
    runner.recover()

    async def fine(log: TaskLog) -> None:
        pass

    async def hangs(log: TaskLog) -> None:
        await asyncio.get_running_loop().create_future()

    ended = runner.start(Work("qmstart", "100", fine), "root@pam")
    await runner.wait(ended, 5)
    running = runner.start(Work("qmmigrate", "100", hangs), "root@pam")
    news = asyncio.create_task(TaskNews(store, runner, changed).run())
    async with asyncio.timeout(5):
        while len(cluster_rows(store)) < 2:
            await asyncio.sleep(0)
    assert {row["upid"]: row.get("status") for row in cluster_rows(store)} == {ended: "OK", running: None}
    store.set_membership(both(online=False))
    rows = {row["upid"]: row.get("status") for row in cluster_rows(store)}
    assert rows == {ended: "OK", running: "unknown: node 'n1' is offline"}
    store.set_membership(both(online=True))
    assert msgspec.json.decode(store.published("tasks")["n1"])
    assert {row["upid"]: row.get("status") for row in cluster_rows(store)}[running] is None
    news.cancel()
    await runner.shut_down(5)
