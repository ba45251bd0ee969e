import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp
import pytest
from proxmoxer import ProxmoxAPI
from proxmoxer.core import AuthenticationError as ProxmoxerAuthenticationError
from proxmoxer.core import ResourceException

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.server import pveproxy

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from conftest import Cluster


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


JSON = "application/json;charset=UTF-8"


async def test_an_answer_has_exactly_the_known_content_type(cluster: "Cluster") -> None:
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/version", headers=headers) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
        assert set((await answer.json())["data"]) == {"version", "release", "repoid"}


@pytest.mark.parametrize(
    ("verb", "path", "status", "reason"),
    [
        ("GET", "/version", 401, "No ticket"),
        ("GET", "/nodes/n2/echo", 401, "No ticket"),
        ("GET", "/", 401, "No ticket"),
        ("GET", "/x/y", 501, "Method 'GET /x/y' not implemented"),
        ("PUT", "/version", 501, "Method 'PUT /version' not implemented"),
        ("POST", "/access/ticket", 400, "Parameter verification failed."),
    ],
)
async def test_the_error_is_in_the_reason_phrase(
    cluster: "Cluster", verb: str, path: str, status: int, reason: str
) -> None:
    async with cluster.client.request(verb, f"{cluster.n1.url}/api2/json{path}") as answer:
        assert (answer.status, answer.reason) == (status, reason)
        body = await answer.json()
    assert body["data"] is None
    assert body["message"].rstrip("\n") == reason
    assert ("errors" in body) is (status == 400)


async def test_a_sentence_keeps_its_first_line_in_the_reason_and_all_in_the_body(cluster: "Cluster") -> None:
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/n1/refuse", headers=headers) as answer:
        assert (answer.status, answer.reason) == (500, "VM 100 is locked (migrate)")
        assert (await answer.json())["message"] == "VM 100 is locked (migrate)\nand there is more\n"


async def test_extjs_answers_200_with_its_own_flags(cluster: "Cluster") -> None:
    headers = await cluster.login()
    base = f"{cluster.n1.url}/api2/extjs"
    async with cluster.client.get(f"{base}/version", headers=headers) as answer:
        body = await answer.json()
        assert (answer.status, body["success"], "data" in body) == (200, 1, True)
    async with cluster.client.post(f"{base}/access/ticket", data={"username": "x@pam"}) as answer:
        body = await answer.json()
        assert (answer.status, body["success"], body["status"]) == (200, 0, 400)
        assert list(body["errors"]) == ["password"]


async def test_an_unforeseen_error_has_an_incident_id(
    cluster: "Cluster", caplog: pytest.LogCaptureFixture
) -> None:
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/n1/die", headers=headers) as answer:
        assert answer.status == 500
        body = await answer.json()
    assert body["incident"] in answer.reason
    assert body["incident"] in caplog.text
    assert "nobody foresaw this" in caplog.text
    assert "nobody foresaw" not in body["message"]


