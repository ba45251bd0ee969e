"""Real Corosync on the lab's two links, and what it sees of the lab's faults."""

import re

import pytest


@pytest.fixture
def corosync(cluster):
    """The product's own cluster: two links, all nodes members."""
    return cluster.lab


def wait_quorum(lab, node, *, quorate, members):
    """Follow corosync-quorumtool's monitor until it tells this membership; 30 s at most."""
    watch = lab.popen(node, ["timeout", "30", "stdbuf", "-oL", "corosync-quorumtool", "-m"], stdout=-1)
    told_members = told_quorate = None
    try:
        for raw in watch.stdout:
            line = raw.decode()
            if found := re.match(r"Nodes:\s+(\d+)", line):
                told_members = int(found[1])
            elif found := re.match(r"Quorate:\s+(\w+)", line):
                told_quorate = found[1] == "Yes"
                if (told_members, told_quorate) == (members, quorate):
                    return
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    pytest.fail(f"{node}: {told_members} members, quorate {told_quorate}; not {members}, {quorate}")


def test_a_partition_is_a_majority_and_a_minority(corosync):
    corosync.partition("n1,n2|n3")
    wait_quorum(corosync, "n3", quorate=False, members=1)
    wait_quorum(corosync, "n1", quorate=True, members=2)
    corosync.heal()
    wait_quorum(corosync, "n3", quorate=True, members=3)


def test_one_link_cut_keeps_the_membership(corosync):
    before = ring(corosync)
    corosync.partition("n1|n2|n3", link=0)
    corosync.exec(
        "n1",
        ["timeout", "20", "sh", "-c", "until corosync-cfgtool -s | grep -q disconnected; do sleep 0.1; done"],
        check=True,
    )
    assert ring(corosync) == before
    wait_quorum(corosync, "n1", quorate=True, members=3)


def ring(lab):
    return re.search(r"Ring ID:\s+(\S+)", lab.exec("n1", ["corosync-quorumtool", "-s"]).stdout)[1]


def test_a_cut_node_leaves_and_comes_back(corosync):
    corosync.cut("n3")
    wait_quorum(corosync, "n1", quorate=True, members=2)
    corosync.power("n3")
    wait_quorum(corosync, "n3", quorate=True, members=3)


def test_a_frozen_node_leaves(corosync):
    corosync.freeze("n3")
    wait_quorum(corosync, "n1", quorate=True, members=2)
    corosync.thaw("n3")
    wait_quorum(corosync, "n3", quorate=True, members=3)
