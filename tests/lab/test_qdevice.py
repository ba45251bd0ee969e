"""Two nodes and a QDevice: set up as the how-to does, and who may write when something is lost.

A lab of its own: nodes n1 and n2, and p1, a plain Debian machine with sshd as Debian ships it. The tests
build upon one another in their order; each leaves everything healed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable

import pytest
from lab_cluster import FINGERPRINT, Cluster, _links, address, join

from kvorum.cluster.qdevice.changes import REMOVE, SETUP
from kvorum.lab import Lab
from kvorum.lab.plan import Plan

NODES = ("n1", "n2")
THREE = (*NODES, "n3")
QNETD = "198.18.10.201"
WRITE_S = 40.0
SOAK = bool(os.environ.get("KVORUM_SOAK"))
SEED = int(os.environ.get("KVORUM_QDEVICE_SEED") or 1)
FAULTS = ("n1", "n2", "p1", "n1|n2")
"""Who loses power (n1 carries the change out), or between whom nothing passes."""
CUTS = [
    (plan.kind, step, fault)
    for plan, fault in itertools.product((SETUP, REMOVE), FAULTS)
    for step in plan.steps
]
JOURNAL = "/var/lib/kvorum/qdevice-change.json"
pytestmark = pytest.mark.timeout(300)

# Tries to write until it works, and says when the first try failed and when one succeeded, in seconds.
_WRITES = """
import sys, time
begun, path, text, last = time.monotonic(), sys.argv[1], sys.argv[2], None
while time.monotonic() - begun < float(sys.argv[3]):
    try:
        with open(path, "w") as file:
            file.write(text)
        print(f"{time.monotonic() - begun:.2f}")
        sys.exit(0)
    except OSError as error:
        if str(error) != last:
            last = str(error)
            print(f"{time.monotonic() - begun:.2f} {last}", file=sys.stderr)
    time.sleep(0.05)
sys.exit(f"no write in time: {last}")
"""


@pytest.fixture(scope="module")
def pair(make_module_lab: Callable[[Plan], Lab]) -> Cluster:
    lab = make_module_lab(Plan(3, plain=1))
    cluster = Cluster(lab)
    cluster.say("n1", "pvecm", "create", "walk", *_links(lab, "n1"))
    join(cluster, "n2", address(lab, "n1", 0))
    cluster.settled(NODES)
    for machine in (*THREE, "p1"):
        cluster.say(machine, "apt-get", "update")
    return cluster


def host_key(pair: Cluster) -> str:
    return pair.say("p1", "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def set_up(pair: Cluster, *options: str, password: str | None = None) -> str:
    """What a setup says, whatever comes of it."""
    done = pair.run(
        "n1", "pvecm", "qdevice", "setup", QNETD, *options, input=f"{password or pair.lab.password}\n"
    )
    return done.stdout + done.stderr


def writable(pair: Cluster, node: str, text: str) -> float:
    """Wait until a node can write; how long that took, in seconds."""
    argv = ["python3", "-c", _WRITES, f"/etc/pve/probe-{node}", text, str(WRITE_S)]
    done = pair.run(node, *argv, timeout_s=WRITE_S + 30)
    assert done.returncode == 0, done.stderr
    print(node, text, done.stdout, done.stderr)
    return float(done.stdout)


def with_vote(pair: Cluster, *nodes: str) -> None:
    """Wait until the nodes have the QDevice's vote, and their stores have seen it."""
    for node in nodes:
        pair.until(node, "pvecm status | grep -q '^0x.*A,V,NMW.*(local)'", 40)
        said = "journalctl -u pve-cluster -o cat | grep -E 'vote is (not )?here$' | tail -1"
        pair.until(node, f"{said} | grep -q 'vote is here'", 40)


def healed(pair: Cluster) -> None:
    """Everything is well again: both nodes together, with the QDevice's vote."""
    pair.lab.recover()
    pair.settled(NODES)
    with_vote(pair, *NODES)


