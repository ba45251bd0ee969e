"""Root logs in by PAM on any node's port 8006, and one ticket is good on all nodes (mission W2)."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from lab_cluster import NODES, address

if TYPE_CHECKING:
    from lab_cluster import Cluster


def ask(
    cluster: Cluster, node: str, verb: str, path: str, body: dict[str, str] | None = None, **headers: str
) -> tuple[int, str, str]:
    """One request from outside of the nodes: status, reason, body."""
    context = ssl.create_default_context(cadata=cluster.say("n1", "cat", "/etc/pve/pve-root-ca.pem"))
    connection = http.client.HTTPSConnection(node, 8006, timeout=20, context=context)
    plain = cluster.lab.socket()
    plain.settimeout(20)
    plain.connect((address(cluster.lab, node, 0), 8006))
    connection.sock = context.wrap_socket(plain, server_hostname=node)
    try:
        form = urllib.parse.urlencode(body) if body else None
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(verb, path, form, {**kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read().decode()
    finally:
        connection.close()


def log_in(cluster: Cluster, node: str, password: str) -> tuple[int, str, str]:
    """As the page does."""
    return ask(
        cluster, node, "POST", "/api2/json/access/ticket", {"username": "root@pam", "password": password}
    )


@pytest.mark.parametrize("node", NODES)
def test_one_ticket_is_good_on_every_node(cluster: Cluster, node: str) -> None:
    status, _, body = log_in(cluster, node, cluster.lab.password)
    assert status == 200
    data = json.loads(body)["data"]
    assert data["username"] == "root@pam"
    cookie = f"PVEAuthCookie={urllib.parse.quote(data['ticket'], safe='')}"
    for other in NODES:
        for about in NODES:  # the answer of `about`, by way of `other`
            path = f"/api2/json/nodes/{about}/status"
            status, reason, body = ask(cluster, other, "GET", path, Cookie=cookie)
            assert status == 200, (other, about, reason)
            assert json.loads(body)["data"]["uptime"] > 0
        assert ask(cluster, other, "GET", "/")[0] == 200
        writing = ask(
            cluster, other, "POST", f"/api2/json/nodes/{node}/qemu", {"vmid": "8999"}, Cookie=cookie
        )
        assert writing[0] == 401, "a change without the CSRF token"


@pytest.mark.parametrize("node", ["n1", "n3"])
def test_a_wrong_password_gives_the_sentence_and_nothing_else(cluster: Cluster, node: str) -> None:
    status, reason, body = log_in(cluster, node, "wrong")
    assert (status, reason) == (401, "authentication failure")
    assert "ticket" not in body
    forged = ask(cluster, node, "GET", "/api2/json/nodes", Cookie="PVEAuthCookie=PVE:root@pam:00::x")
    assert forged[0] == 401
    assert log_in(cluster, node, cluster.lab.password)[0] == 200
