"""A node that lost its power or stands still is named within 3 s (595), and every other node goes on."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab_cluster import NODES
from test_login import ask, log_in

if TYPE_CHECKING:
    from lab_cluster import Cluster

SOON_S = 3.0
Answer = tuple[int, str, str]


@pytest.fixture
def cookie(cluster: Cluster) -> str:
    """What a page that is logged in sends."""
    ticket = json.loads(log_in(cluster, "n1", cluster.lab.password)[2])["data"]["ticket"]
    return f"PVEAuthCookie={urllib.parse.quote(ticket, safe='')}"


@pytest.fixture
def slow(cluster: Cluster) -> Iterator[str]:
    """A path of n3 that takes long to answer while its pvedaemon stands still and its pveproxy lives."""
    yield "/api2/json/nodes/n3/syslog"
    cluster.lab.recover()
    cluster.run("n3", "systemctl", "kill", "-s", "CONT", "--kill-whom=main", "pvedaemon")
    cluster.settled()


def timed(cluster: Cluster, path: str, cookie: str, node: str = "n1") -> tuple[Answer, float]:
    """One request, and when its answer came."""
    answer = ask(cluster, node, "GET", path, Cookie=cookie)
    return answer, time.monotonic()


def soon(cluster: Cluster, killed: Callable[[], float]) -> None:
    """The slowest answer after a death comes soon; a busy host may be late for once, not three times."""
    slowest_s = [killed()]
    while slowest_s[-1] >= SOON_S:
        assert len(slowest_s) < 3, slowest_s
        cluster.lab.recover()
        cluster.settled()
        slowest_s.append(killed())
    print(f"the slowest answers came after {slowest_s} s")


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_a_request_for_a_dead_node_is_595_with_its_name_within_three_seconds(
    cluster: Cluster, cookie: str, fault: str
) -> None:
    path = "/api2/json/nodes/n3/status"

    def killed() -> float:
        assert ask(cluster, "n1", "GET", path, Cookie=cookie)[0] == 200  # a connection is kept from now on
        getattr(cluster.lab, fault)("n3")
        slowest_s = 0.0
        for _ in range(3):  # on the connection from before, and on new ones
            began = time.monotonic()
            (status, reason, _), came = timed(cluster, path, cookie)
            assert (status, "node 'n3'" in reason) == (595, True), (status, reason)
            slowest_s = max(slowest_s, came - began)
        return slowest_s

    soon(cluster, killed)


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_a_request_that_began_before_is_595_within_three_seconds_of_the_death(
    cluster: Cluster, cookie: str, slow: str, fault: str
) -> None:
    def killed() -> float:
        cluster.say("n3", "systemctl", "kill", "-s", "STOP", "--kill-whom=main", "pvedaemon")
        slowest_s = 0.0
        with ThreadPoolExecutor(4) as pool:
            asked: list[Future[tuple[Answer, float]]] = [
                pool.submit(timed, cluster, slow, cookie, node) for node in ("n1", "n1", "n2")
            ]
            time.sleep(4)  # a slow node is waited for: it answers knocks meanwhile
            assert not any(one.done() for one in asked), [one.result() for one in asked if one.done()]
            getattr(cluster.lab, fault)("n3")
            died = time.monotonic()  # at the latest: how long the lab takes for it is not the product's
            for one in asked:
                (status, reason, _), came = one.result(30)
                assert (status, "node 'n3'" in reason) == (595, True), (status, reason)
                slowest_s = max(slowest_s, came - died)
        return slowest_s

    soon(cluster, killed)


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_the_page_of_every_other_node_goes_on(
    cluster: Cluster, cookie: str, fault: str, record: Callable[[str], None] = print
) -> None:
    """What a page asks again and again is answered at each moment of the node's death."""
    getattr(cluster.lab, fault)("n3")
    died, slowest = time.monotonic(), 0.0
    offline: set[str] = set()
    while len(offline) < 2 or time.monotonic() - died < 8:
        for node in NODES[:2]:
            for path in (
                "/",
                "/api2/json/cluster/resources",
                "/api2/json/cluster/status",
                "/api2/json/nodes",
            ):
                began = time.monotonic()
                status, reason, body = ask(cluster, node, "GET", path, Cookie=cookie)
                slowest = max(slowest, time.monotonic() - began)
                assert status == 200, (node, path, reason)
                if path.endswith("/nodes"):
                    rows = {row["node"]: row["status"] for row in json.loads(body)["data"]}
                    if rows["n3"] != "online":
                        offline.add(node)
        assert time.monotonic() - died < 60, "n3 is still shown online"
    record(f"{fault}: slowest answer {slowest * 1000:.0f} ms")
    assert slowest < SOON_S


def test_the_first_change_goes_to_a_node_that_is_back(cluster: Cluster) -> None:
    """Which knows nothing of the connections from before, and of its end nobody was told."""
    change = ("pvesh", "create", "/nodes/n3/services/pveproxy/reload")
    cluster.say("n1", *change)
    cluster.lab.cut("n3")
    cluster.lab.power("n3")
    cluster.settled()
    cluster.say("n1", *change)


def test_a_gone_nodes_tasks_stay_in_the_lists(cluster: Cluster, cookie: str) -> None:
    """In the cluster's, and in its own, which any node then tells from memory."""
    cluster.say("n3", "pvesh", "create", "/nodes/n3/services/pveproxy/reload")
    listed = cluster.get("n3", "/nodes/n3/tasks")
    assert isinstance(listed, list)
    upid = listed[0]["upid"]
    cluster.until("n1", f"pvesh get /cluster/tasks --output-format json | grep -q '{upid}'")
    cluster.lab.cut("n3")
    for path in ("/api2/json/cluster/tasks", "/api2/json/nodes/n3/tasks"):
        end = time.monotonic() + 30
        while True:
            status, reason, body = ask(cluster, "n1", "GET", path, Cookie=cookie)
            if status == 200 or time.monotonic() > end:
                break
        assert status == 200, (path, reason)
        assert upid in {row["upid"] for row in json.loads(body)["data"]}, path