def test_what_stands_against_a_setup_is_one_sentence(pair: Cluster) -> None:
    assert "corosync-qdevice is missing on n1, n2: run 'apt install corosync-qdevice' there" in set_up(pair)
    key = host_key(pair)
    assert f"has the fingerprint {key}" in set_up(pair, "--install")
    assert "'PermitRootLogin yes' is missing there" in set_up(pair, "--install", "--hostkey", key)
    pair.say("p1", "sh", "-c", "echo PermitRootLogin yes >> /etc/ssh/sshd_config && systemctl restart ssh")
    wrong = set_up(pair, "--install", "--hostkey", key, password="wrong")
    assert "the password is wrong, or" in wrong
    other = set_up(pair, "--install", "--hostkey", "SHA256:" + "A" * 43)
    assert f"its fingerprint is {key}, expected was SHA256:AAAA" in other
    done = pair.run("n1", "pvecm", "qdevice", "setup", "198.18.10.99", "--install", input="x\n")
    assert "198.18.10.99 can't be reached by SSH at port 22" in done.stdout + done.stderr
    assert "10.1 is node 'n1' of this cluster" in pair.fails(
        "n1", "pvecm", "qdevice", "setup", "198.18.10.1", "--manual"
    )
    for node in NODES:
        pair.say(node, "apt-get", "install", "-y", "corosync-qdevice")
    said = set_up(pair, "--hostkey", key)
    assert f"corosync-qnetd is missing on {QNETD}: run 'apt install corosync-qnetd' there" in said
    assert pair.get("n1", "/cluster/config/qdevice") == {}


def test_a_qnetd_that_is_masked_or_not_reached_by_a_node_is_said_and_nothing_stays(pair: Cluster) -> None:
    pair.say("p1", "apt-get", "install", "-y", "corosync-qnetd")
    pair.say("p1", "systemctl", "mask", "--now", "--runtime", "corosync-qnetd.service")
    said = set_up(pair, "--hostkey", host_key(pair))
    assert f"corosync-qnetd is masked on {QNETD}" in said and "systemctl unmask corosync-qnetd" in said
    pair.say("p1", "systemctl", "unmask", "--runtime", "corosync-qnetd.service")
    pair.lab.partition("n2|p1")
    said = set_up(pair, "--hostkey", host_key(pair))
    pair.lab.heal()
    assert f"QNetd at {QNETD} can't be reached at port 5403 by n2 (" in said
    assert "open TCP port 5403" in said and "everything was set back as it was" in said
    assert "device" not in pair.say("n2", "cat", "/etc/pve/corosync.conf")
    assert pair.run("n1", "ls", "/etc/pve/priv/qdevice/qnetd-cacert.crt").returncode != 0


def test_the_setup_of_the_how_to_starts_a_qnetd_that_is_off(pair: Cluster) -> None:
    pair.say("p1", "systemctl", "disable", "--now", "corosync-qnetd.service")
    said = set_up(pair, "--hostkey", host_key(pair))
    assert f"the QDevice at {QNETD} votes: 3 votes, quorum 2" in said
    with_vote(pair, *NODES)
    for node in NODES:
        status = pair.say(node, "pvecm", "status")
        assert "Total votes:      3\nQuorum:           2  \nFlags:            Quorate Qdevice" in status
        assert "0x00000000          1            Qdevice" in status
        assert pair.say(node, "systemctl", "is-enabled", "corosync-qdevice").strip() == "enabled"
    told = pair.get("n2", "/cluster/config/qdevice")
    assert isinstance(told, dict) and told["State"] == "Connected" and told["QNetd host"] == f"{QNETD}:5403"
    assert told["TLS active"] == "Yes (client certificate sent)"
    assert "has a QDevice already" in set_up(pair)


