import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from kvorum.interface import TaskLog, Work
from kvorum.server.events import endpoint, sources
from kvorum.server.events.ring import MOST_EVENTS
from kvorum.tasks import TaskRunner

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from conftest import Cluster


class Stream:
    """A listener that reads events one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last = ""

    async def next(self) -> tuple[str, Any]:
        """The next event's name and data; comments are passed over. At the stream's end ``("", None)``."""
        name, data = "", ""
        async with asyncio.timeout(20):
            while line := (await self.answer.content.readline()).decode():
                field, _, value = line.rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif field == "id":
                    self.last = value
                elif not line.strip() and name:
                    return name, json.loads(data)
        return "", None

    async def until(self, wanted: str) -> Any:
        while True:
            name, data = await self.next()
            assert name, f"the stream ended before '{wanted}'"
            if name == wanted:
                return data


@asynccontextmanager
async def listening(
    cluster: "Cluster", query: str = "", last: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[Stream]:
    sent = dict(headers or await cluster.login()) | ({"Last-Event-ID": last} if last else {})
    async with cluster.client.get(f"{cluster.n1.url}/api2/events{query}", headers=sent) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield Stream(answer)


async def test_changes_of_the_store_are_told_but_not_secrets(cluster: "Cluster") -> None:
    async with listening(cluster) as stream:
        await stream.until("hello")
        await cluster.n1.store.write("priv/token.cfg", b"secret")
        await cluster.n1.store.write("nodes/n1/priv/x", b"secret")
        await cluster.n1.store.write("datacenter.cfg", b"keyboard: de\n")
        told = await stream.until("store")
        while told["path"] != "datacenter.cfg":
            assert "priv" not in told["path"]
            told = await stream.until("store")


async def test_a_guest_that_appears_and_goes_is_told_as_a_resource(cluster: "Cluster") -> None:
    from kvorum.store import Delete

    path = "nodes/n1/qemu-server/100.conf"
    async with listening(cluster) as stream:
        await stream.until("hello")
        await cluster.n1.store.write(path, b"name: a\n")
        while (row := await stream.until("resource"))["id"] != "qemu/100":
            pass
        assert (row["node"], row["type"]) == ("n1", "qemu")
        await cluster.n1.store.transact([Delete(path)])
        while (row := await stream.until("resource"))["id"] != "qemu/100":
            pass
        assert row["gone"] == 1


async def test_a_membership_change_is_told(cluster: "Cluster") -> None:
    import msgspec

    async with listening(cluster) as stream:
        await stream.until("hello")
        store: Any = cluster.n1.store
        store.set_membership(msgspec.structs.replace(store.membership, quorate=False, reason="alone"))
        told = await stream.until("cluster")
        assert (told["quorate"], told["reason"]) == (0, "alone")


async def test_tasks_are_told_when_they_begin_and_end(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SAMPLE_S", 0.05)
    headers = await cluster.login()
    async with listening(cluster, headers=headers) as stream:
        await stream.until("hello")
        url = f"{cluster.n1.url}/api2/json/nodes/n1/work"
        async with cluster.client.post(url, headers=headers) as answer:
            upid = (await answer.json())["data"]
        while (row := await stream.until("task")).get("status") != "OK":
            assert row["upid"] == upid
        assert row["endtime"]


async def test_a_listener_goes_on_where_it_was_or_is_told_that_it_cannot(cluster: "Cluster") -> None:
    async with listening(cluster) as stream:
        await stream.until("hello")
        await cluster.n1.store.write("a.cfg", b"1")
        while (await stream.until("store"))["path"] != "a.cfg":
            pass
        last = stream.last
    await cluster.n1.store.write("b.cfg", b"1")
    async with listening(cluster, last=last) as stream:
        while (await stream.until("store"))["path"] != "b.cfg":
            pass
    async with listening(cluster, last="other-7") as stream:
        assert (await stream.next())[0] == "reset"
        await cluster.n1.store.write("c.cfg", b"1")
        assert (await stream.until("store"))["path"] == "c.cfg"


async def test_a_listener_that_does_not_read_is_cut_off_and_told(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "GATHER_S", 0)
    async with listening(cluster) as stream:
        await stream.until("hello")
        for number in range(MOST_EVENTS * 3):
            await cluster.n1.store.write(f"{'x' * 150}{number % 10}", b"")
        assert "too slow" in (await stream.until("cut"))["message"]
        assert await stream.next() == ("", None)


async def test_silence_is_broken_by_comments_and_an_expired_ticket_ends_the_stream(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    from kvorum.access import Authentication
    from kvorum.core.errors import AuthenticationError

    monkeypatch.setattr(endpoint, "KEEP_ALIVE_S", 0.05)
    async with listening(cluster) as stream:
        await stream.until("hello")
        async with asyncio.timeout(10):
            while b"still here" not in await stream.answer.content.readline():
                pass

        def expired(*_: object, **__: object) -> None:
            raise AuthenticationError("permission denied - invalid PVE ticket")

        monkeypatch.setattr(Authentication, "identify", expired)
        assert (await stream.until("expired"))["message"] == "permission denied - invalid PVE ticket"
        assert await stream.next() == ("", None)


async def test_strangers_and_wrong_questions_are_refused(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/events"
    for query, sent, status in (
        ("", {}, 401),
        ("?task=nonsense", headers, 400),
        ("?bogus=1", headers, 400),
        ("?task=UPID:n2:00000001:00000001:00000001:x::root@pam:", headers, 500),
        ("?task=UPID:gone:00000001:00000001:00000001:x::root@pam:", headers, 595),
    ):
        async with cluster.client.get(url + query, headers=sent) as answer:
            assert answer.status == status, query
    async with cluster.client.post(url, headers=headers) as answer:
        assert answer.status == 501


async def test_a_tasks_lines_come_as_they_are_written_from_any_node(cluster: "Cluster") -> None:
    goes_on = asyncio.Event()

    async def run(log: TaskLog) -> None:
        log.line("one")
        log.progress(0.5, "half")
        await goes_on.wait()
        log.line("two")

    runner = cluster.n2.services.get(TaskRunner)
    upid = runner.start(Work("qmstart", "100", run), "root@pam")
    async with listening(cluster, f"?task={upid}") as stream:
        assert await stream.next() == ("log", {"n": 1, "t": "one"})
        assert (await stream.until("progress"))["progress"] == 0.5
        goes_on.set()
        assert await stream.until("log") == {"n": 2, "t": "two"}
        assert await stream.until("log") == {"n": 3, "t": "TASK OK"}
        assert (await stream.until("end"))["exitstatus"] == "OK"
        assert await stream.next() == ("", None)
    async with listening(cluster, f"?task={upid}", last="2") as stream:
        assert await stream.next() == ("log", {"n": 3, "t": "TASK OK"})
        assert (await stream.next())[0] == "end"


async def test_an_answer_that_breaks_off_half_way_is_not_taken_for_whole(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = asyncio.Event()

    async def run(log: TaskLog) -> None:
        log.line("begun")
        await goes_on.wait()
        log.line("more")
        await asyncio.get_running_loop().create_future()

    runner = cluster.n2.services.get(TaskRunner)
    upid = runner.start(Work("x", "", run), "root@pam")
    async with listening(cluster, f"?task={upid}") as stream:
        await stream.until("log")

        async def die(*_: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(endpoint.Events, "_next", die)
        goes_on.set()
        with pytest.raises(aiohttp.ClientError):
            while (await stream.next())[0]:
                pass


async def test_a_node_that_comes_is_told_to_all_and_its_figures_to_those_who_may_audit_it(
    cluster: "Cluster",
) -> None:
    from kvorum.node.record import KEY, NodeRecord, encode

    root = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/access/users"
    given = {"userid": "joe@pve", "password": "correct horse"}
    async with cluster.client.post(url, headers=root, data=given) as answer:
        assert answer.status == 200
    form = {"username": "joe@pve", "password": "correct horse"}
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/access/ticket", data=form) as answer:
        joe = {"Cookie": f"PVEAuthCookie={(await answer.json())['data']['ticket']}"}
    record = NodeRecord(
        cpu=0.25, maxcpu=4, mem=1, maxmem=2, disk=3, maxdisk=4, uptime=5, version="1", wait=0.0
    )

    async def told(stream: Stream, figures: bool) -> dict[str, Any]:
        while True:
            row: dict[str, Any] = await stream.until("resource")
            if row["id"] == "node/n1" and row["status"] == "online" and figures <= ("cpu" in row):
                return row

    async with listening(cluster) as all, listening(cluster, headers=joe) as some:
        await all.until("hello")
        await some.until("hello")
        await cluster.n1.store.publish(KEY, encode(record))
        assert (await told(all, True))["cpu"] == 0.25
        assert (await told(some, False)).keys() == {"id", "type", "node", "level", "status"}
        await cluster.n1.store.publish(KEY, encode(record))