async def test_changes_need_the_csrf_token_and_a_valid_ticket(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/n1/echo"
    for change, reason in (
        ({"CSRFPreventionToken": ""}, "Permission denied - invalid csrf token"),
        ({"Cookie": "PVEAuthCookie=PVE:root@pam:00000000::AAAA"}, "permission denied - invalid PVE ticket"),
        (
            {"Cookie": "", "Authorization": "PVEAPIToken=root@pam!t=x"},
            "no such API token 'root@pam!t', or its value is wrong",
        ),
    ):
        async with cluster.client.post(url, headers=headers | change, data={"text": "x"}) as answer:
            assert (answer.status, answer.reason) == (401, reason)


async def test_the_ticket_is_taken_raw_encoded_and_from_a_header(cluster: "Cluster") -> None:
    cookie = (await cluster.login())["Cookie"].partition("=")[2]
    for headers in (
        {"Cookie": f"a=b; PVEAuthCookie={cookie}"},
        {"Cookie": f"PVEAuthCookie={quote(cookie, safe='')}; c=d"},
        {"Authorization": f"PVEAuthCookie={quote(cookie)}"},
    ):
        async with cluster.client.get(f"{cluster.n1.url}/api2/json/version", headers=headers) as answer:
            assert answer.status == 200


async def test_a_wrong_password_is_refused_and_an_old_cookie_does_not_hinder_a_login(
    cluster: "Cluster",
) -> None:
    url = f"{cluster.n1.url}/api2/json/access/ticket"
    form = {"username": "root", "realm": "pam", "password": "wrong"}
    stale = {"Cookie": "PVEAuthCookie=PVE:root@pam:00000000::AAAA"}
    async with cluster.client.post(url, data=form, headers=stale) as answer:
        assert (answer.status, answer.reason) == (401, "authentication failure")
    async with cluster.client.post(url, data=form | {"password": "the-password"}, headers=stale) as answer:
        assert answer.status == 200
        data = (await answer.json())["data"]
    assert (data["username"], data["clustername"]) == ("root@pam", "testcluster")
    renewal = {"username": "root@pam", "password": data["ticket"]}
    async with cluster.client.post(url, json=renewal) as answer:
        assert answer.status == 200


async def test_parameters_come_by_query_form_and_json(cluster: "Cluster") -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/n1/echo"
    async with cluster.client.get(f"{url}?text=a&names=1&names=2&flag=on", headers=headers) as answer:
        by_query = (await answer.json())["data"]
    form = "text=a&names=1&names=2&flag=1&node=n1"
    form_headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    async with cluster.client.post(url, data=form, headers=form_headers) as answer:
        by_form = (await answer.json())["data"]
    body = {"text": "a", "names": ["1", "2"], "flag": True}
    async with cluster.client.post(url, json=body, headers=headers) as answer:
        by_json = (await answer.json())["data"]
    assert by_query == by_form == by_json
    assert (by_query["flag"], by_query["address"]) == (1, "127.0.0.1")


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_delete_brings_its_parameters_in_the_address_or_in_the_body(
    cluster: "Cluster", node: str
) -> None:
    headers = await cluster.login()
    url = f"{cluster.n1.url}/api2/json/nodes/{node}/echo"
    for sent in ({"data": {"text": "x"}}, {"json": {"text": "x"}}, {"params": {"text": "x"}}):
        async with cluster.client.delete(url, headers=headers, **sent) as answer:
            assert (answer.status, (await answer.json())["data"]["text"]) == (200, "x")


@pytest.mark.parametrize("path", ["echo", "echo-here"])
async def test_another_nodes_business_is_forwarded_to_it(cluster: "Cluster", path: str) -> None:
    headers = await cluster.login()
    async with cluster.client.get(
        f"{cluster.n1.url}/api2/json/nodes/n2/{path}?text=a", headers=headers
    ) as answer:
        data = (await answer.json())["data"]
        assert answer.headers["Content-Type"] == JSON
    assert (data["here"], data["text"], data["user"]) == ("n2", "a", "root@pam")
    async with cluster.client.post(
        f"{cluster.n1.url}/api2/json/nodes/n2/echo", headers=headers, data={"text": "b"}
    ) as answer:
        assert (await answer.json())["data"]["text"] == "b"


async def test_a_large_answer_is_streamed_through_both_hops(cluster: "Cluster") -> None:
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/n2/many", headers=headers) as answer:
        body = await answer.json()
    assert (body["total"], len(body["data"])) == (100_000, 100_000)


async def test_a_dead_node_is_595_with_its_name_and_an_unknown_one_is_named(cluster: "Cluster") -> None:
    headers = await cluster.login()
    base = f"{cluster.n1.url}/api2/json/nodes"
    async with asyncio.timeout(4), cluster.client.get(f"{base}/gone/echo", headers=headers) as answer:
        assert answer.status == 595
        assert "node 'gone'" in (answer.reason or "")
    async with cluster.client.get(f"{base}/nowhere/echo", headers=headers) as answer:
        assert answer.reason == "no such cluster node 'nowhere'"


async def test_a_forwarded_request_is_not_forwarded_again(cluster: "Cluster") -> None:
    headers = await cluster.login() | {"Kvorum-Forwarded": "n3"}
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/nodes/n2/echo", headers=headers) as answer:
        assert answer.status == 599
        assert (answer.reason or "").startswith("too many redirections")


async def test_a_node_shows_its_own_certificate_under_its_own_name(cluster: "Cluster") -> None:
    context = ssl.create_default_context(cadata=cluster.ca)
    for address, name, fine in (
        ("127.0.0.1", "n1.nodes.kvorum", True),
        ("127.0.0.2", "n2.nodes.kvorum", True),
        ("127.0.0.2", "n1.nodes.kvorum", False),
    ):
        async with asyncio.timeout(5):
            try:
                _, writer = await asyncio.open_connection(
                    address, cluster.port, ssl=context, server_hostname=name
                )
            except ssl.SSLCertVerificationError:
                assert not fine
                continue
            assert fine
            writer.close()
            await writer.wait_closed()


async def test_nodes_call_each_other_by_their_word(cluster: "Cluster") -> None:
    for node in ("n1", "n2"):
        answer = await cluster.n1.peers.call(
            node, "POST", f"/kvorum/{node}/secret", {"text": "é &", "flag": True}
        )
        assert isinstance(answer, dict)
        assert (answer["here"], answer["node"], answer["text"], answer["flag"]) == (node, "n1", "é &", 1)
    headers = await cluster.login()
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/kvorum/n1/secret", headers=headers) as refused:
        assert refused.status == 403


async def test_peers_errors_come_back_as_they_were(cluster: "Cluster") -> None:
    from kvorum.core.errors import (
        KvorumError,
        NotImplementedHere,
        ParameterError,
        PermissionDenied,
        Unreachable,
    )

    peers = cluster.n1.peers
    for node in ("n1", "n2"):
        with pytest.raises(NotImplementedHere, match="'GET /kvorum/x/y' not implemented"):
            await peers.call(node, "GET", "/kvorum/x/y")
        with pytest.raises(ParameterError) as caught:
            await peers.call(node, "GET", f"/kvorum/{node}/secret", {"bogus": 1})
        assert list(caught.value.errors) == ["bogus"]
        with pytest.raises(PermissionDenied):
            await peers.call(node, "GET", f"/nodes/{node}/echo")
    with pytest.raises(Unreachable, match="node 'gone'"):
        await peers.call("gone", "GET", "/kvorum/gone/secret")
    with pytest.raises(KvorumError, match="no such cluster node"):
        await peers.call("nowhere", "GET", "/version")


async def test_commands_are_root_on_the_socket_and_pveproxys_word_is_not_enough(cluster: "Cluster") -> None:
    connector = aiohttp.UnixConnector(str(cluster.n1.paths.daemon_socket))
    async with aiohttp.ClientSession(connector=connector) as commands:
        for node in ("n1", "n2"):
            async with commands.post(
                f"http://localhost/api2/json/nodes/{node}/echo", data={"text": "x"}
            ) as answer:
                data = (await answer.json())["data"]
            assert (data["here"], data["user"]) == (node, "root@pam")
        async with commands.get(
            "http://localhost/api2/json/version", headers={"X-Forwarded-For": "1.2.3.4"}
        ) as answer:
            assert answer.status == 401


async def test_a_task_runs_and_is_followed_from_any_node(cluster: "Cluster") -> None:
    headers = await cluster.login()
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/nodes/n2/work", headers=headers) as answer:
        upid = (await answer.json())["data"]
    assert upid.startswith("UPID:n2:")
    from kvorum.tasks import TaskRunner

    await cluster.n2.services.get(TaskRunner).wait(upid, 5)
    base = f"{cluster.n1.url}/api2/json/nodes/n2/tasks"
    async with cluster.client.get(f"{base}/{quote(upid, safe='')}/status", headers=headers) as answer:
        status = (await answer.json())["data"]
    assert (status["status"], status["exitstatus"], status["id"]) == ("stopped", "OK", "100")
    async with cluster.client.get(f"{base}/{upid}/log?start=1&limit=1", headers=headers) as answer:
        assert await answer.json() == {"data": [{"n": 2, "t": "TASK OK"}], "total": 2}
    async with cluster.client.get(f"{base}?errors=0&vmid=100", headers=headers) as answer:
        body = await answer.json()
    assert [row["upid"] for row in body["data"]] == [upid]
    async with cluster.client.delete(f"{base}/{upid}", headers=headers) as answer:
        assert await answer.json() == {"data": None}


async def test_without_pvedaemon_the_rest_still_answers(cluster: "Cluster", tmp_path: Path) -> None:
    headers = await cluster.login()
    port = free_port()
    alone = pveproxy.running(cluster.n1.store, Paths.under(tmp_path / "alone"), None, port, "127.0.0.1")
    async with alone:
        base = f"https://127.0.0.1:{port}/api2/json"
        async with cluster.client.get(f"{base}/version", headers=headers) as answer:
            assert answer.status == 200
        async with cluster.client.get(f"{base}/nodes/n1/tasks", headers=headers) as answer:
            assert answer.status == 500
            assert (answer.reason or "").startswith("pvedaemon does not answer on this node")


async def test_a_taken_port_is_one_sentence(cluster: "Cluster", tmp_path: Path) -> None:
    paths = Paths.under(tmp_path / "second")
    with pytest.raises(KvorumError, match=f"can't listen on port {cluster.port}"):
        async with pveproxy.running(cluster.n1.store, paths, None, cluster.port, "127.0.0.1"):
            pass


async def test_a_changed_certificate_is_shown_to_the_next_visitor(cluster: "Cluster") -> None:
    before = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", cluster.port))
    for end in ("pem", "key"):
        other = cluster.n2.store.read(f"nodes/n2/pve-ssl.{end}")
        assert other is not None
        await cluster.n1.store.write(f"nodes/n1/pveproxy-ssl.{end}", other.data)
    after = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", cluster.port))
    shown = cluster.n2.store.read("nodes/n2/pve-ssl.pem")
    assert shown is not None
    assert before != after
    assert after.split() == shown.text.split()[: len(after.split())]
    await cluster.n1.store.write("nodes/n1/pveproxy-ssl.key", b"broken")
    fallback = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", cluster.port))
    assert fallback == before


async def test_proxmoxer_works_unchanged(cluster: "Cluster") -> None:
    def use() -> None:
        arguments = {"port": cluster.port, "verify_ssl": False, "timeout": 10}
        with pytest.raises(ProxmoxerAuthenticationError):
            ProxmoxAPI("127.0.0.1", user="root@pam", password="wrong", **arguments)
        api = ProxmoxAPI("127.0.0.1", user="root@pam", password="the-password", **arguments)
        assert api.version.get()["release"]
        assert api.nodes("n2").echo.post(text="hi", names=["a", "b"])["names"] == ["a", "b"]
        upid = api.nodes("n2").work.post()
        assert api.nodes("n2").tasks(upid).status.get()["type"] == "qmstart"
        with pytest.raises(ResourceException, match="VM 100 is locked"):
            api.nodes("n1").refuse.get()

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await asyncio.to_thread(use)


async def test_logins_and_tasks_stand_in_the_clusters_log(cluster: "Cluster") -> None:
    form = {"username": "root@pam", "password": "wrong"}
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/access/ticket", data=form) as answer:
        assert answer.status == 401
    headers = await cluster.login()

    async def log(what: str) -> list[dict[str, object]]:
        async with cluster.client.get(
            f"{cluster.n1.url}/api2/json/cluster/log{what}", headers=headers
        ) as answer:
            assert answer.status == 200
            rows: list[dict[str, object]] = (await answer.json())["data"]
            return rows

    async with asyncio.timeout(10):
        while len(rows := await log("")) < 2:
            await asyncio.sleep(0.02)  # what is published has no event here
    newest, oldest = rows
    assert (newest["user"], newest["pri"], newest["node"]) == ("root@pam", 6, "n1")
    assert newest["msg"] == "successful auth for user 'root@pam'"
    assert (oldest["user"], oldest["pri"]) == ("root@pam", 4)
    assert str(oldest["msg"]).startswith("authentication failure; rhost=127.0.0.1 user=root@pam")
    assert set(newest) == {"id", "uid", "time", "pri", "tag", "pid", "node", "user", "msg"}
    assert await log("?max=1") == [newest]
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/nodes/n1/work", headers=headers) as answer:
        upid = (await answer.json())["data"]
    async with asyncio.timeout(10):
        while f"starting task {upid}" not in [row["msg"] for row in await log("")]:
            await asyncio.sleep(0.02)


async def test_metrics_are_plain_text_for_who_may_see_them(cluster: "Cluster") -> None:
    url = f"{cluster.n1.url}/metrics"
    async with cluster.client.get(url) as answer:
        assert answer.status == 401
    async with cluster.client.get(url, headers=await cluster.login()) as answer:
        assert answer.status == 200 and await answer.text() == "welcome"
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_a_node_is_found_by_a_name_it_once_had(cluster: "Cluster") -> None:
    """A task's id keeps the node's name of its time; who has that name now comes before who once had it."""
    headers = await cluster.login()
    former = [{"old": old, "new": "n2", "time": 1, "by": "root@pam"} for old in ("n9", "n1")]
    for node in (cluster.n1, cluster.n2):
        await node.store.write("renamed-nodes.json", json.dumps(former))
    base = f"{cluster.n1.url}/api2/json/nodes"
    for name, here in (("n9", "n2"), ("n2", "n2"), ("n1", "n1")):
        async with cluster.client.get(f"{base}/{name}/echo?text=a", headers=headers) as answer:
            assert (await answer.json())["data"]["here"] == here
    async with cluster.client.get(f"{base}/n8/echo", headers=headers) as answer:
        assert answer.reason == "no such cluster node 'n8'"