def test_a_qdevice_that_is_a_guest_of_the_cluster_is_told(pair: Cluster) -> None:
    device = f"$(ip -o -4 addr show to {QNETD} | cut -d' ' -f2)"
    mac = pair.say("p1", "sh", "-c", f"cat /sys/class/net/{device}/address").strip()
    assert "guest on" not in pair.say("n1", "pvecm", "status")
    pair.say("n2", "qm", "create", "900", "--net0", f"virtio={mac},bridge=vmbr0")
    assert "The QDevice is a guest on n2: when that node fails" in pair.say("n1", "pvecm", "status")
    told = pair.get("n1", "/kvorum/quorum")
    assert isinstance(told, dict) and "device-is-guest" in [caution["kind"] for caution in told["cautions"]]
    assert f"{QNETD} is guest 900 of this cluster" in set_up(pair, "--force")
    pair.say("n2", "qm", "destroy", "900")
    assert "guest on" not in pair.say("n1", "pvecm", "status")


def test_one_node_may_die_and_an_acknowledged_write_survives(pair: Cluster) -> None:
    healed(pair)
    writable(pair, "n1", "before")
    pair.lab.cut("n1")
    took = writable(pair, "n2", "alone")
    assert pair.say("n2", "cat", "/etc/pve/probe-n1") == "before"
    print(f"the survivor wrote {took:.2f} s after its peer's death")
    pair.lab.power("n1")
    pair.settled(NODES)
    assert pair.say("n1", "cat", "/etc/pve/probe-n2") == "alone"


def test_with_the_link_between_cut_exactly_one_goes_on(pair: Cluster) -> None:
    healed(pair)
    pair.lab.partition("n1|n2")
    pair.without_quorum("n2")
    took = writable(pair, "n1", "one side")
    print(f"the side with the QDevice wrote {took:.2f} s after the cut")
    assert "Read-only file system" in pair.fails("n2", "sh", "-c", "echo x > /etc/pve/probe-n2")
    healed(pair)
    assert pair.say("n2", "cat", "/etc/pve/probe-n1") == "one side"


def test_without_the_qdevice_both_go_on(pair: Cluster) -> None:
    healed(pair)
    pair.lab.cut("p1")
    pair.until("n1", "pvecm status | grep -q 'A,NV,NMW.*(local)'")
    for node in NODES:
        assert writable(pair, node, "both") < 5
    assert json.loads(pair.say("n1", "cat", "/etc/pve/.members"))["cluster"]["quorate"] == 1
    pair.lab.power("p1")
    healed(pair)


def test_a_third_node_joins_and_goes_and_what_suits_is_told(pair: Cluster) -> None:
    lab = pair.lab
    healed(pair)

    def add(*options: str) -> str:
        argv = ("pvecm", "add", address(lab, "n1", 0), *_links(lab, "n3"), *options)
        done = pair.run("n3", *argv, input=f"{lab.password}\n")
        return done.stdout + done.stderr

    shown = FINGERPRINT.search(add())
    assert shown is not None
    pin = ("--fingerprint", shown[0])
    assert "the cluster has a QDevice: run 'apt install corosync-qdevice' on this node first" in add(*pin)
    pair.say("n3", "apt-get", "install", "-y", "corosync-qdevice")
    said = add(*pin)
    assert "successfully added node 'n3' to cluster." in said
    assert f"does not suit 3 nodes: set it up anew (pvecm qdevice setup {QNETD} --force)" in said
    with_vote(pair, *THREE)
    assert "makes the votes of 3 nodes an even number" in pair.say("n3", "pvecm", "status")

    said = set_up(pair, "--force")
    assert "with 3 nodes and lms the QDevice has as many votes as all nodes less one" in said
    assert "5 votes, quorum 3" in said
    with_vote(pair, *THREE)

    if not SOAK:  # two nodes with lms need its vote, and each change of it takes the long wait
        assert "4 votes, quorum 3" in set_up(pair, "--force", "--algorithm", "ffsplit")
    left = pair.say("n3", "pvecm", "leave", timeout_s=180)
    assert ("by lms with 2 votes, which does not suit 2 nodes" in left) == SOAK
    pair.settled(NODES)
    if SOAK:
        assert "3 votes, quorum 2" in set_up(pair, "--force")
    with_vote(pair, *NODES)


