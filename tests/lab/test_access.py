"""Users, rights, tokens and second factors made on one node count on all at once (TLS, from outside)."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyotp
import pytest
from lab_cluster import NODES
from test_login import ask

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

USER, PASSWORD = "joe@pve", "correct horse"


@dataclass
class Caller:
    """Somebody outside, with what it sends."""

    cluster: Cluster
    headers: dict[str, str]

    def ask(
        self, node: str, verb: str, path: str, body: dict[str, str] | None = None
    ) -> tuple[int, str, object]:
        """Status, reason and data."""
        status, reason, text = ask(self.cluster, node, verb, f"/api2/json{path}", body, **self.headers)
        return status, reason, json.loads(text).get("data") if text.startswith("{") else None

    def status(self, node: str, verb: str, path: str, body: dict[str, str] | None = None) -> int:
        return self.ask(node, verb, path, body)[0]


def log_in(cluster: Cluster, node: str, **form: str) -> dict[str, str]:
    """What the login answers; empty when it is refused."""
    fields = {"username": USER, "password": PASSWORD, **form}
    status, _, text = ask(cluster, node, "POST", "/api2/json/access/ticket", fields)
    data: dict[str, str] = json.loads(text)["data"] or {} if status == 200 else {}
    return data


def with_ticket(cluster: Cluster, data: dict[str, str]) -> Caller:
    cookie = f"PVEAuthCookie={urllib.parse.quote(data['ticket'], safe='')}"
    return Caller(cluster, {"Cookie": cookie, "CSRFPreventionToken": data["CSRFPreventionToken"]})


@pytest.fixture
def user(cluster: Cluster) -> Iterator[str]:
    """A user of realm pve without any right, made on n1."""
    cluster.say("n1", "pveum", "user", "add", USER, "--password", PASSWORD)
    yield USER
    cluster.lab.recover()
    cluster.settled()
    cluster.run("n1", "pveum", "user", "delete", USER)
    cluster.run("n1", "pveum", "group", "delete", "team")
    cluster.run("n1", "pveum", "pool", "modify", "web", "--delete", "1", "--vms", "8100-8999")
    cluster.run("n1", "pveum", "role", "delete", "Operator")


@pytest.mark.timeout(300)  # it may be the one that has to form the cluster
def test_a_user_without_rights_sees_nothing_and_may_do_nothing(
    cluster: Cluster, user: str, guest: Maker
) -> None:
    vmid = guest("n1", "--memory", "32")
    caller = with_ticket(cluster, log_in(cluster, "n2"))
    for node in NODES:
        status, _, rows = caller.ask(node, "GET", "/cluster/resources")
        assert (status, {row["type"] for row in rows}) == (200, {"node"}), rows
        assert caller.ask(node, "GET", "/nodes/n1/qemu")[::2] == (200, [])
        assert caller.ask(node, "GET", "/access/users")[::2][0] == 200
        for verb, path in (
            ("GET", f"/nodes/n1/qemu/{vmid}/config"),
            ("POST", f"/nodes/n1/qemu/{vmid}/status/start"),
            ("DELETE", f"/nodes/n1/qemu/{vmid}"),
            ("GET", "/nodes/n3/syslog"),
            ("POST", "/access/users"),
        ):
            body = {"userid": "eve@pve"} if path == "/access/users" else None
            status, reason, _ = caller.ask(node, verb, path, body)
            assert (status, reason.startswith("Permission check failed")) == (403, True), (verb, path, reason)
    assert cluster.status("n1", vmid) == "stopped"


def test_group_role_acl_and_pool_of_one_node_count_on_the_others_at_once(
    cluster: Cluster, user: str, guest: Maker
) -> None:
    mine, other = guest("n3", "--memory", "32"), guest("n3", "--memory", "32")
    caller = with_ticket(cluster, log_in(cluster, "n2"))
    assert caller.status("n2", "POST", f"/nodes/n3/qemu/{mine}/status/start") == 403
    for words in (
        ("group", "add", "team"),
        ("user", "modify", user, "--groups", "team"),
        ("role", "add", "Operator", "--privs", "VM.Audit,VM.PowerMgmt"),
        ("pool", "add", "web"),
        ("pool", "modify", "web", "--vms", str(mine)),
        ("acl", "modify", "/pool/web", "--groups", "team", "--roles", "Operator"),
    ):
        cluster.say("n1", "pveum", *words)
    try:
        status, reason, upid = caller.ask("n2", "POST", f"/nodes/n3/qemu/{mine}/status/start")
        assert status == 200, reason
        for node in NODES:
            rows = caller.ask(node, "GET", "/cluster/resources?type=vm")[2]
            assert isinstance(rows, list) and [row["vmid"] for row in rows] == [mine], node
            assert caller.status(node, "GET", f"/nodes/n3/qemu/{mine}/config") == 200
            assert caller.status(node, "GET", f"/nodes/n3/qemu/{other}/config") == 403
            assert caller.status(node, "PUT", f"/nodes/n3/qemu/{mine}/config", {"name": "x"}) == 403
            assert caller.status(node, "GET", f"/nodes/n3/tasks/{upid}/log") == 200  # its own
        cluster.until("n3", f"qm status {mine} | grep -q running")
        line = audited(cluster, "n3", f"/nodes/n3/qemu/{mine}/status/start")
        assert (line["user"], line["status"], line["task"]) == (user, 200, upid)
        refused = audited(cluster, "n3", f"/nodes/n3/qemu/{mine}/config")
        assert (refused["user"], refused["status"]) == (user, 403)
        cluster.say("n1", "pveum", "acl", "delete", "/pool/web", "--groups", "team", "--roles", "Operator")
        for node in NODES:
            assert caller.status(node, "GET", f"/nodes/n3/qemu/{mine}/config") == 403
    finally:
        cluster.run("n1", "pveum", "acl", "delete", "/pool/web", "--groups", "team", "--roles", "Operator")
        cluster.run("n1", "pveum", "pool", "modify", "web", "--delete", "1", "--vms", str(mine))
        cluster.run("n1", "pveum", "pool", "delete", "web")


def audited(cluster: Cluster, node: str, path: str) -> dict[str, object]:
    """The last line of a node's audit log about a path."""
    lines = cluster.say(node, "tail", "-n", "200", "/var/log/pve/audit.log").splitlines()
    found: list[dict[str, object]] = [line for line in map(json.loads, lines) if line["path"] == path]
    assert found, f"nothing about {path} is in the audit log of {node}"
    return found[-1]


