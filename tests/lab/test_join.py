"""Nodes come in: by token, two at once, under a certificate that browsers know; who may not is elsewhere."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab_cluster import Cluster, address

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

_TOKEN = re.compile(r"--token (kvorum-join-\S+)")

# Trusts one authority alone, checks name and chain, and says who signed what it saw: as a browser would.
_VISIT = """
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[1])
end = time.monotonic() + float(sys.argv[3])
while True:
    try:
        with socket.create_connection((sys.argv[2], 8006), 2) as plain:
            with context.wrap_socket(plain, server_hostname=sys.argv[2]) as page:
                page.sendall(b"GET / HTTP/1.1\\r\\nHost: n\\r\\nConnection: close\\r\\n\\r\\n")
                answer = page.recv(100)
                if not answer:
                    raise OSError("the daemon ends just now")
                assert answer.startswith(b"HTTP/1.1 200"), answer
        if time.monotonic() > end:
            sys.exit(0)
    except ssl.SSLCertVerificationError as error:
        sys.exit(f"not trusted: {error}")
    except OSError:
        if time.monotonic() > end + 15:  # it may be starting anew just when the time is up
            raise
    time.sleep(0.05)
"""


@pytest.fixture
def four(make_lab: Callable[[Plan], Lab]) -> Cluster:
    """n1 is a cluster of one; n2 to n4 are nodes of their own."""
    cluster = Cluster(make_lab(Plan(4)))
    cluster.say("n1", "pvecm", "create", "walk", "--link0", address(cluster.lab, "n1", 0))
    return cluster


def token(cluster: Cluster, node: str = "n1") -> str:
    found = _TOKEN.search(cluster.say(node, "pvecm", "token"))
    assert found is not None
    return found[1]


def by_token(cluster: Cluster, node: str, text: str, peer: str = "n1") -> str:
    """Join by a token; all that was said."""
    argv = ("pvecm", "add", address(cluster.lab, peer, 0), "--token", text)
    done = cluster.run(node, *argv, "--link0", address(cluster.lab, node, 0), timeout_s=180)
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def visit(cluster: Cluster, authority: str, page: str, seconds: float = 0) -> str:
    """Look at a page from n1, trusting one authority; empty when all was well."""
    argv = ("python3", "-c", _VISIT, authority, address(cluster.lab, page, 0), str(seconds))
    return cluster.run("n1", *argv, timeout_s=seconds + 30).stderr


@pytest.mark.timeout(500)
def test_nodes_join_by_token_one_after_another_under_the_certificate_that_browsers_know(
    four: Cluster,
) -> None:
    former = four.say("n2", "cat", "/etc/pve/pve-root-ca.pem")
    four.say("n1", "sh", "-c", "cat > /root/former.pem", input=former)
    four.say("n1", "cp", "/etc/pve/pve-root-ca.pem", "/root/cluster.pem")
    secret = token(four)
    with ThreadPoolExecutor(1) as browser:
        seen = browser.submit(visit, four, "/root/former.pem", "n2", 8)
        said = by_token(four, "n2", secret)
        assert "successfully added node 'n2' to cluster." in said, said
        assert seen.result() == "", "the old certificate is trusted all the while"
    assert visit(four, "/root/former.pem", "n2") == ""
    assert "not trusted" in visit(four, "/root/cluster.pem", "n2")
    four.say("n1", "pvecm", "takecert", "n2")
    assert visit(four, "/root/cluster.pem", "n2") == ""
    assert "not trusted" in visit(four, "/root/former.pem", "n2")

    assert "was used by node 'n2'" in by_token(four, "n3", secret)
    assert "is no join token" in by_token(four, "n3", "kvorum-join-x")
    revoked = token(four)
    id = four.say("n1", "pvecm", "tokens", "--output-format", "json").rsplit('"id":"', 1)[1][:6]
    four.say("n1", "pvecm", "revoke", id)
    assert "not one of this cluster" in by_token(four, "n3", revoked)

    ready = threading.Barrier(2)

    def joins(node: str, peer: str) -> str:
        secret = token(four, peer)
        ready.wait(30)
        return by_token(four, node, secret, peer)

    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(joins, ("n3", "n4"), ("n1", "n2")))
    assert all("successfully added" in answer for answer in answers), answers
    four.settled(("n1", "n2", "n3", "n4"))
    assert "Total votes:      4" in four.say("n4", "pvecm", "status")


@pytest.mark.timeout(400)
def test_a_node_that_loses_power_in_its_join_is_taken_off_again(four: Cluster) -> None:
    peer, link = address(four.lab, "n1", 0), ("--link0", address(four.lab, "n2", 0))
    # The joining node loses power when it is listed and not here; alone, the peer has no quorum then.
    secret = token(four)
    with four.following("n2", "pvecm", "add", peer, "--token", secret, *link) as join:
        join.until("stop pve-cluster service")
        four.lab.cut("n2")
    four.without_quorum("n1")
    four.lab.power("n2")
    four.until("n2", "! test -e /etc/pve/corosync.conf && touch /etc/pve/x", 90)
    four.settled(("n1",))
    said = by_token(four, "n2", secret)
    assert "successfully added node 'n2' to cluster." in said, said
    four.settled(("n1", "n2"))
