"""Who may not join is told so by one sentence, and nothing changes on either side; then guests come along.

n1 and n2 are a cluster, n3 is a cluster of its own, n4 wants in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab_cluster import FINGERPRINT, Cluster, address

from kvorum.lab.plan import Plan

if TYPE_CHECKING:
    from kvorum.lab import Lab

pytestmark = pytest.mark.timeout(300)
PEER = "198.18.10.1"
ROOM = "/usr/lib/kvorum/lib/python3*/site-packages/kvorum/cluster"

# What a refused join must not touch: files (but for those made up when read), and what corosync runs.
_STATE = r"""
cd /etc/pve && find . -type f ! -name '.*' ! -path './priv/lock/*' | sort | xargs sha256sum
sha256sum /etc/corosync/corosync.conf /etc/corosync/authkey 2>&1
corosync-cmapctl -g totem.config_version 2>&1
ls /var/lib/kvorum/cluster-change.json /var/lib/kvorum/cluster-withdrawals.json 2>/dev/null
systemctl is-active corosync pve-cluster pvedaemon pveproxy
"""


_EXPIRE = """
import json
path = "/etc/pve/priv/join-tokens.json"
rows = json.load(open(path))
rows[-1]["expires"] = 1
with open(path, "w") as file:
    json.dump(rows, file)