def test_a_token_has_its_own_rights_and_no_more_than_its_user(
    cluster: Cluster, user: str, guest: Maker
) -> None:
    vmid = guest("n1", "--memory", "32")
    say = cluster.say
    say("n1", "pveum", "acl", "modify", f"/vms/{vmid}", "--users", user, "--roles", "PVEVMUser")
    made = json.loads(say("n1", "pveum", "user", "token", "add", user, "ci", "--output-format", "json"))
    token = Caller(cluster, {"Authorization": f"PVEAPIToken={made['full-tokenid']}={made['value']}"})
    start = f"/nodes/n1/qemu/{vmid}/status/start"
    for node in NODES:  # the user may, the token has no rights yet
        assert token.status(node, "GET", "/version") == 200
        assert token.status(node, "POST", start) == 403
    say("n1", "pveum", "acl", "modify", f"/vms/{vmid}", "--tokens", f"{user}!ci", "--roles", "PVEVMAdmin")
    status, reason, upid = token.ask("n3", "POST", start)
    assert status == 200 and f":{user}!ci:" in str(upid), reason
    # Its role has VM.Allocate, its user has not.
    cluster.until("n1", f"qm status {vmid} | grep -q running")
    assert token.status("n3", "DELETE", f"/nodes/n1/qemu/{vmid}") == 403
    wrong = Caller(cluster, {"Authorization": f"PVEAPIToken={user}!ci=00000000-0000-0000-0000-000000000000"})
    assert {wrong.status(node, "GET", "/version") for node in NODES} == {401}
    say("n1", "pveum", "user", "token", "remove", user, "ci")
    assert {token.status(node, "GET", "/version") for node in NODES} == {401}


def test_a_removed_or_disabled_users_ticket_and_token_are_refused_at_once_everywhere(
    cluster: Cluster, user: str
) -> None:
    made = json.loads(
        cluster.say(
            "n1", "pveum", "user", "token", "add", user, "mine", "--privsep", "0", "--output-format", "json"
        )
    )
    token = Caller(cluster, {"Authorization": f"PVEAPIToken={made['full-tokenid']}={made['value']}"})
    ticket = with_ticket(cluster, log_in(cluster, "n3"))
    callers = [(caller, node) for caller in (ticket, token) for node in NODES]
    assert {caller.status(node, "GET", "/version") for caller, node in callers} == {200}
    cluster.say("n2", "pveum", "user", "modify", user, "--enable", "0")
    assert {caller.status(node, "GET", "/version") for caller, node in callers} == {401}
    assert log_in(cluster, "n1") == {}
    cluster.say("n2", "pveum", "user", "modify", user, "--enable", "1")
    assert {caller.status(node, "GET", "/version") for caller, node in callers} == {200}
    cluster.say("n2", "pveum", "user", "delete", user)
    assert {caller.status(node, "GET", "/version") for caller, node in callers} == {401}
    assert log_in(cluster, "n1") == {}


def test_a_second_factor_set_on_one_node_is_asked_for_on_the_others(cluster: Cluster, user: str) -> None:
    totp, began = pyotp.TOTP(pyotp.random_base32()), time.time()
    caller = with_ticket(cluster, log_in(cluster, "n1"))
    form = {
        "type": "totp",
        "totp": totp.provisioning_uri(),
        "value": totp.at(began),
        "password": PASSWORD,
    }
    status, reason, _ = caller.ask("n1", "POST", f"/access/tfa/{user}", form)
    assert status == 200, reason
    asked = log_in(cluster, "n2")
    assert asked.get("NeedTFA") == 1, asked
    assert with_ticket(cluster, asked).status("n3", "GET", "/version") == 401, "a challenge is no login"
    wrong = log_in(cluster, "n3", **{"tfa-challenge": asked["ticket"], "password": "totp:000000"})
    assert wrong == {}
    code = totp.at(began + 30)  # good from now on for a minute: one before or after the present is taken
    done = log_in(cluster, "n3", **{"tfa-challenge": asked["ticket"], "password": f"totp:{code}"})
    assert with_ticket(cluster, done).status("n1", "GET", "/version") == 200
    again = log_in(cluster, "n1", **{"tfa-challenge": asked["ticket"], "password": f"totp:{code}"})
    assert again == {}, "a one-time password counts once in the cluster"
    assert "totp" in cluster.say("n2", "pveum", "user", "tfa", "list", user)