def test_a_host_that_was_installed_anew_is_set_up_again(pair: Cluster) -> None:
    pair.say("p1", "apt-get", "purge", "-y", "corosync-qnetd")
    pair.say(
        "p1", "sh", "-c", "rm -rf /etc/corosync; rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh"
    )
    assert "The SSH host key" in set_up(pair, "--force", "--install").replace(
        "the SSH host key", "The SSH host key"
    )
    said = set_up(pair, "--force", "--install", "--hostkey", host_key(pair))
    assert "3 votes, quorum 2" in said
    with_vote(pair, *NODES)


def test_a_removal_leaves_two_votes(pair: Cluster) -> None:
    done = pair.run("n2", "pvecm", "qdevice", "remove")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "two nodes are left without a third vote" in said, "ends with a warning"
    assert "removed the QDevice: 2 votes, quorum 2" in said
    for node in NODES:
        pair.until(node, "! systemctl is-active --quiet corosync-qdevice")
        status = pair.say(node, "pvecm", "status")
        assert "Total votes:      2\nQuorum:           2" in status and "Qdevice" not in status
        assert pair.run(node, "ls", "/etc/corosync/qdevice/net/nssdb").returncode != 0
    assert "this cluster has no QDevice" in pair.fails("n1", "pvecm", "qdevice", "remove")


def test_a_setup_by_hand(pair: Cluster) -> None:
    printed = pair.say("n1", "pvecm", "qdevice", "setup", QNETD, "--manual")
    command = next(line for line in printed.splitlines() if "base64 -d" in line)
    answer = pair.say("p1", "bash", "-c", command.strip()).strip()
    said = pair.say("n1", "pvecm", "qdevice", "setup", QNETD, "--answer", answer)
    assert "3 votes, quorum 2" in said
    begun = time.monotonic()
    with_vote(pair, *NODES)
    assert time.monotonic() - begun < 30


def has_device(pair: Cluster) -> bool:
    """Whether it is wholly in, or wholly out: in the store, in Corosync and on both nodes."""
    device = "device {" in pair.say("n1", "cat", "/etc/pve/corosync.conf")
    for node in NODES:
        done = pair.run(node, "ls", "/etc/pve/priv/qdevice/qnetd-cacert.crt")
        assert (done.returncode == 0) == device, f"{node}: {done.stdout}{done.stderr}"
        active = "systemctl is-active --quiet corosync-qdevice"
        pair.until(node, active if device else f"! {active}")
        votes = 3 if device else 2
        pair.until(node, f"pvecm status | grep -q '^Total votes: *{votes}$'", 40)
    return device


def removed(pair: Cluster) -> str:
    done = pair.run("n1", "pvecm", "qdevice", "remove")
    return done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "step", "fault"), CUTS if SOAK else random.Random(SEED).sample(CUTS, 1))
def test_a_fault_at_a_step_leaves_it_wholly_in_or_out_and_a_second_try_works(
    pair: Cluster, kind: str, step: str, fault: str
) -> None:
    key, wanted = host_key(pair), kind == "setup"
    if has_device(pair) == wanted:
        print(removed(pair) if wanted else set_up(pair, "--hostkey", key))
    options = (QNETD, "--hostkey", key, "--password", pair.lab.password) if wanted else ()
    with pair.following("n1", "pvecm", "qdevice", kind, *options) as change:
        change.until(step)
        if "|" in fault:
            pair.lab.partition(fault)
        else:
            pair.lab.cut(fault)
        if fault == "p1":
            change.end()
        elif fault != "n1":
            pair.until("n1", "[ $(pvecm nodes | grep -c ' n[12]') = 1 ]")
        pair.lab.recover()
        if fault != "n1":
            change.end()
    pair.settled(NODES)
    pair.until("n1", f"! test -e {JOURNAL}", 60)
    left = has_device(pair)
    print(f"{kind}, {fault} at '{step}': {'in' if left else 'out'}\n{change.text}")
    if fault != "n1":  # n1's own words ended with its power
        assert left == wanted or "everything was set back as it was" in change.text
    if left != wanted:
        print(set_up(pair, "--hostkey", key) if wanted else removed(pair))
    assert has_device(pair) == wanted, "a second try works"
