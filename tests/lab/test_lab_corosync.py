"""Real Corosync on the lab's two links, and what it sees of the lab's faults."""

import re

import pytest

CONF = """\
totem {{
    version: 2
    cluster_name: lab
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: 1000
}}
quorum {{
    provider: corosync_votequorum
}}
logging {{
    to_syslog: yes
}}
nodelist {{
{nodes}
}}
"""
NODE = """    node {{
        name: n{i}
        nodeid: {i}
        ring0_addr: 198.18.10.{i}
        ring1_addr: 198.18.11.{i}
    }}"""


@pytest.fixture
def corosync(lab):
    text = CONF.format(nodes="\n".join(NODE.format(i=i) for i in (1, 2, 3)))
    for node in ("n1", "n2", "n3"):
        lab.exec(node, ["tee", "/etc/corosync/corosync.conf"], input=text, check=True)
        lab.exec(node, ["mkdir", "-p", "/etc/systemd/system/corosync.service.d"], check=True)
        lab.exec(
            node,
            ["tee", "/etc/systemd/system/corosync.service.d/zz-test.conf"],
            input="[Unit]\nConditionPathExists=\n",
            check=True,
        )
        lab.exec(node, ["systemctl", "daemon-reload"], check=True)
        lab.exec(node, ["systemctl", "restart", "corosync"], check=True)
    for node in ("n1", "n2", "n3"):
        wait_quorum(lab, node, quorate=True, members=3)
    yield lab
    lab.recover()
    for node in ("n1", "n2", "n3"):
        lab.exec(node, ["systemctl", "stop", "corosync"])
        lab.exec(node, ["rm", "-r", "/etc/systemd/system/corosync.service.d/zz-test.conf"])


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
    corosync.exec("n3", ["systemctl", "start", "corosync"], check=True)
    wait_quorum(corosync, "n3", quorate=True, members=3)


def test_a_frozen_node_leaves(corosync):
    corosync.freeze("n3")
    wait_quorum(corosync, "n1", quorate=True, members=2)
    corosync.thaw("n3")
    wait_quorum(corosync, "n3", quorate=True, members=3)
