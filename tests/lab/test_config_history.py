"""``pvecm config``: what a file of /etc/pve was is looked at and brought back, on real nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab_cluster import Cluster

_NAME = "history-of-this-test.cfg"
_PATH = f"/etc/pve/{_NAME}"


def test_a_files_history_is_told_compared_and_brought_back(cluster: Cluster) -> None:
    """The change is made on one node with a shell, and undone on another by the command."""
    cluster.say("n1", "sh", "-c", f"echo first > {_PATH}")
    cluster.say("n1", "sh", "-c", f"echo second > {_PATH}")

    lines = cluster.say("n2", "pvecm", "config", "history", _PATH).splitlines()
    assert lines[0].split() == ["REVISION", "UNTIL", "SIZE", "NODE", "CHANGED", "BY"]
    newest, oldest = lines[1].split(), lines[2].split()
    assert (newest[3:5], oldest[3:5]) == (["6", "n1"], ["-", "n1"])
    assert newest[-1] == "sh" and "uid 0 pid" in lines[1]
    assert len(cluster.say("n2", "pvecm", "config", "history", _NAME, "--limit", "1").splitlines()) == 2

    revision = newest[0]
    assert cluster.say("n2", "pvecm", "config", "show", _NAME, "--revision", revision) == "first\n"
    compared = cluster.say("n2", "pvecm", "config", "diff", _NAME, "--revision", revision)
    assert compared.endswith("-first\n+second\n")
    said = cluster.say("n2", "pvecm", "config", "restore", _NAME, "--revision", revision)
    assert said.startswith(f"'{_NAME}' (6 bytes) is as it was until ")
    for node in ("n1", "n2", "n3"):
        assert cluster.say(node, "cat", _PATH) == "first\n"
    assert "(pvecm config restore, revision " in cluster.say("n3", "pvecm", "config", "history", _NAME)

    cluster.until("n3", f"grep -q \"of '{_NAME}' back\" /etc/pve/.clusterlog")
    rows = cluster.get("n1", "/cluster/log")
    assert isinstance(rows, list) and any(f"of '{_NAME}' back" in row["msg"] for row in rows)

    digest = compared.split("digest ")[1].split("\n")[0]
    refused = cluster.fails(
        "n2", "pvecm", "config", "restore", _NAME, "--revision", revision, "--digest", digest
    )
    assert "detected modified configuration - file changed by other user? Try again." in refused
    assert "has no revision 999999999" in cluster.fails(
        "n2", "pvecm", "config", "show", _NAME, "--revision", "999999999"
    )
    assert "nothing to adopt" in cluster.fails("n2", "pvecm", "adopt", "--yes")
    cluster.say("n1", "rm", _PATH)
