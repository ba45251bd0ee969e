"""A cluster is created and joined by the commands a reader types, on real nodes (mission W7 to W11)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kvorum.lab import Lab

_FINGERPRINT = re.compile(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")


def say(lab: Lab, node: str, *argv: str, input: str | None = None) -> str:
    """Run a command that must do; returns what it prints."""
    done = lab.exec(node, list(argv), input=input, timeout_s=180, check=True)
    return str(done.stdout)


def get(lab: Lab, node: str, path: str) -> object:
    """Ask a node's API."""
    return json.loads(say(lab, node, "pvesh", "get", path, "--output-format", "json"))


def address(lab: Lab, node: str) -> str:
    """The node's first address, as it sees it itself."""
    return say(lab, node, "hostname", "-I").split()[0]


def password(lab: Lab, node: str) -> str:
    """A root password that this test knows."""
    lab.exec(node, ["chpasswd"], input="root:kvorum-test\n", timeout_s=30, check=True)
    return "kvorum-test"


@pytest.fixture(scope="module")
def clustered(session_lab: Lab) -> Lab:
    """Three nodes, joined one after the other if they are not yet."""
    lab = session_lab
    if lab.exec("n1", ["test", "-e", "/etc/pve/corosync.conf"], timeout_s=30).returncode == 0:
        return lab
    say(lab, "n1", "pvecm", "create", "walk", "--link0", address(lab, "n1"))
    secret, peer = password(lab, "n1"), address(lab, "n1")
    for node in ("n2", "n3"):
        asked = lab.exec(node, ["pvecm", "add", peer], input=f"{secret}\n", timeout_s=60)
        assert asked.returncode != 0
        shown = _FINGERPRINT.search(asked.stdout + asked.stderr)
        assert shown is not None, asked
        joined = lab.exec(
            node, ["pvecm", "add", peer, "--fingerprint", shown[0]], input=f"{secret}\n", timeout_s=180
        )
        assert joined.returncode == 0, joined
        assert f"successfully added node '{node}' to cluster." in joined.stdout
    return lab


def test_every_node_sees_all_nodes_and_quorum(clustered: Lab) -> None:
    for node in ("n1", "n2", "n3"):
        rows = get(clustered, node, "/cluster/status")
        assert isinstance(rows, list)
        assert rows[0]["type"] == "cluster" and rows[0]["quorate"] == 1 and rows[0]["nodes"] == 3
        assert sorted(row["name"] for row in rows[1:] if row["online"]) == ["n1", "n2", "n3"]
        text = say(clustered, node, "pvecm", "status")
        assert "Total votes:      3" in text and "Quorum:           2  " in text


def test_all_nodes_have_certificates_of_one_authority(clustered: Lab) -> None:
    for node in ("n1", "n2", "n3"):
        checked = say(
            clustered,
            "n1",
            "openssl",
            "verify",
            "-CAfile",
            "/etc/pve/pve-root-ca.pem",
            f"/etc/pve/nodes/{node}/pve-ssl.pem",
        )
        assert checked.rstrip().endswith("OK")


def test_corosync_runs_the_configuration_of_the_store(clustered: Lab) -> None:
    copies = {
        say(clustered, node, "cat", path)
        for node in ("n1", "n2", "n3")
        for path in ("/etc/corosync/corosync.conf", "/etc/pve/corosync.conf")
    }
    assert len(copies) == 1


def test_a_second_create_and_a_second_join_are_refused_with_all_reasons(clustered: Lab) -> None:
    again = clustered.exec("n1", ["pvecm", "create", "other"], timeout_s=60)
    assert again.returncode != 0
    assert "cluster config '/etc/pve/corosync.conf' already exists" in again.stdout + again.stderr
    joined = clustered.exec("n2", ["pvecm", "add", address(clustered, "n1")], input="x\n", timeout_s=60)
    assert joined.returncode != 0
    said = joined.stdout + joined.stderr
    assert "Check if node may join a cluster failed!" in said
    assert "authentication key '/etc/corosync/authkey' already exists" in said