"""


def state(cluster: Cluster, *nodes: str) -> list[str]:
    return [cluster.run(node, "sh", "-c", _STATE).stdout for node in nodes]


def links(cluster: Cluster, node: str) -> list[str]:
    return [word for n in (0, 1) for word in (f"--link{n}", address(cluster.lab, node, n))]


def token(cluster: Cluster, node: str) -> str:
    made = json.loads(cluster.say(node, "pvecm", "token", "--output-format", "json"))
    return str(made["token"])


def fingerprint(cluster: Cluster, node: str) -> str:
    shown = cluster.say(
        "n4", "pvesh", "get", "/kvorum/cluster/fingerprint", "--hostname", address(cluster.lab, node, 0)
    )
    found = FINGERPRINT.search(shown)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def four(make_module_lab: Callable[[Plan], Lab]) -> Cluster:
    cluster = Cluster(make_module_lab(Plan(4)))
    for node, name in (("n1", "walk"), ("n3", "other")):
        cluster.say(node, "pvecm", "create", name, *links(cluster, node))
    secret = token(cluster, "n1")
    cluster.say("n2", "pvecm", "add", PEER, "--token", secret, *links(cluster, "n2"))
    cluster.say("n2", "tee", "/root/token", input=secret)
    cluster.settled(("n1", "n2"))
    return cluster


@contextmanager
def unchanged(cluster: Cluster, *nodes: str) -> Iterator[None]:
    """Assert that nothing changes meanwhile on these nodes."""
    before = state(cluster, *nodes)
    yield
    assert state(cluster, *nodes) == before


def refused(cluster: Cluster, node: str, *argv: str, password: str = "") -> str:
    """The one sentence, or the list of them, by which a join is refused."""
    done = cluster.run(node, "pvecm", "add", *argv, input=f"{password or cluster.lab.password}\n")
    assert done.returncode != 0, done
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return said


def test_a_wrong_password_fingerprint_or_token_is_named(four: Cluster) -> None:
    ours, theirs = fingerprint(four, "n1"), fingerprint(four, "n3")
    pinned, own = ("--fingerprint", ours), links(four, "n4")
    used = four.say("n2", "cat", "/root/token")
    foreign, expired = token(four, "n3"), token(four, "n1")
    four.say("n1", "python3", "-c", _EXPIRE)
    with unchanged(four, "n1", "n2", "n4"):
        said = refused(four, "n4", PEER, *pinned, *own, password="wrong")
        assert "refuses the password of root@pam" in said
        said = refused(four, "n4", PEER, "--fingerprint", theirs, *own)
        assert f"its fingerprint is {ours}, given was {theirs}" in said
        assert "is no join token" in refused(four, "n4", PEER, "--token", used[:-9], *own)
        assert "expired at 1970" in refused(four, "n4", PEER, "--token", expired, *own)
        assert "was used by node 'n2'" in refused(four, "n4", PEER, "--token", used, *own)
        said = refused(four, "n4", PEER, "--token", foreign, *own)
        assert "shows another certificate than expected" in said
        said = refused(four, "n4", PEER, "--token", foreign, *pinned, *own)
        assert "this join token is not one of this cluster" in said


def test_wrong_names_addresses_and_links_are_named(four: Cluster) -> None:
    pinned, own = ("--fingerprint", fingerprint(four, "n1")), links(four, "n4")
    with unchanged(four, "n1", "n2", "n4"):
        for name in ("a_b", "-x", "sixteen-letters-"):
            said = four.fails("n4", "pvecm", "create", name, *own)
            assert "clustername" in said and "Traceback" not in said, said
        assert "198.18.10.77:8006 can't be reached" in refused(four, "n4", "198.18.10.77")
        said = refused(four, "n4", PEER, *pinned, "--link0", "198.18.10.9")
        assert "link 0: address '198.18.10.9' is not configured on this node" in said
        assert "is not an IP address" in refused(four, "n4", PEER, *pinned, "--link0", "n4.home")
        said = refused(four, "n4", PEER, *pinned, *own[:2])
        assert "the cluster has link 0, 1: give exactly --link0 ADDRESS --link1 ADDRESS" in said
        four.lab.partition("n4|n1,n2", link=1)
        said = refused(four, "n4", PEER, *pinned, *own)
        four.lab.heal()
        for node, other in (("n1", "198.18.11.1"), ("n2", "198.18.11.2")):
            assert f"link 1: node '{node}' does not answer at {other} from 198.18.11.4" in said


def test_another_version_or_clock_is_named(four: Cluster) -> None:
    pinned, own = ("--fingerprint", fingerprint(four, "n1")), links(four, "n4")
    with unchanged(four, "n1", "n2"):
        request = ("--new_node_ip", "198.18.10.4", "--apiversion", "2", *own)
        said = four.fails("n1", "pvesh", "create", "/cluster/config/nodes/n4", *request)
        assert (
            "node 'n4' speaks version 2 of the join, this cluster 1: upgrade the cluster's nodes first"
            in said
        )
        for version, other in ((2, 1), (1, 2)):
            change = (
                f"sed -i 's/^JOIN_API_VERSION = {other}/JOIN_API_VERSION = {version}/' {ROOM}/admission.py"
            )
            compiled = f"rm -f {ROOM}/__pycache__/admission.*"
            four.say("n4", "sh", "-c", f"{change} && {compiled} && systemctl restart pvedaemon")
            if version == 2:
                said = refused(four, "n4", PEER, *pinned, *own)
                assert f"{PEER} speaks version 1 of the join, this node 2: upgrade the older" in said
        four.lab.clock("n4", -300)
        four.until("n4", "pvesh get /version >/dev/null 2>&1", 60)
        said = refused(four, "n4", PEER, *pinned, *own)
        assert "s behind that of 198.18.10.1: set both right" in said
        four.lab.clock("n4", 0)
        four.until("n4", "pvesh get /version >/dev/null 2>&1", 60)


def test_a_member_of_any_cluster_and_a_name_that_is_taken_are_refused(four: Cluster) -> None:
    pinned, own = ("--fingerprint", fingerprint(four, "n1")), links(four, "n4")
    with unchanged(four, "n1", "n2", "n3"):
        for node in ("n3", "n2"):
            said = refused(four, node, PEER, *pinned, *links(four, node))
            assert "* cluster config '/etc/pve/corosync.conf' already exists" in said
            said = four.fails(node, "pvecm", "create", "again", *links(four, node))
            assert "cluster config '/etc/pve/corosync.conf' already exists" in said
        rename = (
            "hostname {0} && echo {0} > /etc/hostname && systemctl restart pve-cluster pvedaemon pveproxy"
        )
        for name in ("n2", "n4"):
            four.say("n4", "sh", "-c", rename.format(name))
            four.until(
                "n4", f"test -e /etc/pve/nodes/{name}/pve-ssl.pem && pvesh get /version >/dev/null", 30
            )
            if name == "n2":
                said = refused(four, "n4", PEER, *pinned, *own)
                assert "the cluster has a node 'n2' already: give this one another name" in said


def test_a_node_with_guests_is_told_of_them_and_comes_with_them_by_mv(four: Cluster) -> None:
    """W12, as the how-to does it."""
    four.create("n1", 100)
    four.create("n4", 100, "--scsi0", "local:0.01")
    four.create("n4", 104, "--scsi0", "local:0.01")
    own, secret = links(four, "n4"), token(four, "n1")
    with unchanged(four, "n1", "n2", "n4"):
        said = refused(four, "n4", PEER, "--token", secret, *own)
        assert "already contains virtual guests" in said and "VM 100, VM 104" in said
        said = refused(four, "n4", PEER, "--token", secret, "--keep-guests", "1", *own)
        assert "these ids exist in the cluster already: VM 100 (node n1 has one)" in said

    folder = "/etc/pve/nodes/n4/qemu-server"
    four.say("n4", "sh", "-c", f"mkdir /home/away && mv {folder}/* /home/away/")
    said = four.say("n4", "pvecm", "add", PEER, "--token", secret, *own)
    assert "successfully added node 'n4' to cluster." in said
    four.settled(("n1", "n2", "n4"))
    used = four.fails("n4", "mv", "/home/away/100.conf", f"{folder}/")
    assert "100.conf" in used
    assert four.owner(100) == ["n1"] and four.say("n4", "ls", "/home/away").split() == [
        "100.conf",
        "104.conf",
    ]
    four.say("n1", "qm", "destroy", "100")
    four.say("n4", "sh", "-c", f"mv /home/away/* {folder}/")
    assert four.owner(100) == four.owner(104) == ["n4"]
    for vmid in (100, 104):
        four.say("n4", "qm", "start", str(vmid))
        assert four.status("n4", vmid) == "running"
        four.say("n4", "qm", "stop", str(vmid))


def test_guests_and_their_storage_come_along_in_one_step(four: Cluster) -> None:
    """``--keep-guests``: what the cluster has not, comes; what clashes, is listed before anything changes."""
    four.say("n3", "pvecm", "leave")
    four.until("n3", "touch /etc/pve/alone 2>/dev/null && rm /etc/pve/alone", 40)
    four.say("n3", "sh", "-c", "mkdir /mnt/fast && pvesm add dir fast --path /mnt/fast --content images")
    four.create("n3", 104)
    four.create("n3", 105, "--scsi0", "fast:0.01")
    own, secret = links(four, "n3"), token(four, "n1")
    with unchanged(four, "n1", "n2", "n3"):
        said = refused(four, "n3", PEER, "--token", secret, "--keep-guests", "1", *own)
        assert "VM 104 (node n4 has one)" in said and "105" not in said
    four.say("n3", "qm", "destroy", "104")
    four.say("n3", "pvecm", "add", PEER, "--token", secret, "--keep-guests", "1", *own)
    four.settled(("n1", "n2", "n3", "n4"))
    assert four.owner(105) == ["n3"]
    storages = four.say("n1", "cat", "/etc/pve/storage.cfg")
    assert "dir: fast\n" in storages and "\tnodes n3\n" in storages
    four.say("n3", "qm", "start", "105")
    assert four.status("n3", 105) == "running"
    four.say("n3", "qm", "stop", "105")
