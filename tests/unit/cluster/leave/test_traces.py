"""What files say of a node is taken out, and nothing else is touched."""

import json

import pytest

from kvorum.cluster.leave.traces import FILES, Names, cleaned

N3 = Names("n3", {"10.0.0.3"})

STORAGES = """dir: local
\tpath /var/lib/vz

# n3's own
dir: only3
\tpath /mnt/a
\tnodes n3

zfspool: both
\tpool tank
\tnodes n2,n3
\tsparse
"""


def test_a_storage_of_the_node_alone_goes_and_another_loses_its_name() -> None:
    text, notes = cleaned("storage.cfg", STORAGES, N3)
    assert "only3" not in text and "nodes n2\n" in text and "\tsparse\n" in text
    assert text.startswith("dir: local\n\tpath /var/lib/vz\n")
    assert notes == ["storage 'only3' was on node 'n3' alone: its definition is gone, not its data"]


def test_a_rule_loses_the_node_with_its_priority() -> None:
    rules = "node-affinity: a\n\tresources vm:100\n\tnodes n3:2,n33:1\n\nnode-affinity: b\n\tnodes n3:1\n"
    text, notes = cleaned("ha/rules.cfg", rules, N3)
    assert text == "node-affinity: a\n\tresources vm:100\n\tnodes n33:1\n\n" and len(notes) == 1


def test_replication_to_the_node_goes() -> None:
    jobs = "local: 100-0\n\ttarget n3\n\nlocal: 100-1\n\ttarget n2\n"
    text, notes = cleaned("replication.cfg", jobs, N3)
    assert text == "local: 100-1\n\ttarget n2\n" and "'100-0'" in notes[0]


def test_a_job_of_the_node_alone_is_switched_off_and_not_let_loose_on_all() -> None:
    text, _ = cleaned("jobs.cfg", "vzdump: backup-1\n\tnode n3\n\tall 1\n\tenabled 1\n", N3)
    assert text == "vzdump: backup-1\n\tenabled 0\n\tall 1\n"


def test_rights_on_the_node_go() -> None:
    users = "user:root@pam:1:0:::::::\nacl:1:/nodes/n3:a@pve:PVEAdmin:\nacl:1:/nodes/n33:a@pve:PVEAdmin:\n"
    text, notes = cleaned("user.cfg", users, N3)
    assert text == "user:root@pam:1:0:::::::\nacl:1:/nodes/n33:a@pve:PVEAdmin:\n" and notes


def test_keys_of_the_node_go() -> None:
    hosts = "n3,10.0.0.3 ssh-rsa AAA\nn33 ssh-rsa BBB\n[10.0.0.3]:22 ssh-rsa CCC\n"
    assert cleaned("priv/known_hosts", hosts, N3)[0] == "n33 ssh-rsa BBB\n"
    keys = "ssh-rsa AAA root@n3\nssh-rsa BBB root@n1\n"
    assert cleaned("priv/authorized_keys", keys, N3)[0] == "ssh-rsa BBB root@n1\n"


def test_ha_status_forgets_the_node() -> None:
    status = json.dumps({"node_status": {"n1": "online", "n3": "gone"}, "master_node": "n1"})
    assert json.loads(cleaned("ha/manager_status", status, N3)[0])["node_status"] == {"n1": "online"}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("text", ["", "garbage\n", "dir: x\n\tnodes\n", "{", ":::\n\n\n", "no newline"])
def test_what_does_not_name_it_stays_as_it_is(path: str, text: str) -> None:
    assert cleaned(path, text, N3)[0].rstrip("\n") == text.rstrip("\n")
